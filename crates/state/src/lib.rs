//! The vocabulary every other crate speaks, as plain values.
//!
//! A machine's state is a value: a [`Tree`] of files with exact metadata, named
//! by its [`StateId`]. The difference of two states is a [`Delta`]; a judgement
//! about one is a [`Verdict`].
//!
//! Invariants of this crate:
//! * it performs no IO, reads no clock and knows no runtime;
//! * names are raw bytes: nothing here assumes UTF-8, and [`escape`] is the one
//!   way by which a name from outside reaches a screen;
//! * no evidence is never a pass ([`Verdict::combine`] of nothing is
//!   `Inconclusive`).
//!
//! | module | holds |
//! |---|---|
//! | [`digest`] | [`Digest`], [`StateId`] |
//! | [`tree`] | [`Tree`], [`Dir`], [`Leaf`], [`Meta`], [`Content`] |
//! | [`mod@diff`] | [`Delta`], [`Change`], [`diff()`] |
//! | [`verdict`] | [`Verdict`], [`Evidence`], [`TestKind`] |
//! | [`command`] | [`Command`] and what became of it |
//! | [`cause`] | why a timeline has an entry |
//! | [`chain()`] | an error and its causes in one line |
//! | [`escape`] | outside bytes made safe to print |

pub mod cause;
mod chain;
pub mod command;
pub mod diff;
pub mod digest;
pub mod escape;
pub mod tree;
pub mod verdict;

pub use cause::Cause;
pub use chain::chain;
pub use command::{Command, Exit, Output};
pub use diff::{Change, ChangeKind, Delta, diff};
pub use digest::{Digest, StateId};
pub use tree::{Content, Dir, Leaf, LinkId, Meta, Mtime, Node, Tree};
pub use verdict::{Evidence, TestKind, Verdict};
