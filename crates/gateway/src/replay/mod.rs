//! Captured requests, sent again: in their spacing, slower or faster, whatever the answers.
//!
//! ```text
//! capture ── feeder ──────────── pacer ────────── users ──> target
//!            order, rewrite      intended start   sessions, connections, latencies
//! ```
//!
//! The model is open: a request's intended start is its distance from the first one, divided by
//! the speed. Latency counts from there, so a target that stalls cannot hide behind requests that
//! were never sent; the latency from the real start stands beside it. Within a session a request
//! waits for the answer to the one before, and that wait is part of its latency and told apart
//! from what the replay itself adds, which is the *lag*: its 99th percentile is to be at most
//! [`LAG_MAX`].
//!
//! | module | holds |
//! |---|---|
//! | [`engine`] | reading ahead and keeping the time |
//! | [`users`] | sessions, connections, latencies |
//! | [`order`] | exchanges in the order in which they came |
//! | [`rewrite`] | what is sent of what was captured |
//! | [`report`] | what a replay showed |
//! | [`learn`] | simulated users, learned from a capture |

pub mod engine;
pub mod learn;
pub mod order;
pub mod report;
pub mod rewrite;
pub mod users;

use std::net::SocketAddr;
use std::time::Duration;

use umbra_suite::spec::Threshold;

pub use engine::{ReplayError, run};
pub use report::Report;
pub use rewrite::Rewrite;
pub use users::Progress;

/// What the replay itself may add to 99 of 100 starts.
pub const LAG_MAX: Duration = Duration::from_millis(1);

/// How captured requests are sent again.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where to.
    pub to: SocketAddr,
    /// How much faster than they came; above 0.
    pub speed: f64,
    /// Whether a request waits for the answer to the one before it in its session.
    pub ordered: bool,
    /// What is sent, and how it is changed.
    pub rewrite: Rewrite,
    /// Requests that are sent at most.
    pub limit: Option<u64>,
    /// For how long requests are sent at most.
    pub duration: Option<Duration>,
    /// Requests under way at once, those that wait for their session included.
    pub in_flight_max: usize,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How well it must go.
    pub thresholds: Vec<Threshold>,
}

/// The slowest and the fastest a replay can be.
pub const SPEEDS: std::ops::RangeInclusive<f64> = 0.1..=100.0;
