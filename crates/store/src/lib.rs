//! States on disk: what a machine's files were, exactly, kept once and found by content.
//!
//! A [`Store`] is a folder:
//!
//! ```text
//!   lock                  held shared by who adds, alone by who collects
//!   repo/                 a composefs repository (composefs's own tools read it)
//!     meta.json           its format: SHA-256, EROFS format V1
//!     objects/ab/cdef...  contents and images, named by their fs-verity digest, written once
//!     images/ID           -> ../objects/...: the states there are
//!     images/refs/NAME    -> ../ID: names that keep states
//!   journal/              files on their way to a name; notes about unsynced data
//!   checkouts/ID/         states written out, where the kernel cannot mount their images
//!   layers/               a builder's overlay directories; the store never looks inside
//! ```
//!
//! Invariants:
//! * a name means complete content: everything is written nameless (or in `journal/`) and named
//!   last, contents before the image that needs them, the image before a ref to it; whatever is
//!   interrupted leaves the old or the new, and [`Store::fsck`] proves it;
//! * equal trees have equal ids, and a loaded tree equals the one that was put; what composefs
//!   would lose is kept beside it in the image file (see `image`);
//! * a capture costs what it reads: an upper directory is read alone, nothing below it;
//! * what is read is foreign: no path of it is resolved, no size of it is believed.
//!
//! | module | does |
//! |---|---|
//! | [`Store`], `store`, `lock`, `journal` | opening, layout, crash recovery |
//! | `capture` | directories and overlay upper directories to trees |
//! | `object`, `bytes`, `verity` | contents: digests, holes, writing once |
//! | `image`, `state` | trees to images and back, ids |
//! | `refs`, `gc`, `fsck` | names, collection, verification |
//! | `base` | what shows a state: its image, or a directory |
//! | `export`, `import` | states to directories and tar; tar and OCI layouts to trees |
//! | [`overlay`] | states to mounted roots |

mod base;
mod bytes;
mod capture;
#[cfg(feature = "test-corpus")]
pub mod corpus;
mod error;
mod export;
mod fault;
mod fsck;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod gc;
mod image;
mod import;
mod journal;
mod links;
mod lock;
mod object;
pub mod overlay;
mod refs;
mod stack;
mod state;
mod store;
mod verity;

pub use capture::{Capture, CaptureError, CaptureOptions, IdShift, SkipReason, Skipped};
pub use error::StoreError;
pub use export::{ExportError, Lineage, Made};
pub use fault::{Fault, FaultPoints};
pub use fsck::{Finding, FsckReport};
pub use gc::GcReport;
pub use import::{ImportError, ImportLimits};
pub use object::INLINE_MAX;
pub use refs::RefNameError;
pub use stack::DEPTH_MAX;
pub use state::{PREFIX_MIN, ResolveError};
pub use store::{Pin, Store, StoreOptions, SyncPolicy};
