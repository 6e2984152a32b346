//! Requests that are kept in files.
//!
//! | module | holds |
//! |---|---|
//! | [`in_force`] | a capture in force: what it chooses |
//! | [`wanted`] | one as it is asked for |
//! | [`alone`] | one without a gateway, of what a tap finds |
//! | [`captures`] | all of them, begun and ended over the control socket |
//! | [`tape`] | one exchange while it passes |
//! | `writing` | the thread that writes it |
//! | [`session`] | whose a request is |
//! | [`redact`], [`mask`] | secrets that are not kept |
//! | [`counts`] | what became of what was to be captured |
//! | [`mod@file`], [`gor`], [`har`] | umbra's own format (`docs/capture-format.md`), GoReplay's, HAR 1.2 |
//! | [`source`] | reading and writing any of them |
//! | `message` | HTTP/1 as it stood on the wire |
//!
//! Invariants:
//!
//! * nothing on production's way waits for a capture, and what it keeps takes from the memory of
//!   all copies;
//! * every request that was chosen is captured or dropped, with its cause;
//! * a secret never reaches the writer's file: what cannot be redacted is not kept.

pub mod alone;
pub mod captures;
pub mod counts;
mod error;
mod exchange;
pub mod file;
pub mod gor;
pub mod har;
pub mod in_force;
pub mod mask;
pub(crate) mod message;
mod record;
pub mod redact;
pub mod session;
pub mod source;
pub mod tape;
pub mod wanted;
mod writing;

pub use alone::Alone;
pub use captures::Captures;
pub use error::{ReadError, WriteError};
pub use exchange::{Answered, Asked, Exchange, Headers, Kept};
pub use source::{Format, Sink, Source};
pub use tape::{Tape, Tapes};
