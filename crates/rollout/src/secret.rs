//! Secrets sent along with requests: read when they are needed, and in no message.

use std::io;

use umbra_drift::config::{Address, Secret, Token};
use umbra_drift::sink::read_secret;
use umbra_state::escape::escape;

/// Why a secret cannot be had. Says where it should be, not what it is.
#[derive(Debug, thiserror::Error)]
#[error("read the secret in {from}")]
pub struct SecretError {
    /// Where.
    from: String,
    /// Why.
    source: io::Error,
}

/// The header that carries a token.
pub(crate) fn header(token: &Token) -> Result<(String, String), SecretError> {
    let secret = read(&token.from)?;
    Ok(match &token.header {
        Some(header) => (header.clone(), secret),
        None => ("Authorization".to_owned(), format!("Bearer {secret}")),
    })
}

/// The address itself, which may be a secret.
pub(crate) fn address(address: &Address) -> Result<String, SecretError> {
    match address {
        Address::Plain(url) => Ok(url.clone()),
        Address::Hidden(from) => read(from),
    }
}

fn read(from: &Secret) -> Result<String, SecretError> {
    read_secret(from).map_err(|source| SecretError {
        from: match from {
            Secret::Env(name) => format!("the variable {}", escape(name.as_bytes())),
            Secret::File(path) => escape(path.as_bytes()).to_string(),
        },
        source,
    })
}
