//! Bodies of a gibibyte, each way and in every framing: through the gateway, which mirrors them,
//! and without it.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use sha2::{Digest, Sha256};
use tokio::net::{TcpListener, TcpStream};
use umbra_gateway::control::GatewayStatus;

use crate::memory;
use crate::peers;
use crate::place::Shadow;
use crate::process::Outcome;
use crate::shadow::Fault;

const BYTES: u64 = 1 << 30;
/// Of no buffer's size.
const PIECE: usize = 64_007;
/// What the gateway may take beside what it had: copies, and buffers of a few connections.
const MEMORY_KIB: u64 = (64 + 16) << 10;
/// A copy's time is no part of this.
const COPY_TIME_MS: u64 = 600_000;

/// How clients send and get bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Length,
    Chunked,
    Http2,
}

pub(crate) fn bodies() -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let digest = digest();
    let server = serve()?;
    let dir = tempfile::tempdir()?;
    let (gateway, control) = peers::gateway(dir.path(), server.port())?;
    let shadow = Shadow::start(Fault::None)?;
    peers::mirror(&control, &shadow.at, Some(COPY_TIME_MS))?;
    let through = SocketAddr::from((Ipv4Addr::LOCALHOST, gateway.port));
    let base = memory::forget_peak(gateway.process.id())?;
    println!("bodies: 1 GiB, everything mirrored; MB/s without a gateway, and through it");
    for way in [Way::Length, Way::Chunked, Way::Http2] {
        for (name, method) in [("upload", Method::PUT), ("download", Method::GET)] {
            let mut took = [Duration::ZERO; 2];
            for (at, took) in [server, through].into_iter().zip(&mut took) {
                let began = Instant::now();
                let came = runtime.block_on(exchange(at, way, &method))?;
                *took = began.elapsed();
                if came != digest {
                    return Err(format!("the {name} by {way:?} at {at} differs: {came}").into());
                }
            }
            let [direct, passed] = took.map(|took| BYTES as f64 / 1e6 / took.as_secs_f64());
            let way = format!("{way:?}");
            println!("  {way:<10}{name:<10}{direct:>6.0} {passed:>6.0}  {:.2}", passed / direct);
        }
    }
    let peak = memory::peak(gateway.process.id())?;
    let status: GatewayStatus = control.get("/v1/gateway")?;
    let counted = &status.mirrors[0].counted;
    println!(
        "  all as they were sent; memory {base} KiB before, {peak} KiB at most; of {} copies {} \
         were truncated",
        counted.mirrored, counted.truncated
    );
    match peak <= base + MEMORY_KIB && counted.mirrored + counted.dropped() == counted.eligible {
        true => Ok(()),
        false => Err(format!("it took too much memory, or lost count: {counted:?}").into()),
    }
}

/// Sends or gets one body, and says its digest at the other end.
async fn exchange(at: SocketAddr, way: Way, method: &Method) -> Outcome<String> {
    let stream = TokioIo::new(TcpStream::connect(at).await?);
    let body = match *method {
        Method::PUT => Either::Left(Made::new(way == Way::Length)),
        _ => Either::Right(Full::<Bytes>::default()),
    };
    let uri = match way {
        Way::Http2 => format!("http://{at}/Http2"),
        _ => format!("/{way:?}"),
    };
    let request = Request::builder().method(method).uri(uri).header("host", at.to_string());
    let request = request.body(body)?;
    let answer = match way {
        Way::Http2 => {
            let (mut client, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await?;
            tokio::spawn(connection);
            client.send_request(request).await?
        }
        Way::Length | Way::Chunked => {
            let (mut client, connection) = hyper::client::conn::http1::handshake(stream).await?;
            tokio::spawn(connection);
            client.send_request(request).await?
        }
    };
    match *method {
        Method::PUT => {
            Ok(String::from_utf8(answer.into_body().collect().await?.to_bytes().into())?)
        }
        _ => digest_of(answer.into_body()).await,
    }
}

/// A server that says the digest of what it is sent, and sends what has one digest. It is a
/// thread of this process, and goes with it.
fn serve() -> Outcome<SocketAddr> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let at = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::spawn(move || {
        runtime.block_on(async move {
            let Ok(listener) = TcpListener::from_std(listener) else { return };
            while let Ok((stream, _)) = listener.accept().await {
                let service = service_fn(answer);
                tokio::spawn(async move {
                    let builder = auto::Builder::new(TokioExecutor::new());
                    // What goes wrong shows at the client.
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
    });
    Ok(at)
}

async fn answer(
    request: Request<Incoming>,
) -> Result<Response<Either<Made, Full<Bytes>>>, Infallible> {
    if request.method() == Method::GET {
        let known = request.uri().path() == "/Length";
        return Ok(Response::new(Either::Left(Made::new(known))));
    }
    let digest = digest_of(request.into_body()).await;
    let digest = digest.unwrap_or_else(|error| error.to_string());
    Ok(Response::new(Either::Right(Full::new(Bytes::from(digest)))))
}

async fn digest_of(mut body: Incoming) -> Outcome<String> {
    let mut hasher = Sha256::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            hasher.update(&data);
        }
    }
    Ok(format!("{:x}", hasher.finalize()))
}

/// That of every body.
fn digest() -> String {
    let mut hasher = Sha256::new();
    let mut made = Made::new(true);
    while let Some(piece) = made.piece() {
        hasher.update(&piece);
    }
    format!("{:x}", hasher.finalize())
}

/// A body, made as it is read. No two pieces are alike.
struct Made {
    left: u64,
    piece: Vec<u8>,
    /// Whether its length is told.
    known: bool,
}

impl Made {
    fn new(known: bool) -> Self {
        let piece = (0..PIECE as u64).map(|at| ((at * at) >> 5) as u8).collect();
        Self { left: BYTES, piece, known }
    }

    fn piece(&mut self) -> Option<Bytes> {
        let length = usize::try_from(self.left).unwrap_or(PIECE).min(PIECE);
        let number = self.left.to_le_bytes();
        self.piece[..number.len()].copy_from_slice(&number);
        self.left -= length as u64;
        (length > 0).then(|| Bytes::copy_from_slice(&self.piece[..length]))
    }
}

impl Body for Made {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.piece().map(|piece| Ok(Frame::data(piece))))
    }

    fn size_hint(&self) -> SizeHint {
        match self.known {
            true => SizeHint::with_exact(self.left),
            false => SizeHint::default(),
        }
    }
}
