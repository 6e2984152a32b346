//! Why a capture cannot be read or written.

use std::io;

/// Why a capture cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The kernel refuses.
    #[error("read it")]
    Io(#[from] io::Error),
    /// It is none of the formats that are known.
    #[error("read it as a capture: {0}")]
    Format(&'static str),
    /// A record is not what it should be.
    #[error("read record {record} at byte {offset}: {why}")]
    Record {
        /// Which, from 1.
        record: u64,
        /// Where it begins.
        offset: u64,
        /// What is wrong with it.
        why: String,
    },
    /// An entry is not what it should be.
    #[error("read entry {record}: {why}")]
    Entry {
        /// Which, from 1.
        record: u64,
        /// What is wrong with it.
        why: &'static str,
    },
    /// It is not JSON of the form that is wanted.
    #[error("read it at line {line}, column {column}: {why}")]
    Place {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What is wrong there.
        why: String,
    },
    /// More than is read at once.
    #[error("read it: it is longer than {bytes_max} bytes, and this format is read as a whole")]
    TooLong {
        /// The most.
        bytes_max: u64,
    },
}

/// Why an exchange is not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The kernel refuses.
    #[error("write it")]
    Io(#[from] io::Error),
    /// It is longer than what is read again.
    #[error("write it: it is longer than a record may be")]
    TooLong,
    /// What is to be written has no place in this format.
    #[error("write it in this format: {0}")]
    Unfit(&'static str),
}
