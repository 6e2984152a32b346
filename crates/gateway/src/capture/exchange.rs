//! One request and its answer, as they are kept.

use bytes::Bytes;

/// Headers in the order in which they came, names as they were written.
pub type Headers = Vec<(Bytes, Bytes)>;

/// A request, and its answer if there was one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// When the request came, in microseconds since 1970-01-01 UTC.
    pub began_us: u64,
    /// Whose it is: requests of one session are of one client and in order.
    pub session: u64,
    /// What was asked.
    pub request: Asked,
    /// `None` where there was none, or none was kept.
    pub answer: Option<Answered>,
}

/// What a client asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// `GET`, `POST`, ...
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Its headers, `Host` among them.
    pub headers: Headers,
    /// Its body.
    pub body: Kept,
}

/// What it was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The status, 100 to 999.
    pub status: u16,
    /// From the request's first byte to the answer's head, in microseconds.
    pub after_us: u64,
    /// Its headers.
    pub headers: Headers,
    /// Its body.
    pub body: Kept,
}

/// As much of a body as was kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Kept {
    /// The bytes, without any transfer encoding.
    pub bytes: Bytes,
    /// Whether there was more.
    pub cut: bool,
}
