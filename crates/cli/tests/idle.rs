//! What ten thousand connections nobody uses cost a gateway.

#![allow(clippy::unwrap_used)]

#[path = "support/gateway.rs"]
mod support;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::Gateway;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};

const CONNECTIONS: usize = 10_000;
/// In megabytes.
const MEMORY_MAX: f64 = 150.0;
/// Clients that connect at once.
const AT_ONCE: usize = 100;
const ADDRESSES: usize = 8;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// As many descriptors as may be had.
fn open_many() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let enough = maximum.is_none_or(|maximum| maximum > CONNECTIONS as u64 + 1_000);
    assert!(enough, "{CONNECTIONS} connections need more descriptors: `ulimit -Hn` is {maximum:?}");
}

/// A server that answers everything with nothing.
async fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut asked = [0; 4096];
                while stream.read(&mut asked).await.is_ok_and(|read| read > 0) {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                    if stream.write_all(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    at
}

/// A connection that was used once, from one of several addresses.
async fn connection(number: usize, to: SocketAddr, tls: Option<TlsConnector>) -> Box<dyn Stream> {
    let from = Ipv4Addr::new(127, 0, 1, (number % ADDRESSES) as u8 + 1);
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((IpAddr::from(from), 0).into()).unwrap();
    let stream: TcpStream = socket.connect(to).await.unwrap();
    let mut stream: Box<dyn Stream> = match tls {
        None => Box::new(stream),
        Some(tls) => {
            let name = ServerName::try_from("app.test").unwrap();
            Box::new(tls.connect(name, stream).await.unwrap())
        }
    };
    stream.write_all(b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n").await.unwrap();
    let mut answer = [0; 4096];
    let read = stream.read(&mut answer).await.unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 200 "));
    stream
}

/// Resident memory, in megabytes.
fn memory(gateway: &Gateway) -> f64 {
    let status = format!("/proc/{}/status", gateway.process.id());
    let status = std::fs::read_to_string(status).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<f64>().unwrap() * 1024.0 / 1e6
}

/// How much a gateway has with so many connections, and how much it had before.
async fn measure(state: &Path, more: &[&str], tls: Option<TlsConnector>) -> (f64, f64) {
    let gateway = Gateway::start(state, server().await, more);
    let at: SocketAddr = gateway.at.parse().unwrap();
    let before = memory(&gateway);
    let mut held = Vec::with_capacity(CONNECTIONS);
    while held.len() < CONNECTIONS {
        let mut some = JoinSet::new();
        for number in held.len()..held.len() + AT_ONCE {
            some.spawn(connection(number, at, tls.clone()));
        }
        held.extend(some.join_all().await);
    }
    let with = memory(&gateway);
    // The last one is as good as the first.
    let mut again = [0; 64];
    for place in [0, CONNECTIONS - 1] {
        let stream = &mut held[place];
        stream.write_all(b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n").await.unwrap();
        assert_ne!(stream.read(&mut again).await.unwrap(), 0, "{place} was closed");
    }
    (before, with)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_are_cheap() {
    open_many();
    let dir = tempfile::tempdir().unwrap();
    let (before, with) = measure(dir.path(), &["--idle-time", "3600"], None).await;
    println!("{CONNECTIONS} connections: {with:.0} MB, {before:.0} without any");
    assert!(with <= MEMORY_MAX, "{with} MB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_with_tls_are_cheap() {
    open_many();
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["app.test".to_owned()]).unwrap();
    let (cert, key) = (dir.path().join("a.crt"), dir.path().join("a.key"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (cert, key) = (cert.display().to_string(), key.display().to_string());
    let more = ["--idle-time", "3600", "--tls-cert", &cert, "--tls-key", &key];
    let tls = TlsConnector::from(Arc::new(config));
    let (before, with) = measure(dir.path(), &more, Some(tls)).await;
    println!("{CONNECTIONS} connections with TLS: {with:.0} MB, {before:.0} without any");
    assert!(with - before <= MEMORY_MAX, "{with} MB, {before} without any");
}
