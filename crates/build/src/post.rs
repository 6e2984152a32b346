//! One POST to a server of the outside world, over http or https.
//!
//! It ends in bounded time, follows no redirection, and trusts the authorities this machine
//! trusts. What the server says besides its status is read and thrown away.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls_platform_verifier::ConfigVerifierExt as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

/// How long all of it may take.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Why there was no answer. Says nothing of the address and the headers: there may be secrets
/// in them.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct PostError(String);

impl PostError {
    fn of(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// Sends `body` to `url` with these headers and returns the status of the answer. Blocking.
///
/// # Errors
/// There was no answer.
pub fn post(url: &str, headers: &[(String, String)], body: &[u8]) -> Result<u16, PostError> {
    let uri: hyper::Uri = url.parse().map_err(|_| PostError::of("it is no URL"))?;
    let request = request(&uri, headers, body)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(PostError::of)?;
    let answer = runtime.block_on(async {
        tokio::time::timeout(PATIENCE, send(&uri, request))
            .await
            .map_err(|_| PostError(format!("it did not answer within {PATIENCE:?}")))?
    });
    // A name that is still being looked up keeps nobody.
    runtime.shutdown_background();
    answer.map(|status| status.as_u16())
}

fn request(
    uri: &hyper::Uri,
    headers: &[(String, String)],
    body: &[u8],
) -> Result<Request<Full<Bytes>>, PostError> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    // A name and a password in it are not the server's business here.
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let mut request = Request::post(path)
        .header("host", host)
        .header("user-agent", concat!("umbra/", env!("CARGO_PKG_VERSION")));
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request.body(Full::new(Bytes::copy_from_slice(body))).map_err(PostError::of)
}

async fn send(uri: &hyper::Uri, request: Request<Full<Bytes>>) -> Result<StatusCode, PostError> {
    let tls = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(PostError::of("it is no address of http or https")),
    };
    let host = uri.host().ok_or_else(|| PostError::of("it names no host"))?;
    let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((bare, port)).await.map_err(PostError::of)?;
    if !tls {
        return exchange(stream, request).await;
    }
    let config = ClientConfig::with_platform_verifier().map_err(PostError::of)?;
    let name = ServerName::try_from(bare.to_owned()).map_err(PostError::of)?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = connector.connect(name, stream).await.map_err(PostError::of)?;
    exchange(stream, request).await
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<StatusCode, PostError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(PostError::of)?;
    let driver = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(PostError::of)?;
    let status = response.status();
    // Read to its end, so that the other side is not cut off; what it says does not matter.
    let mut body = response.into_body();
    while let Some(Ok(_)) = body.frame().await {}
    drop(sender);
    driver.abort();
    Ok(status)
}
