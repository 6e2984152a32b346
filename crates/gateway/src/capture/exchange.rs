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

/// What a header takes besides its bytes, about.
const HEADER_BYTES: usize = size_of::<(Bytes, Bytes)>();

impl Exchange {
    /// How much memory it takes, about.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.parts_bytes()
    }

    /// How much memory what it holds takes, about.
    pub(super) fn parts_bytes(&self) -> usize {
        let Asked { method, target, headers, body } = &self.request;
        let asked = method.len() + target.len() + bytes_of(headers) + body.bytes.len();
        asked + self.answer.as_ref().map_or(0, Answered::bytes)
    }
}

impl Answered {
    /// How much memory it takes, about.
    pub fn bytes(&self) -> usize {
        bytes_of(&self.headers) + self.body.bytes.len()
    }
}

fn bytes_of(headers: &Headers) -> usize {
    headers.iter().map(|(name, value)| name.len() + value.len() + HEADER_BYTES).sum()
}

/// The first value of this name.
pub(super) fn header<'a>(headers: &'a Headers, name: &str) -> Option<&'a Bytes> {
    let named = |(is, _): &&(Bytes, Bytes)| is.eq_ignore_ascii_case(name.as_bytes());
    headers.iter().find(named).map(|(_, value)| value)
}
