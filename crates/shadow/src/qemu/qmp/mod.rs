//! QEMU's monitor: typed commands over a stream socket (the QEMU Machine Protocol).
//!
//! One command is under way at a time. Each takes a bounded time; the answer of one that took
//! longer is passed over when it comes, and so are events. What QEMU says is not believed: a guest
//! that took QEMU over may say anything.

mod client;
mod command;
pub(crate) mod message;
mod migration;

pub(crate) use client::Qmp;
pub(crate) use command::{Cont, Stop};

use std::io;

/// Why a command was not carried out, or not seen to be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QmpError {
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
