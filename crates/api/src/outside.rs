//! One request to a server of the outside world, over http or https.
//!
//! It ends in bounded time and bounded memory, follows no redirection, and trusts the authorities
//! this machine trusts. It blocks: never call it from a task of a runtime.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Response};
use hyper_util::rt::TokioIo;
use rustls_platform_verifier::ConfigVerifierExt as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

/// How long all of a [`post`] may take.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What a server says to a [`post`] besides its status does not matter; so much of it is read, so
/// that it is not cut off.
const SAID_BYTES_MAX: usize = 1 << 20;

/// What is asked.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Where: `http://` or `https://`.
    pub url: &'a str,
    /// Headers besides those every request has.
    pub headers: &'a [(String, String)],
    /// It is sent as a POST; without one it is a GET.
    pub body: Option<&'a [u8]>,
    /// All of it may take so long.
    pub timeout: Duration,
    /// So much of the answer is kept.
    pub answer_bytes_max: usize,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: Vec<u8>,
    /// Whether it was longer, and the rest was not waited for.
    pub cut: bool,
}

/// Why there was no answer. Says nothing of the address and the headers: there may be secrets
/// in them.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct OutsideError(String);

impl OutsideError {
    fn of(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// Sends `body` to `url` with these headers and returns the status of the answer. Blocking.
///
/// # Errors
/// There was no answer.
pub fn post(url: &str, headers: &[(String, String)], body: &[u8]) -> Result<u16, OutsideError> {
    let body = Some(body);
    let answer_bytes_max = SAID_BYTES_MAX;
    let request = Request { url, headers, body, timeout: PATIENCE, answer_bytes_max };
    ask(&request).map(|answer| answer.status)
}

/// Asks and waits for the answer. Blocking.
///
/// # Errors
/// There was no answer, or not all of it.
pub fn ask(request: &Request<'_>) -> Result<Answer, OutsideError> {
    let uri: hyper::Uri = request.url.parse().map_err(|_| OutsideError::of("it is no URL"))?;
    let message = message(&uri, request)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(OutsideError::of)?;
    let (patience, bytes_max) = (request.timeout, request.answer_bytes_max);
    let answer = runtime.block_on(async {
        tokio::time::timeout(patience, send(&uri, message, bytes_max))
            .await
            .map_err(|_| OutsideError(format!("it did not answer within {patience:?}")))?
    });
    // A name that is still being looked up keeps nobody.
    runtime.shutdown_background();
    answer
}

type Message = hyper::Request<Full<Bytes>>;

fn message(uri: &hyper::Uri, request: &Request<'_>) -> Result<Message, OutsideError> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    // A name and a password in it are not the server's business here.
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let method = if request.body.is_some() { Method::POST } else { Method::GET };
    let mut message = hyper::Request::builder()
        .method(method)
        .uri(path)
        .header("host", host)
        .header("user-agent", concat!("umbra/", env!("CARGO_PKG_VERSION")));
    for (name, value) in request.headers {
        message = message.header(name, value);
    }
    let body = Bytes::copy_from_slice(request.body.unwrap_or_default());
    message.body(Full::new(body)).map_err(OutsideError::of)
}

async fn send(
    uri: &hyper::Uri,
    message: Message,
    bytes_max: usize,
) -> Result<Answer, OutsideError> {
    let tls = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(OutsideError::of("it is no address of http or https")),
    };
    let host = uri.host().ok_or_else(|| OutsideError::of("it names no host"))?;
    let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((bare, port)).await.map_err(OutsideError::of)?;
    if !tls {
        return exchange(stream, message, bytes_max).await;
    }
    let config = ClientConfig::with_platform_verifier().map_err(OutsideError::of)?;
    let name = ServerName::try_from(bare.to_owned()).map_err(OutsideError::of)?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = connector.connect(name, stream).await.map_err(OutsideError::of)?;
    exchange(stream, message, bytes_max).await
}

async fn exchange<S>(stream: S, message: Message, bytes_max: usize) -> Result<Answer, OutsideError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(OutsideError::of)?;
    let driver = tokio::spawn(connection);
    let response = sender.send_request(message).await.map_err(OutsideError::of)?;
    let answer = read(response, bytes_max).await;
    drop(sender);
    driver.abort();
    answer
}

async fn read(response: Response<Incoming>, bytes_max: usize) -> Result<Answer, OutsideError> {
    let mut answer = Answer { status: response.status().as_u16(), body: Vec::new(), cut: false };
    let mut incoming = response.into_body();
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(OutsideError::of)?;
        let Some(data) = frame.data_ref() else { continue };
        let room = bytes_max - answer.body.len();
        answer.body.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() > room {
            answer.cut = true;
            break;
        }
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// What is asked of a server that says `said` and hangs up, and the answer.
    fn asked(
        said: &[u8],
        body: Option<&[u8]>,
        answer_bytes_max: usize,
    ) -> (String, Result<Answer, OutsideError>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let url = format!("http://{}/a?b=c", listener.local_addr().expect("bound"));
        std::thread::scope(|scope| {
            let server = scope.spawn(move || {
                let (mut stream, _) = listener.accept().expect("somebody comes");
                let mut head = Vec::new();
                while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).expect("a byte");
                    head.push(byte[0]);
                }
                let mut rest = vec![0; body.map_or(0, <[u8]>::len)];
                stream.read_exact(&mut rest).expect("a body");
                head.extend(rest);
                // Who has read enough hangs up.
                let _ = stream.write_all(said);
                String::from_utf8(head).expect("text")
            });
            let headers = [("x-a".to_owned(), "1".to_owned())];
            let timeout = Duration::from_secs(20);
            let request = Request { url: &url, headers: &headers, body, timeout, answer_bytes_max };
            let answer = ask(&request);
            (server.join().expect("it served"), answer)
        })
    }

    #[track_caller]
    fn check(said: &str, answer_bytes_max: usize, expected: Option<(u16, &str, bool)>) {
        let (_, answer) = asked(said.as_bytes(), None, answer_bytes_max);
        let answer = answer.ok().map(|answer| {
            (answer.status, String::from_utf8(answer.body).expect("text"), answer.cut)
        });
        assert_eq!(answer, expected.map(|(status, body, cut)| (status, body.to_owned(), cut)));
    }

    #[test]
    fn an_answer_is_kept_up_to_a_bound() {
        let four = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfour";
        check(four, 4, Some((200, "four", false)));
        check(four, 3, Some((200, "fou", true)));
        check(four, 0, Some((200, "", true)));
        let chunks =
            "HTTP/1.1 404 No\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n";
        check(chunks, 9, Some((404, "abcd", false)));
        check(chunks, 3, Some((404, "abc", true)));
        check(
            "HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n",
            9,
            Some((302, "", false)),
        );
        check("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nfour", 9, None);
        check("", 9, None);
        check("nonsense\r\n\r\n", 9, None);
    }

    #[test]
    fn a_question_has_no_body_and_a_document_has_one() {
        let empty = b"HTTP/1.1 204 No Content\r\n\r\n";
        let (get, _) = asked(empty, None, 9);
        assert!(get.starts_with("GET /a?b=c HTTP/1.1\r\n") && get.contains("x-a: 1\r\n"), "{get}");
        let (post, answer) = asked(empty, Some(b"{}"), 9);
        assert!(post.starts_with("POST /a?b=c HTTP/1.1\r\n") && post.ends_with("{}"), "{post}");
        assert_eq!(answer.expect("an answer").status, 204);
    }

    #[test]
    fn who_says_nothing_is_not_waited_for_long() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let url = format!("http://u:s3cret@{}/", listener.local_addr().expect("bound"));
        let timeout = Duration::from_millis(50);
        let request = Request { url: &url, headers: &[], body: None, timeout, answer_bytes_max: 9 };
        let error = ask(&request).expect_err("silence").to_string();
        assert!(error.contains("did not answer") && !error.contains("s3cret"), "{error}");
        for url in ["", "ftp://a", "/x", "http://"] {
            let request = Request { url, headers: &[], body: None, timeout, answer_bytes_max: 9 };
            ask(&request).expect_err(url);
        }
    }
}
