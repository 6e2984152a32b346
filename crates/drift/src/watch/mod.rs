//! Files watched: every change, who made it, and proof that none went unnoticed.
//!
//! ```text
//!  fanotify group ──> record ──> resolve ──┬─ execution ──> who ──┐
//!  (filesystem marks)                      └─ change ─────────────┴──> debounce ──> stamp compared ──> Change
//!  a mark per directory, or inotify, where filesystem marks fail ────────^              ^
//!  mount table ─────────────────────────────> scan of what is covered now ───────────────┤
//!  lost or too many ──> debt ───────────────> scan of the filesystem ────────────────────┴──> Receipt
//! ```
//!
//! Invariants:
//! * what is reported is the final state, with the chain of events that led there;
//! * nothing is lost silently: what was not followed up event by event is scanned, and a
//!   [`Receipt`] says from when to when and how much;
//! * which mechanism covers which filesystem, and why no better one, is data ([`Coverage`]);
//! * a scan never stops the reading of events.
//!
//! | module | holds |
//! |---|---|
//! | [`watcher`], [`options`] | [`Watcher`], which ties the rest together; what it is to do |
//! | `events`, `queue` | reading all that is queued; scans that are due |
//! | [`fanotify`], [`record`] | the group and its marks; its records, parsed |
//! | [`resolve`] | directory handles to paths |
//! | [`who`] | executions replayed: the writer of a change |
//! | [`debounce`], [`debt`], [`hot`] | pure: when a path is at rest; what is owed; what costs more than it is worth |
//! | [`cover`] | which mechanism watches which filesystem |
//! | [`directories`], [`programs`] | a mark per directory, and executions, where filesystem marks fail |
//! | [`fallback`], [`mounts`] | inotify; the mount table |
//! | [`intake`] | where a record becomes a path at unrest, or a debt |
//! | [`memory`], [`stamp`], [`scan`] | what is remembered, also on disk; comparing a tree with it |
//! | [`receipt`] | proof of what is covered |
//! | [`system`] | what is no file: network and clock |

pub mod cover;
pub mod debounce;
pub mod debt;
pub mod directories;
mod events;
pub mod fallback;
pub mod fanotify;
pub mod hot;
pub mod intake;
pub mod memory;
pub mod mounts;
mod names;
pub mod options;
pub mod programs;
mod queue;
pub mod receipt;
pub mod record;
pub mod resolve;
pub mod scan;
pub mod stamp;
pub mod system;
mod tree;
pub mod watcher;
pub mod who;

use std::path::PathBuf;
use std::time::SystemTime;

use bitflags::bitflags;
use rustix::io::Errno;

pub use debounce::Chain;
pub use debt::Lost;
pub use memory::Memory;
pub use options::Options;
pub use receipt::{Mode, Occasion, Receipt};
pub use stamp::{Fields, Stamp};
pub use watcher::Watcher;

/// What a watcher reports.
#[derive(Debug, Clone)]
pub enum Report {
    /// A path is no longer what it was.
    Change(Change),
    /// A span of time is covered.
    Receipt(Receipt),
    /// How a filesystem is watched.
    Coverage(Coverage),
}

/// A path that is no longer what it was.
#[derive(Debug, Clone)]
pub struct Change {
    /// The path.
    pub path: PathBuf,
    /// What about it.
    pub what: What,
    /// What it is now; `None` if it is not there.
    pub stamp: Option<Stamp>,
    /// How it came to notice.
    pub seen: Seen,
}

/// What is different.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// It was not there before.
    Appeared,
    /// It is not there any more.
    Vanished,
    /// These fields differ; none of them if it was written to and looks as before.
    Changed(Fields),
    /// It looks as before, but changed so close to the last look that its content must be
    /// compared (git's "racily clean").
    Unsure,
}

/// How a change came to notice.
#[derive(Debug, Clone)]
pub enum Seen {
    /// By events.
    Events(Chain),
    /// By a scan: it happened after `since`, and nobody saw who did it.
    Scan {
        /// When it had last been as remembered.
        since: Option<SystemTime>,
    },
    /// By a change of mounts: something else is at this path now.
    Mount,
}

/// How one filesystem is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// Where it is mounted, or the watched path on it.
    pub at: PathBuf,
    /// Its type, as the mount table has it.
    pub kind: String,
    /// The mechanism.
    pub by: Mechanism,
}

/// A mechanism, and why it is no better one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mechanism {
    /// A filesystem mark: everything, and who.
    Fanotify(fanotify::Rung),
    /// A fanotify mark per directory: everything, and who.
    Directories {
        /// What the group reports.
        rung: fanotify::Rung,
        /// Directories marked.
        watches: usize,
        /// Directories that could not be marked, which only scans look at.
        unwatched: usize,
        /// What a filesystem mark was refused with.
        why: Errno,
    },
    /// An inotify watch per directory: changes, but not who.
    Inotify {
        /// Directories watched.
        watches: usize,
        /// Directories that could not be watched, which only scans look at.
        unwatched: usize,
        /// What a filesystem mark was refused with.
        why: Errno,
    },
    /// No events; what is watched there must be read again and again.
    Polled {
        /// What watching was refused with.
        why: Errno,
    },
}

/// What a watcher has seen and done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statistics {
    /// Records of fanotify groups, also of what is not watched.
    pub records: u64,
    /// Executions replayed.
    pub executions: u64,
    /// Scans that are waiting or being made.
    pub queued_scans: usize,
    /// Paths that are not at rest.
    pub unrest: usize,
}

bitflags! {
    /// What was done to a path.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Kinds: u8 {
        /// Its name appeared.
        const CREATE = 1;
        /// Its name disappeared.
        const DELETE = 2;
        /// It was renamed, from or to.
        const RENAME = 4;
        /// It was written to.
        const MODIFY = 8;
        /// It was closed after it had been open for writing.
        const WRITTEN = 16;
        /// Mode, owner, times, attributes or links.
        const ATTRIBUTES = 32;
    }
}
