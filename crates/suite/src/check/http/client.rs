//! A small HTTP/1 client: one exchange, bounded in time and size.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HOST, HeaderMap, LOCATION};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::url::Url;
use super::{HttpRequest, Scheme, Tls, tls};
use crate::target::{ProbeError, Target};

/// How long setting up a connection that nobody answers may take.
pub(crate) const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(10);

/// What came back.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, as far as it was read.
    pub body: Vec<u8>,
    /// Whether the body was longer than what was read.
    pub truncated: bool,
    /// From the start of the connection to the last byte, redirects included.
    pub latency: Duration,
}

/// Why there is no answer: somebody looked, and it is bad.
#[derive(Debug)]
pub enum Failure {
    /// No connection was made.
    Connect(io::Error),
    /// It could not be made a safe one.
    Tls(io::Error),
    /// What came is no answer, or none came.
    Http(hyper::Error),
    /// It leads nowhere.
    Redirect(String),
    /// It took longer than this.
    TimedOut(Duration),
}

impl Failure {
    /// What a person reads.
    pub fn in_words(&self) -> String {
        let chained = |error: &dyn std::error::Error| {
            umbra_state::escape::escape(crate::target::chain(error).as_bytes()).to_string()
        };
        match self {
            Self::Connect(error) => format!("no connection: {}", chained(error)),
            Self::Tls(error) => format!("no TLS connection: {}", chained(error)),
            Self::Http(error) => format!("no HTTP answer: {}", chained(error)),
            Self::Redirect(detail) => format!("a redirect {detail}"),
            Self::TimedOut(limit) => format!("no answer within {} ms", limit.as_millis()),
        }
    }

    /// Whether this machine, not the shadow, is to blame.
    pub fn is_ours(&self) -> bool {
        let Self::Connect(error) = self else { return false };
        let code = error.raw_os_error().map(rustix::io::Errno::from_raw_os_error);
        use rustix::io::Errno;
        matches!(code, Some(Errno::MFILE | Errno::NFILE | Errno::ADDRNOTAVAIL | Errno::NOBUFS))
    }

    /// A reused connection that the server had closed meanwhile: worth a fresh one.
    pub fn is_stale_connection(&self) -> bool {
        matches!(self, Self::Http(error)
            if error.is_canceled() || error.is_closed() || error.is_incomplete_message())
    }
}

/// What to exchange.
pub(crate) struct Exchange<'a> {
    pub(crate) request: &'a HttpRequest,
    pub(crate) tls: &'a Tls,
    pub(crate) redirects_max: u32,
    pub(crate) body_bytes_max: u64,
}

/// How a host of a URL is found.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reach {
    /// Whatever the host's name, connect here from the host.
    Address(IpAddr),
    /// Connect as a process inside would; names are resolved to this address.
    Inside(IpAddr),
}

/// Exchanges one request, on a runtime of its own.
pub(crate) fn fetch(
    target: &dyn Target,
    reach: Reach,
    url: Url,
    exchange: &Exchange<'_>,
    timeout: Duration,
) -> Result<Result<Response, Failure>, ProbeError> {
    runtime()?.block_on(async {
        let timed = tokio::time::timeout(timeout, follow(target, reach, url, exchange, timeout));
        timed.await.unwrap_or(Ok(Err(Failure::TimedOut(timeout))))
    })
}

/// A runtime for one test.
pub fn runtime() -> Result<tokio::runtime::Runtime, ProbeError> {
    let host = |source| ProbeError::Host { what: "start an event loop", source };
    tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build().map_err(host)
}

async fn follow(
    target: &dyn Target,
    reach: Reach,
    mut url: Url,
    exchange: &Exchange<'_>,
    timeout: Duration,
) -> Result<Result<Response, Failure>, ProbeError> {
    let start = Instant::now();
    let mut request = exchange.request.clone();
    for redirects in 0.. {
        let mut answer = match once(target, reach, &url, &request, exchange, timeout).await? {
            Ok(answer) => answer,
            Err(failure) if failure.is_ours() => {
                let source = io::Error::other(failure.in_words());
                return Err(ProbeError::Host { what: "open a connection", source });
            }
            Err(failure) => return Ok(Err(failure)),
        };
        let location =
            answer.headers.get(LOCATION).map(|to| String::from_utf8_lossy(to.as_bytes()));
        let location = location.filter(|_| matches!(answer.status, 301 | 302 | 303 | 307 | 308));
        let Some(location) = location.filter(|_| redirects < exchange.redirects_max) else {
            answer.latency = start.elapsed();
            return Ok(Ok(answer));
        };
        url = match url.join(&location) {
            Ok(next) => next,
            Err(problem) => {
                let to = umbra_state::escape::escape(location.as_bytes()).to_string();
                return Ok(Err(Failure::Redirect(format!("to `{to}`, which is {problem}"))));
            }
        };
        request.path.clone_from(&url.path);
        if matches!(answer.status, 301..=303) && !matches!(&*request.method, "GET" | "HEAD") {
            request.method = "GET".to_owned();
            request.body.clear();
        }
    }
    Ok(Err(Failure::Redirect("without end".to_owned())))
}

async fn once(
    target: &dyn Target,
    reach: Reach,
    url: &Url,
    request: &HttpRequest,
    exchange: &Exchange<'_>,
    timeout: Duration,
) -> Result<Result<Response, Failure>, ProbeError> {
    let message = build(request, &url.authority())?;
    let connector = match url.scheme {
        Scheme::Http => None,
        Scheme::Https => Some(tls::connector(exchange.tls, target)?),
    };
    let stream = match connect(target, reach, url, timeout).await? {
        Ok(stream) => stream,
        Err(error) => return Ok(Err(Failure::Connect(error))),
    };
    let mut sender = match open(stream, connector.as_ref(), url.server_name()).await {
        Ok(sender) => sender,
        Err(failure) => return Ok(Err(failure)),
    };
    Ok(send(&mut sender, message, exchange.body_bytes_max).await)
}

async fn connect(
    target: &dyn Target,
    reach: Reach,
    url: &Url,
    timeout: Duration,
) -> Result<io::Result<TcpStream>, ProbeError> {
    let inside = match reach {
        Reach::Address(address) => {
            return Ok(TcpStream::connect((address, url.port)).await);
        }
        Reach::Inside(address) => SocketAddr::new(host_address(url).unwrap_or(address), url.port),
    };
    let timeout = timeout.min(CONNECT_TIMEOUT_MAX);
    let stream = target.connect(inside, timeout)?;
    Ok(stream.and_then(|stream| {
        stream.set_nonblocking(true)?;
        TcpStream::from_std(stream)
    }))
}

/// The address a host stands for without asking anybody.
pub(crate) fn host_address(url: &Url) -> Option<IpAddr> {
    match url.server_name() {
        "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        name => name.parse().ok(),
    }
}

/// Sets up HTTP on a connection; it is driven by a task until it is dropped.
pub async fn open(
    stream: TcpStream,
    connector: Option<&TlsConnector>,
    server_name: &str,
) -> Result<SendRequest<Full<Bytes>>, Failure> {
    // Without this a small request may wait for the acknowledgement of an earlier one.
    stream.set_nodelay(true).map_err(Failure::Connect)?;
    let Some(connector) = connector else {
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(Failure::Http)?;
        tokio::spawn(connection);
        return Ok(sender);
    };
    let name = ServerName::try_from(server_name.to_owned())
        .map_err(|error| Failure::Tls(io::Error::other(error)))?;
    let stream = connector.connect(name, stream).await.map_err(Failure::Tls)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(Failure::Http)?;
    tokio::spawn(connection);
    Ok(sender)
}

/// Sends a request on an open connection and reads at most `body_bytes_max` of the answer.
pub async fn send(
    sender: &mut SendRequest<Full<Bytes>>,
    message: Request<Full<Bytes>>,
    body_bytes_max: u64,
) -> Result<Response, Failure> {
    let start = Instant::now();
    sender.ready().await.map_err(Failure::Http)?;
    let response = sender.send_request(message).await.map_err(Failure::Http)?;
    let (head, mut body) = response.into_parts();
    let mut bytes = Vec::new();
    let mut truncated = false;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(Failure::Http)?.into_data() else { continue };
        let room = usize::try_from(body_bytes_max).unwrap_or(usize::MAX) - bytes.len();
        bytes.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() > room {
            truncated = true;
            break;
        }
    }
    let (status, latency) = (head.status.as_u16(), start.elapsed());
    Ok(Response { status, headers: head.headers, body: bytes, truncated, latency })
}

/// The message for a request; `authority` is its `Host` unless a header says otherwise.
pub(crate) fn build(
    request: &HttpRequest,
    authority: &str,
) -> Result<Request<Full<Bytes>>, ProbeError> {
    let refuse = |detail: String| ProbeError::Malformed { what: "the request".into(), detail };
    if !request.path.starts_with('/') {
        return Err(refuse("its path does not begin with a slash".to_owned()));
    }
    let method = Method::from_bytes(request.method.as_bytes())
        .map_err(|_| refuse("its method is none".to_owned()))?;
    let mut builder = Request::builder().method(method).uri(&request.path);
    let has =
        |name: &str| request.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
    if !has("host") {
        builder = builder.header(HOST, authority);
    }
    if !has("user-agent") {
        builder = builder.header("user-agent", concat!("umbra/", env!("CARGO_PKG_VERSION")));
    }
    if !has("accept") {
        builder = builder.header("accept", "*/*");
    }
    for (name, value) in &request.headers {
        builder = builder.header(name, value);
    }
    builder.body(Full::new(Bytes::from(request.body.clone()))).map_err(|e| refuse(e.to_string()))
}
