//! One request over the unix socket, and what comes back.

use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};

use super::ClientError;
use crate::error::{ErrorCode, WireError};

/// The largest answer a client takes: a full diff of two large states fits.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// A request before it is sent.
pub(super) struct Call {
    method: Method,
    target: String,
    body: Bytes,
}

impl Call {
    pub(super) fn get(target: String) -> Self {
        Self { method: Method::GET, target, body: Bytes::new() }
    }

    pub(super) fn delete(target: String) -> Self {
        Self { method: Method::DELETE, target, body: Bytes::new() }
    }

    pub(super) fn post(target: String, body: &impl Serialize) -> Result<Self, ClientError> {
        let body = serde_json::to_vec(body).map_err(ClientError::Request)?;
        Ok(Self { method: Method::POST, target, body: body.into() })
    }

    pub(super) fn into_request(self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body));
        *request.method_mut() = self.method;
        // Targets are made by this crate from literals and percent-encoded names.
        *request.uri_mut() = self.target.parse().unwrap_or_default();
        let headers = request.headers_mut();
        headers.insert(HOST, hyper::header::HeaderValue::from_static("umbra"));
        headers.insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
        request
    }
}

/// Sends `call` and reads the whole answer, which may be as long in coming as `patience` says.
pub(super) fn call(
    socket: &Path,
    call: Call,
    patience: Option<Duration>,
) -> Result<Bytes, ClientError> {
    runtime()?.block_on(async {
        let answered = async {
            let response = send(socket, call.into_request()).await?;
            let status = response.status();
            let body = read_all(response).await?;
            if status.is_success() { Ok(body) } else { Err(refused(status.as_u16(), &body)) }
        };
        match patience {
            None => answered.await,
            Some(patience) => tokio::time::timeout(patience, answered)
                .await
                .map_err(|_| ClientError::Silent { patience })?,
        }
    })
}

/// A runtime for one conversation; it lives on the calling thread.
pub(super) fn runtime() -> Result<Runtime, ClientError> {
    Builder::new_current_thread().enable_all().build().map_err(ClientError::Io)
}

/// Connects and sends; the connection is driven by the runtime this is called in.
pub(super) async fn send(
    socket: &Path,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, ClientError> {
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|source| ClientError::Connect { socket: socket.to_owned(), source })?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(ClientError::Http)?;
    // Its end is seen by whoever reads the answer.
    drop(tokio::spawn(connection.with_upgrades()));
    sender.send_request(request).await.map_err(ClientError::Http)
}

/// Reads an answer's body, within bounds.
pub(super) async fn read_all(response: Response<Incoming>) -> Result<Bytes, ClientError> {
    match Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) => match error.downcast::<hyper::Error>() {
            Ok(error) => Err(ClientError::Http(*error)),
            Err(_) => Err(ClientError::TooLarge { limit: ANSWER_BYTES_MAX }),
        },
    }
}

/// What the daemon said when it did not do as asked.
pub(super) fn refused(status: u16, body: &[u8]) -> ClientError {
    let error = serde_json::from_slice(body).unwrap_or_else(|_| {
        let message = format!("get an explanation from the daemon: it answered {status}");
        WireError::new(ErrorCode::Unknown, message)
    });
    ClientError::Refused(error)
}

/// A text as one component of a request target.
pub fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_become_one_component() {
        assert_eq!(percent("image/web 1?ä"), "image%2Fweb%201%3F%C3%A4");
    }

    proptest! {
        #[test]
        fn any_name_makes_a_target(name in ".{0,40}") {
            let target = format!("/v1/states/{}", percent(&name));
            let request = Call::get(target.clone()).into_request();
            prop_assert_eq!(request.uri().path(), target);
        }
    }
}
