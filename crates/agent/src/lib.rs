//! The agent: a primary's eyes and hands.
//!
//! It reads the parameters a configuration names, tells when they change and who changed them,
//! and carries out rollback plans. What that means (drift, severity, alert, whether to roll
//! back) is decided by the daemon it speaks to, one JSON document per line ([`wire`]).
//!
//! Invariants of this crate:
//! * small and single-purpose: it depends on drift, state and api only;
//! * it listens on nothing: whoever started it holds the other end of the line;
//! * what it cannot read or watch it says; a gap has a receipt;
//! * a rollback in progress is finished or unwound by whoever comes next, also after a crash.
//!
//! | module | holds |
//! |---|---|
//! | [`session`] | one conversation, from its first line to its end |
//! | `eyes` | the watcher on a thread of its own |
//! | `nerves` | what the kernel tells of the network and the clock |
//! | `polls` | when what tells nothing of changes is read again |
//! | `hands` | rollback plans carried out, confirmed, undone |
//! | `told` | what the daemon knows already |
//! | `provenance` | whether a change was to be expected |
//! | `pulse` | signs of life, whatever else goes on |
//!
//! [`wire`]: umbra_drift::wire

mod eyes;
mod hands;
mod held;
mod nerves;
mod polls;
mod provenance;
mod pulse;
pub mod session;
mod told;

pub use session::{Program, converse, keep_watch};
