//! Asking servers of the outside world: who measures, and who is asked before something is done.

use std::time::Duration;

use umbra_api::outside;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Where. It may hold a secret, and is in no message.
    pub url: String,
    /// Headers, likewise.
    pub headers: Vec<(String, String)>,
    /// It is sent as a POST; without one it is a GET.
    pub body: Option<Vec<u8>>,
    /// All of it may take so long.
    pub timeout: Duration,
    /// So much of the answer is kept.
    pub answer_bytes_max: usize,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Its body, up to what was asked for.
    pub body: Vec<u8>,
    /// Whether it was longer.
    pub cut: bool,
}

/// Why nothing, or not all, came back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct FetchError {
    /// In words, without the address.
    pub why: String,
}

/// Asks servers. A request ends in bounded time and follows no redirection: the secret in it is
/// for this server.
pub trait Fetch: Send + Sync {
    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// There was none.
    fn fetch(&self, request: &Request) -> Result<Reply, FetchError>;
}

/// Over http and https, trusting whom this machine trusts. Blocks; not for tasks of a runtime.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outside;

impl Fetch for Outside {
    fn fetch(&self, request: &Request) -> Result<Reply, FetchError> {
        let answer = outside::ask(&outside::Request {
            url: &request.url,
            headers: &request.headers,
            body: request.body.as_deref(),
            timeout: request.timeout,
            answer_bytes_max: request.answer_bytes_max,
        });
        match answer {
            Ok(answer) => Ok(Reply { status: answer.status, body: answer.body, cut: answer.cut }),
            Err(error) => Err(FetchError { why: error.to_string() }),
        }
    }
}
