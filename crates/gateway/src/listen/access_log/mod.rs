//! A line for each request that was answered, written by a thread of its own.
//!
//! A request never waits for it: what finds no room in the queue is dropped and counted. Lines
//! are made where the request is, so that nothing of it is kept until they are written.

mod line;
mod writer;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::header::{REFERER, USER_AGENT};
use hyper::{HeaderMap, Method, Request, StatusCode, Uri, Version};
use serde::{Deserialize, Serialize};

pub use self::line::Format;
use self::line::Line;
pub use self::writer::OpenError;
use self::writer::Queue;

/// Of a request's target, and of a header, as much is written.
const TARGET_CHARS_MAX: usize = 4_096;
const HEADER_CHARS_MAX: usize = 1_024;

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Standard output.
    Stdout,
    /// The end of this file.
    File(PathBuf),
}

/// What is to be written, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Where to.
    pub place: Place,
    /// In which words.
    pub format: Format,
}

/// A log that is written.
#[derive(Debug)]
pub struct AccessLog {
    format: Format,
    queue: Queue,
}

/// How a log stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogStatus {
    /// Lines written.
    pub written: u64,
    /// Lines that found no room.
    pub dropped: u64,
    /// Lines that were not written: the disk is full, most likely.
    pub failed: u64,
}

/// A request that will be a line.
#[derive(Debug)]
pub(crate) struct Pending {
    log: Arc<AccessLog>,
    began: Instant,
    line: Line,
}

impl AccessLog {
    /// Begins to write.
    ///
    /// # Errors
    /// The file cannot be opened, or there is no thread.
    pub fn open(wanted: Wanted) -> Result<Self, OpenError> {
        let queue = Queue::open(wanted.place)?;
        Ok(Self { format: wanted.format, queue })
    }

    /// Opens the file anew: it was moved away.
    pub fn reopen(&self) {
        self.queue.reopen();
    }

    /// Waits, for a while, until what is in the queue is written.
    pub fn flush(&self, time: Duration) {
        self.queue.flush(time);
    }

    /// How it stands.
    pub fn status(&self) -> LogStatus {
        self.queue.status()
    }
}

impl Pending {
    /// Of a request that just came.
    pub(crate) fn new<B>(log: &Arc<AccessLog>, client: IpAddr, request: &Request<B>) -> Box<Self> {
        let header = |headers: &HeaderMap, name| {
            let value = headers.get(name)?;
            Some(umbra_state::escape::line(value.as_bytes(), HEADER_CHARS_MAX))
        };
        let line = Line {
            time: jiff::Timestamp::now(),
            client,
            method: request.method().clone(),
            target: target(request.method(), request.uri()),
            version: version(request.version()),
            host: header(request.headers(), hyper::header::HOST),
            status: 0,
            bytes: 0,
            head_us: 0,
            end_us: 0,
            whole: true,
            user_agent: header(request.headers(), USER_AGENT),
            referer: header(request.headers(), REFERER),
        };
        Box::new(Self { log: Arc::clone(log), began: Instant::now(), line })
    }

    /// Its answer's head is there.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.line.status = status.as_u16();
        self.line.head_us = micros(self.began.elapsed());
    }

    /// So much of the answer's body is sent.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.line.bytes += bytes as u64;
    }

    /// The answer's body broke off.
    pub(crate) fn broke(&mut self) {
        self.line.whole = false;
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.line.end_us = micros(self.began.elapsed());
        self.log.queue.put(self.line.text(self.log.format));
    }
}

fn target(method: &Method, uri: &Uri) -> String {
    let text = match (method, uri.path_and_query()) {
        (&Method::CONNECT, _) | (_, None) => uri.to_string(),
        (_, Some(path)) => path.to_string(),
    };
    umbra_state::escape::line(text.as_bytes(), TARGET_CHARS_MAX)
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
