//! Servers over HTTP. The requests are made by whoever has a client: a [`Post`].

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;

use super::{Document, Sink, SinkError};
use crate::config::{Address, Dialect, Secret, Token};

/// Makes requests.
///
/// A request ends in bounded time and follows no redirection: the secret in it is for this
/// server.
pub trait Post: Send + Sync {
    /// Sends `body` to `url` with these headers, and returns the status of the answer.
    ///
    /// # Errors
    /// There was no answer.
    fn post(&self, url: &str, headers: &[(String, String)], body: &[u8]) -> Result<u16, PostError>;
}

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct PostError {
    /// In words; without the address, which may hold a secret.
    pub why: String,
}

/// Sends documents to a server.
pub struct Http<P> {
    dialect: Dialect,
    url: Address,
    token: Option<Token>,
    post: P,
}

impl<P: Post> Http<P> {
    /// To the server at `url`.
    pub fn new(dialect: Dialect, url: Address, token: Option<Token>, post: P) -> Self {
        Self { dialect, url, token, post }
    }

    /// Sends what has no document, as [`again`](super::again) makes it.
    ///
    /// # Errors
    /// As [`Sink::deliver`].
    pub fn send(&self, body: &[u8]) -> Result<(), SinkError> {
        self.request(body, Vec::new())
    }

    fn request(&self, body: &[u8], mut headers: Vec<(String, String)>) -> Result<(), SinkError> {
        let url = match &self.url {
            Address::Plain(url) => url.clone(),
            Address::Hidden(from) => secret(from)?,
        };
        headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
        if let Some(token) = &self.token {
            let secret = secret(&token.from)?;
            headers.push(match &token.header {
                Some(header) => (header.clone(), secret),
                None => ("Authorization".to_owned(), format!("Bearer {secret}")),
            });
        }
        let to = host(&url).to_owned();
        let answer = self.post.post(&self.address(&url), &headers, body);
        match answer {
            Ok(200..=299) => Ok(()),
            Ok(status) => Err(SinkError::Answered { to, status }),
            Err(source) => Err(SinkError::NotSent { to, source }),
        }
    }

    /// Of an Alertmanager the file names where it is, and it is known what is where on it.
    fn address(&self, url: &str) -> String {
        const PATH: &str = "/api/v2/alerts";
        let base = url.trim_end_matches('/');
        if self.dialect == Dialect::Alertmanager && !base.ends_with(PATH) {
            return format!("{base}{PATH}");
        }
        url.to_owned()
    }
}

/// The part of an address that holds no secret.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

impl<P: Post> Sink for Http<P> {
    fn deliver(&self, document: &Document) -> Result<(), SinkError> {
        // Who gets it twice can tell.
        let headers = vec![("Idempotency-Key".to_owned(), document.id.clone())];
        self.request(&document.body.0, headers)
    }
}

/// No token is longer.
const SECRET_BYTES_MAX: u64 = 8 << 10;

fn secret(from: &Secret) -> Result<String, SinkError> {
    read_secret(from).map_err(|source| SinkError::Secret {
        from: match from {
            Secret::Env(name) => format!("the variable {name}"),
            Secret::File(path) => umbra_state::escape::escape(path.as_bytes()).to_string(),
        },
        source,
    })
}

/// The secret, white space around it left out.
///
/// # Errors
/// It is not there, or cannot stand in a request: it is empty, too long, or holds anything but
/// printable ASCII.
pub fn read_secret(from: &Secret) -> io::Result<String> {
    let text = match from {
        // The error of the library shows what is no Unicode.
        Secret::Env(name) => std::env::var(name)
            .map_err(|_| io::Error::new(io::ErrorKind::NotFound, "it is not set, or no text"))?,
        Secret::File(path) => {
            let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
            let file = File::options().read(true).custom_flags(flags).open(path)?;
            if !file.metadata()?.is_file() {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
            }
            let mut text = String::new();
            file.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text)?;
            text
        }
    };
    let secret = text.trim();
    let printable = secret.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if secret.is_empty() || secret.len() as u64 > SECRET_BYTES_MAX || !printable {
        let why = "it is empty, too long, or no printable ASCII";
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    Ok(secret.to_owned())
}
