//! Queries to a Prometheus, and what is answered.
//!
//! Whatever is answered ends in one of few ways: numbers of known age, or an [`AskError`] that says
//! why there are none. An answer that is too long, of which a part is missing, that names another
//! time than now or that is of no known form is none.

mod answer;

use std::time::Duration;

use umbra_state::escape::escape;

pub use answer::{Answer, AnswerError, Data, POINTS_MAX, SERIES_MAX, Sample, Series, parse};

use crate::fetch::{Fetch, FetchError, Reply, Request};
use crate::secret::{self, SecretError};
use crate::spec::{Range, Server};

/// An answer is no longer.
pub const ANSWER_BYTES_MAX: usize = 8 << 20;

/// Prometheus evaluates no query at more points of a range.
pub const RANGE_POINTS_MAX: u64 = 11_000;

/// When a query is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// At this time.
    Instant {
        /// In milliseconds since 1970 UTC.
        now_ms: i64,
    },
    /// At each step from one to another.
    Range {
        /// In milliseconds since 1970 UTC.
        start_ms: i64,
        /// Likewise.
        end_ms: i64,
        /// Time between two points.
        step_ms: u64,
    },
}

impl When {
    /// Back from now, over a range if there is one.
    pub fn back_from(now_ms: i64, range: Option<Range>) -> Self {
        match range {
            None => Self::Instant { now_ms },
            Some(range) => Self::Range {
                start_ms: now_ms.saturating_sub_unsigned(range.window_ms),
                end_ms: now_ms,
                step_ms: range.step_ms,
            },
        }
    }
}

/// Why there is no value.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Its secret cannot be had.
    #[error("ask Prometheus")]
    Secret(#[from] SecretError),
    /// It cannot be reached.
    #[error("reach Prometheus")]
    Unreachable(#[from] FetchError),
    /// It does not answer the question.
    #[error("ask Prometheus: it answered {status}{}", said(.words))]
    Refused {
        /// With this status.
        status: u16,
        /// And these words, escaped; empty if there were none.
        words: String,
    },
    /// The answer is longer than is read.
    #[error("ask Prometheus: its answer is longer than {ANSWER_BYTES_MAX} bytes; aggregate more")]
    TooLong,
    /// The answer cannot be understood.
    #[error("understand what Prometheus answered")]
    Answer(#[from] AnswerError),
    /// What is answered is of another time.
    #[error("ask Prometheus: what it answers is of {} ms {}", .off_ms.unsigned_abs(), if *.off_ms > 0 { "ago" } else { "ahead" })]
    OtherTime {
        /// Too old by so much, in milliseconds; below 0 for what is yet to come.
        off_ms: i64,
    },
}

fn said(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(": {words}") }
}

impl Server {
    /// Asks it, once.
    ///
    /// # Errors
    /// There is no answer that can be used. An answer without a value is one.
    pub fn ask(&self, fetch: &dyn Fetch, query: &str, when: When) -> Result<Answer, AskError> {
        let headers = self.token.as_ref().map(secret::header).transpose()?;
        let reply = fetch.fetch(&Request {
            url: self.url(query, when),
            headers: headers.into_iter().collect(),
            body: None,
            timeout: Duration::from_millis(self.timeout_ms),
            answer_bytes_max: ANSWER_BYTES_MAX,
        })?;
        read(&reply)
    }

    fn url(&self, query: &str, when: When) -> String {
        let base = self.address.trim_end_matches('/');
        let query = percent(query);
        let timeout = seconds(i64::try_from(self.timeout_ms).unwrap_or(i64::MAX));
        match when {
            When::Instant { .. } => {
                format!("{base}/api/v1/query?query={query}&timeout={timeout}")
            }
            When::Range { start_ms, end_ms, step_ms } => {
                let (start, end) = (seconds(start_ms), seconds(end_ms));
                let step = seconds(i64::try_from(step_ms).unwrap_or(i64::MAX));
                format!(
                    "{base}/api/v1/query_range?query={query}&start={start}&end={end}&step={step}&timeout={timeout}"
                )
            }
        }
    }
}

/// What a server said, if it is an answer.
fn read(reply: &Reply) -> Result<Answer, AskError> {
    if reply.cut {
        return Err(AskError::TooLong);
    }
    let answer = parse(&reply.body);
    match (reply.status, answer) {
        (200, Ok(answer)) => Ok(answer),
        (status, Err(AnswerError::Refused { words })) => Err(AskError::Refused { status, words }),
        (200, Err(error)) => Err(error.into()),
        (status, _) => Err(AskError::Refused { status, words: String::new() }),
    }
}

/// How far an answer is from a time, where it is further than `fresh_ms`.
///
/// # Errors
/// It is of another time.
pub fn is_of(answer: &Answer, now_ms: i64, fresh_ms: u64) -> Result<(), AskError> {
    let Some(newest_ms) = answer.newest_ms() else { return Ok(()) };
    let off_ms = now_ms.saturating_sub(newest_ms);
    if off_ms.unsigned_abs() > fresh_ms {
        return Err(AskError::OtherTime { off_ms });
    }
    Ok(())
}

fn seconds(ms: i64) -> String {
    let sign = if ms < 0 { "-" } else { "" };
    let ms = ms.unsigned_abs();
    format!("{sign}{}.{:03}", ms / 1000, ms % 1000)
}

/// For a place in an address: everything but letters, digits and `-._~` is spelt out.
fn percent(text: &str) -> String {
    let mut spelt = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                spelt.push(char::from(byte));
            }
            _ => spelt.push_str(&format!("%{byte:02X}")),
        }
    }
    spelt
}

/// Words of a server, for a message: escaped, on one line, not too long.
fn shown(words: &str) -> String {
    const CHARS_MAX: usize = 300;
    let kept: String = words.chars().take(CHARS_MAX).collect();
    let dots = if kept.len() < words.len() { "..." } else { "" };
    format!("{}{dots}", escape(kept.as_bytes()))
}

#[cfg(test)]
mod tests;
