//! Sinks: where alerts go.
//!
//! An alert becomes a [`Document`] for each sink that wants it ([`document`]), as does other news
//! ([`Notice`]), which is pure;
//! the [`outbox`] says which document is to be delivered when, which is pure too; a [`Sink`]
//! delivers one, and says of a failure whether it is worth another try. What is delivered is
//! bounded, printable and without secrets ([`render`](crate::render)).
//!
//! | target | document | [`Sink`] |
//! |---|---|---|
//! | `log`, `terminal` | a screen of text | [`Stream`] |
//! | `jsonl` | a line of JSON, named as the Elastic Common Schema does | [`JsonLines`] |
//! | `webhook`, `slack`, `alertmanager` | JSON | [`Http`] over a [`Post`] |
//! | `syslog` | RFC 5424 | [`Syslog`] |
//! | `desktop` | a notification | [`Desktop`] |
//! | `command` | JSON on its input | [`Command`] |
//!
//! Delivery is at least once: what was under way when the daemon ended is delivered again, under
//! the same [`Document::id`].

mod body;
#[cfg(test)]
mod conformance;
mod document;
mod file;
mod http;
mod memory;
mod notice;
pub mod outbox;
mod program;
mod stream;
mod syslog;

pub use body::alertmanager::{ENDS_AFTER_MS, REFRESH_MS, again};
pub use document::{DOCUMENT_BYTES_MAX, Document, document, wants};
pub use file::JsonLines;
pub use http::{Http, Post, PostError, read_secret};
pub use memory::Memory;
pub use notice::Notice;
pub use program::{Command, Desktop};
pub use stream::Stream;
pub use syslog::Syslog;

use std::io;

/// Where documents go.
///
/// A delivery ends in bounded time. It may be tried again after any failure, also one that
/// came after the document had arrived: who is told twice can tell by the document's id.
pub trait Sink: Send + Sync {
    /// Delivers one document, and returns when it has arrived as far as this sink can know.
    ///
    /// # Errors
    /// It has not arrived, or nobody knows whether it has.
    fn deliver(&self, document: &Document) -> Result<(), SinkError>;
}

/// Why a document has not arrived.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// What it should go to cannot be reached or written to now.
    #[error("reach {to}")]
    Unreachable {
        /// What.
        to: String,
        /// Why.
        source: io::Error,
    },
    /// It did not end in time.
    #[error("wait for {to}: it took longer than {timeout_ms} ms")]
    TooSlow {
        /// What.
        to: String,
        /// How long it had.
        timeout_ms: u64,
    },
    /// A server answered, and has not taken it.
    #[error("deliver to {to}: it answered with status {status}")]
    Answered {
        /// The server.
        to: String,
        /// Its answer.
        status: u16,
    },
    /// A program ended, and not well.
    #[error("run {program}: it ended with {how}")]
    Ended {
        /// The program.
        program: String,
        /// How.
        how: String,
    },
    /// There is no such thing on this machine.
    #[error("use {what}: {why}")]
    Unavailable {
        /// What.
        what: String,
        /// What is missing.
        why: String,
    },
    /// A request that could not be made.
    #[error("deliver to {to}")]
    NotSent {
        /// The server.
        to: String,
        /// Why.
        source: PostError,
    },
    /// The secret that belongs to it could not be read.
    #[error("read the secret from {from}")]
    Secret {
        /// Where it should be.
        from: String,
        /// Why.
        source: io::Error,
    },
}

/// Whether a failed delivery is worth another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It may go better later.
    Later,
    /// It will never go better.
    Never,
}

impl SinkError {
    /// Whether it is worth another try. Only a server that has refused this very document, for
    /// what is in it, will do so again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Answered { status: 400 | 413 | 414 | 415 | 422, .. } => Retry::Never,
            Self::Unreachable { .. }
            | Self::TooSlow { .. }
            | Self::Answered { .. }
            | Self::Ended { .. }
            | Self::Unavailable { .. }
            | Self::NotSent { .. }
            | Self::Secret { .. } => Retry::Later,
        }
    }
}
