//! What targets speak.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Request, StatusCode};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Barrier;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use umbra_gateway::gateway::Limits;
use umbra_gateway::upstream::Trust;

use crate::ask::{Answer, get, send};
use crate::server::{Server, with_trailers};
use crate::support::{all_to, gateway_with, listen};

/// A gateway in front of what `target` says.
async fn in_front(target: &str, trust: &Trust) -> SocketAddr {
    gateway_with(all_to(target), trust, Limits::default(), |front| front).await.0
}

async fn post_with_trailers(at: SocketAddr, http2: bool) -> Answer {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("7"));
    let request = Request::post(format!("http://{at}/"))
        .header("te", "trailers")
        .header("trailer", "x-sum")
        .body(with_trailers("body", trailers));
    send(request.expect("a request"), http2).await
}

#[tokio::test]
async fn trailers_pass_in_every_protocol() {
    let server = Server::new("it", None).await;
    for (target, version) in [("", "HTTP/1.1"), ("h2c://", "HTTP/2.0")] {
        let at = in_front(&format!("{target}{}", server.at), &Trust::default()).await;
        for http2 in [false, true] {
            let answer = post_with_trailers(at, http2).await;
            assert_eq!(answer.text, format!("it {version} {at} body"), "client {http2}");
            let trailers = answer.trailers.expect("trailers");
            assert_eq!(trailers["x-sum"], "7", "client {http2}, target {version}");
        }
    }
}

/// A target may close a connection at any time between two requests, and without saying so.
#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_is_not_asked() {
    let (primary, listener) = listen().await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // What is asked fits into one read, and whoever asks reads this.
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        }
    });
    let at = in_front(&primary.to_string(), &Trust::default()).await;
    for _ in 0..50 {
        let answer = get(at, "/", &[]).await;
        assert_eq!((answer.status, answer.text.as_str()), (StatusCode::OK, "ok"));
    }
}

/// Whoever breaks connections by what it asks for does so twice at most, however many are kept.
#[tokio::test]
async fn a_request_that_breaks_its_connection_is_asked_once_more_and_no_more() {
    let (primary, listener) = listen().await;
    let broken = Arc::new(AtomicUsize::new(0));
    let all_there = Arc::new(Barrier::new(KEPT));
    let count = Arc::clone(&broken);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer_or_break(stream, Arc::clone(&all_there), Arc::clone(&count)));
        }
    });
    let at = in_front(&primary.to_string(), &Trust::default()).await;
    let asked = (0..KEPT).map(|_| tokio::spawn(async move { get(at, "/", &[]).await.status }));
    for status in asked.collect::<Vec<_>>() {
        assert_eq!(status.await.expect("answered"), StatusCode::OK);
    }
    let answer = get(at, "/break", &[]).await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{answer:?}");
    assert_eq!(broken.load(Ordering::SeqCst), 2);
}

const KEPT: usize = 4;

/// Answers once all are there, so that each has a connection of its own; or closes.
async fn answer_or_break(mut stream: TcpStream, all: Arc<Barrier>, broken: Arc<AtomicUsize>) {
    let mut bytes = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut bytes).await {
        if bytes[..read].starts_with(b"GET /break ") {
            broken.fetch_add(1, Ordering::SeqCst);
            return;
        }
        all.wait().await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    }
}

/// An authority, and what a server for `name` that it vouches for does TLS with.
fn certificates(name: &str, protocols: &[&[u8]]) -> (Vec<u8>, TlsAcceptor) {
    let authority_key = KeyPair::generate().expect("a key");
    let mut authority = CertificateParams::new(Vec::new()).expect("parameters");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = authority.self_signed(&authority_key).expect("a certificate");
    let key = KeyPair::generate().expect("a key");
    let server = CertificateParams::new([name.to_owned()]).expect("parameters");
    let issuer = Issuer::new(authority, authority_key);
    let certificate = server.signed_by(&key, &issuer).expect("a certificate");
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("a configuration");
    config.alpn_protocols = protocols.iter().map(|one| one.to_vec()).collect();
    (root.pem().into_bytes(), TlsAcceptor::from(Arc::new(config)))
}

#[tokio::test]
async fn a_target_that_speaks_tls_proves_who_it_is_and_chooses_the_protocol() {
    for (protocols, version) in [
        (&[&b"h2"[..], b"http/1.1"][..], "HTTP/2.0"),
        (&[b"http/1.1"], "HTTP/1.1"),
        (&[], "HTTP/1.1"),
    ] {
        let (root, tls) = certificates("shop.example", protocols);
        let server = Server::new("it", Some(tls)).await;
        let name = Some("shop.example".to_owned());
        let target = format!("https://{}", server.at);
        let trust = Trust { authorities: Some(root.clone()), insecure: false, name };
        let at = in_front(&target, &trust).await;
        for _ in 0..2 {
            assert_eq!(get(at, "/", &[]).await.text, format!("it {version} {at} "));
        }
        // Its certificate is for no such address, and by nobody this machine knows.
        for trust in [Trust { authorities: Some(root), ..Trust::default() }, Trust::default()] {
            let at = in_front(&target, &trust).await;
            assert_eq!(get(at, "/", &[]).await.status, StatusCode::BAD_GATEWAY);
        }
        let insecure = Trust { insecure: true, ..Trust::default() };
        let at = in_front(&target, &insecure).await;
        assert_eq!(get(at, "/", &[]).await.status, StatusCode::OK);
    }
}
