//! What can be typed about the side of a gateway that clients see.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// The side clients see.
#[derive(Debug, Args)]
#[command(next_help_heading = "Clients")]
pub struct Listening {
    /// Take over from the gateway that runs: its listening socket and its mirrors, without a
    /// connection lost.
    #[arg(long)]
    pub replace: bool,
    /// Certificate and chain, PEM; a client whose name no certificate has gets the first. With
    /// `--tls-key`, and both can be given again.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Vec<PathBuf>,
    /// The certificate's key, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Vec<PathBuf>,
    /// A directory of certificates, `NAME.crt` beside `NAME.key`.
    #[arg(long, value_name = "DIR")]
    pub tls_dir: Option<PathBuf>,
    /// Each connection begins with a PROXY protocol header, which says whose it is.
    #[arg(long)]
    pub proxy_protocol: bool,
    /// Connections of one client at once; more are closed.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub connections_per_client: Option<u32>,
    /// How long a client may take for a request's head, and for what comes before the first.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = seconds())]
    pub head_time: u64,
    /// How long a client may keep a connection without asking for anything.
    #[arg(long, value_name = "SECONDS", default_value_t = 90, value_parser = seconds())]
    pub idle_time: u64,
    /// The longest pause in a request's body, and in a client's taking its answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = seconds())]
    pub body_time: u64,
    /// Bytes of a request's body; a longer one is refused, or breaks off.
    #[arg(long, value_name = "BYTES")]
    pub body_bytes: Option<u64>,
    /// A line for each request: to this file, or `-` for standard output.
    #[arg(long, value_name = "FILE")]
    pub access_log: Option<PathBuf>,
    /// What such a line looks like: `json`, `common` or `combined`.
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "json",
        requires = "access_log",
        hide_possible_values = true
    )]
    pub access_format: AccessFormat,
}

/// What a line of the access log looks like.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum AccessFormat {
    /// A JSON object.
    Json,
    /// The common log format.
    Common,
    /// The same, with referer and user agent.
    Combined,
}

fn seconds() -> impl clap::builder::TypedValueParser<Value = u64> {
    clap::value_parser!(u64).range(1..=86_400)
}
