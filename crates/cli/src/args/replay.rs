//! What can be typed about replays.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Captured requests, sent again.
#[derive(Debug, Args)]
pub struct Replay {
    /// A capture (umbra's own, GoReplay's or HAR), or a scenario (.yaml).
    pub file: PathBuf,
    /// Where requests are sent.
    #[arg(long, value_name = "HOST:PORT")]
    pub to: String,
    /// The capture's format: umbra, gor or har; told by how it begins if left out.
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// How much faster than they came, from 0.1 to 100.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    pub speed: f64,
    /// Whether a request waits for the answer to the one before it in its session.
    #[arg(long, value_enum, default_value_t = Sessions::Ordered)]
    pub sessions: Sessions,
    /// The `Host`, instead of the captured one.
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// A header, instead of a captured one of its name; can be given again.
    #[arg(long = "set-header", value_name = "NAME:VALUE")]
    pub headers: Vec<String>,
    /// A text that stands for another in paths, headers and bodies, such as a marker of what was
    /// redacted; `@FILE` is a file's first line. Can be given again.
    #[arg(long = "rewrite-token", value_name = "FROM=TO")]
    pub tokens: Vec<String>,
    /// Only requests of these methods.
    #[arg(long, value_name = "METHODS", value_delimiter = ',')]
    pub methods: Vec<String>,
    /// Send requests that may change something, too: all but GET, HEAD and OPTIONS.
    #[arg(long)]
    pub allow_writes: bool,
    /// Requests that are sent at most.
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// Of a scenario: how many users arrive per second.
    #[arg(long, value_name = "N", requires = "duration")]
    pub rate: Option<f64>,
    /// For how long requests are sent at most, or users arrive.
    #[arg(long, value_name = "SECONDS")]
    pub duration: Option<f64>,
    /// Requests under way at once; what is more is dropped.
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub in_flight: u32,
    /// How long an answer may take, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    pub timeout_ms: u64,
    /// What must hold, such as p(99)<50ms or errors<0.1%; can be given again.
    #[arg(long = "threshold", value_name = "THRESHOLD")]
    pub thresholds: Vec<String>,
}

/// Whether sessions keep their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Sessions {
    /// A request waits for the answer to the one before it.
    Ordered,
    /// Every request is sent at its time.
    Free,
}
