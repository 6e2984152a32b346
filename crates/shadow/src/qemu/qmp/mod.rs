//! QEMU's monitor: typed commands over a stream socket (the QEMU Machine Protocol).
//!
//! One command is under way at a time. Each takes a bounded time; the answer of one that took
//! longer is passed over when it comes. Events that arrive in between are queued, the newest
//! [`EVENTS_MAX`] of them. What QEMU says is not believed: a guest that took QEMU over may say
//! anything.

mod client;
mod command;
pub(crate) mod message;
mod migration;

pub(crate) use client::{Events, Qmp};
pub(crate) use command::*;
pub(crate) use message::{Event, Version};

use std::io;
use std::path::PathBuf;

/// The most events that are kept.
pub(crate) const EVENTS_MAX: usize = 256;

/// Why a command was not carried out, or not seen to be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QmpError {
    /// There is no monitor.
    #[error("connect to qemu's monitor {0}")]
    Connect(PathBuf, #[source] io::Error),
    /// The connection failed.
    #[error("talk to qemu's monitor")]
    Stream(#[from] io::Error),
    /// QEMU closed the connection: as a rule it ended.
    #[error("talk to qemu's monitor: qemu closed the connection")]
    Closed,
    /// Nothing came in time.
    #[error("have qemu carry out {0}: it did not answer in time")]
    Late(&'static str),
    /// What came is not what QEMU says.
    #[error("understand qemu's monitor: {0}")]
    Garbled(String),
    /// QEMU refused.
    #[error("have qemu carry out {command}: {description} ({class})")]
    Refused {
        /// The command.
        command: &'static str,
        /// What kind of refusal: `GenericError`, `DeviceNotFound`, ...
        class: String,
        /// Why, fit to be shown.
        description: String,
    },
    /// QEMU tried, and it came to nothing.
    #[error("have qemu carry out {command}: {reason}")]
    Failed {
        /// The command.
        command: &'static str,
        /// Why, fit to be shown.
        reason: String,
    },
}

#[cfg(test)]
mod tests;
