//! What can be typed about captures.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::gateway::Control;

/// What a capture is called that is given no name.
const NAME: &str = "capture";

/// Requests that are kept in files.
#[derive(Debug, Subcommand)]
pub enum Capture {
    /// Have a gateway keep a part of the requests in a file.
    Start(Start),
    /// Keep no more, and end the file.
    Stop {
        /// Its name.
        #[arg(default_value = NAME)]
        name: String,
        /// Of which gateway.
        #[command(flatten)]
        control: Control,
    },
    /// Say what was kept, what was not and why.
    Status {
        /// Of which gateway.
        #[command(flatten)]
        control: Control,
    },
    /// List what is in a file: umbra's own, GoReplay's or HAR.
    Show {
        /// The file.
        file: PathBuf,
        /// Its format: umbra, gor or har; told by how it begins if left out.
        #[arg(long, value_name = "FORMAT")]
        format: Option<String>,
        /// How many at most.
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u64,
    },
    /// Learn from a file what its users do, as a scenario for load tests and `umbra replay`.
    Learn {
        /// The file; what answers hold is found only if it was captured with --answers.
        file: PathBuf,
        /// The scenario's file; must not exist.
        #[arg(short, long, value_name = "PATH")]
        output: PathBuf,
        /// The file's format: umbra, gor or har; told by how it begins if left out.
        #[arg(long, value_name = "FORMAT")]
        format: Option<String>,
        /// Replace a file that is there.
        #[arg(long)]
        force: bool,
    },
    /// Write a file in another format, which the new one's name says: .gor, .har, or umbra's.
    Convert {
        /// The file.
        from: PathBuf,
        /// The new one; must not exist.
        to: PathBuf,
        /// The file's format: umbra, gor or har; told by how it begins if left out.
        #[arg(long, value_name = "FORMAT")]
        format: Option<String>,
        /// The new one's format.
        #[arg(long, value_name = "FORMAT")]
        to_format: Option<String>,
        /// Pack the new one, if it is umbra's.
        #[arg(long)]
        pack: bool,
        /// Replace a file that is there.
        #[arg(long)]
        force: bool,
    },
}

/// A capture.
#[derive(Debug, Args)]
pub struct Start {
    /// The file; the gateway makes it, for its own user only.
    pub file: PathBuf,
    /// What it is to be called.
    #[arg(long, default_value = NAME)]
    pub name: String,
    /// How much, from 0.001 to 100.
    #[arg(long, value_name = "PERCENT", default_value = "100")]
    pub percent: String,
    /// Only requests of this method; can be given again.
    #[arg(long = "method", value_name = "METHOD")]
    pub methods: Vec<String>,
    /// Only requests whose path begins so.
    #[arg(long, value_name = "PREFIX", default_value = "")]
    pub path: String,
    /// End by itself after so many seconds.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    pub duration: Option<u64>,
    /// Bytes of a body that are kept; 1 MiB if left out.
    #[arg(long, value_name = "BYTES")]
    pub body_bytes: Option<u64>,
    /// What tells clients apart: connection, address, header:NAME or cookie:NAME.
    #[arg(long, value_name = "WHAT", default_value = "connection")]
    pub session: String,
    /// What of them is kept.
    #[command(flatten)]
    pub keeping: Keeping,
    /// Of which gateway.
    #[command(flatten)]
    pub control: Control,
}

/// How requests are kept in a file, whoever finds them.
#[derive(Debug, Args, PartialEq, Eq, Default)]
pub struct Keeping {
    /// Replace a file that is there.
    #[arg(long)]
    pub force: bool,
    /// End by itself when the file is so long; 1 GiB if left out.
    #[arg(long, value_name = "BYTES")]
    pub bytes_max: Option<u64>,
    /// Keep answers, too; without it only their status and time.
    #[arg(long)]
    pub answers: bool,
    /// Pack the file with zstd.
    #[arg(long)]
    pub pack: bool,
    /// Keep no value of this header; can be given again. Those of Authorization,
    /// Proxy-Authorization, Cookie and Set-Cookie are never kept.
    #[arg(long = "redact-header", value_name = "NAME")]
    pub redact_headers: Vec<String>,
    /// Keep no value at this place of JSON bodies, such as cards[].number or *.token, and no body
    /// that is not JSON; can be given again.
    #[arg(long = "redact-json", value_name = "PATH")]
    pub redact_json: Vec<String>,
    /// Keep no value of this parameter of queries and forms; can be given again.
    #[arg(long = "redact-query", value_name = "NAME")]
    pub redact_query: Vec<String>,
}
