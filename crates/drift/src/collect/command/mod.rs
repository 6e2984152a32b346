//! Programs run for what they print: no shell, nobody's privileges but the named user's, an end
//! in time, and nothing of them left behind.
//!
//! ```text
//! collector ──clone──> keeper ──clone──> program ──> whatever it starts
//!     │  <── output, errors ───────────────┘
//!     └── a pipe whose end means: stop ──> keeper kills everything below itself, reports, ends
//! ```
//!
//! The keeper is the parent of all orphans. Where namespaces may be made it is also the first
//! process of one, so that the kernel ends everything with it, however fast it multiplies. It
//! stops when the program has ended, when it is told to, and when the collector is no more.
//!
//! In a root directory the program sees that directory as its root, read-only and without
//! `setuid`, has a network, processes and host name of its own, and no capability beyond
//! reading files.

mod keeper;
mod run;
mod source;
mod start;

pub(super) use run::{Program, find, run};
pub(super) use source::CommandSource;
