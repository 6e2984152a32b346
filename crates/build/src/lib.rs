//! Recipe to image: every step becomes a delta on live shadows, where tests run beside the
//! build and halt it.
//!
//! ```text
//!  stepper    step 1 ──▶ step 2 ──▶ step 3 ──▶ …            runs on, speculatively
//!                │ upper    │ upper
//!                ▼          ▼
//!  ingester   tree 1 ──▶ tree 2 ──▶ …                        hashes only what changed
//!                │ delta
//!                ▼
//!  pool       shadow A: tests of step 1      shadow B: …      the upper is mounted at once
//!                │ verdicts
//!                ▼
//!  session    all good: seal            one bad: freeze, keep what can be entered, halt
//! ```
//!
//! Invariants of this crate:
//! * a step's tests see exactly that step's state, and each test a fresh view of it;
//! * the earliest failing step is the one that is reported, whichever test spoke first;
//! * nothing is sealed whose tests have not all passed or been excused by the recipe;
//! * a secret is never in a layer, a cache key or an event;
//! * whatever ends a build, no process, mount or directory of it is left.
//!
//! | module | holds |
//! |---|---|
//! | [`engine`] | [`Engine`], [`Build`]: starting, cancelling, answering |
//! | `session` | one build from start to end |
//! | `ledger` | pure: what is pending, what failed first, when it is settled |
//! | `frontier` | the newest root, while ingestion lags behind |
//! | `origin` | the state a recipe starts from |
//! | `steps` | running one step |
//! | `ingest` | a step's writes become a state |
//! | `pool` | shadows that follow the build and run its tests |
//! | [`look`], [`services`] | one test on one shadow; what a recipe wants to run there first |
//! | `export`, `notify` | images leave; people are told |
//! | [`ports`] | what a build needs from whoever runs it |

pub mod baseline;
mod child;
pub mod engine;
mod error;
mod export;
mod frontier;
mod ingest;
mod ledger;
pub mod look;
mod notify;
mod origin;
mod pool;
pub mod ports;
pub mod services;
mod session;
mod steps;

pub use engine::{Build, Engine, remove_remains};
pub use error::BuildError;
pub use ports::{EventSink, Providers, StepCache, StepKey, TestKey};
