//! Measurements beside the judge: what users know of their service that the gateway cannot see.
//!
//! ```text
//!  template ── query ──> Prometheus ── value ──> conditions ──> one measurement ──> tally: the
//!  (document)            (a Fetch)               (expression)                       counting rules
//! ```
//!
//! Invariants:
//! * no value is never a pass: not an empty answer, not NaN, not one that is late or came with
//!   warnings, and not a run without a single good measurement;
//! * *could not look* (error) and *looked, and it is bad* (failed) are never mixed up;
//! * answers are bounded and read strictly; secrets are read when they are needed, and are in no
//!   message.
//!
//! | module | holds |
//! |---|---|
//! | [`tally`] | pure: how many measurements of which outcome make an analysis good or bad |
//! | [`expression`] | the language of conditions |
//! | [`prometheus`] | queries, and what is answered |
//! | [`measure`](mod@measure) | one measurement |
//! | `kayenta` | a canary configuration, fetched and given to the classic judge |
//! | [`placeholder`] | `{{service}}` and its like in queries |
//! | [`trial`] | whether metrics work, before anything begins |

pub mod expression;
mod kayenta;
pub mod measure;
pub mod placeholder;
pub mod prometheus;
pub mod tally;
pub mod trial;

pub use expression::{Expression, ExpressionError};
pub use measure::{About, measure};
pub use placeholder::Names;
pub use tally::Tally;
pub use trial::{Tried, Works, refusal, try_all};
