//! What a client gets where production's answer cannot be had.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

use crate::body::Passing;
use crate::metrics::Cause;

/// Answers instead of production. Why goes to the log, once a second at most: it may name what is
/// not the client's to know, and a log nobody reads must not hold requests up. All of them are
/// counted.
#[derive(Debug)]
pub(super) struct Instead {
    began: Instant,
    /// The second, counted from 1, in which something was said last.
    said: AtomicU64,
}

impl Default for Instead {
    fn default() -> Self {
        Self { began: Instant::now(), said: AtomicU64::new(0) }
    }
}

impl Instead {
    pub(super) fn answer(&self, cause: Cause, why: &str) -> Response<Passing> {
        let (status, words) = match cause {
            Cause::Refused => (StatusCode::BAD_REQUEST, why),
            Cause::NoRoute => (StatusCode::NOT_FOUND, why),
            Cause::Unassigned => (StatusCode::SERVICE_UNAVAILABLE, "nobody serves this now"),
            Cause::Unfinished => (StatusCode::BAD_REQUEST, "the request is not complete"),
            Cause::Unreachable => (StatusCode::BAD_GATEWAY, "the server cannot be reached"),
            Cause::Broken => (StatusCode::BAD_GATEWAY, "the server did not answer"),
            Cause::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "the server did not answer in time"),
        };
        if !matches!(cause, Cause::Refused | Cause::NoRoute) {
            self.say(why);
        }
        let mut answer = Response::new(Passing::made(format!("{words}\n")));
        *answer.status_mut() = status;
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        answer.headers_mut().insert(CONTENT_TYPE, text);
        answer
    }

    fn say(&self, why: &str) {
        let now = self.began.elapsed().as_secs() + 1;
        if self.said.swap(now, Ordering::Relaxed) != now {
            tracing::warn!(why, "production is not reached; more within a second is counted only");
        }
    }
}
