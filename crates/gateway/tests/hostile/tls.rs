//! TLS as clients should not speak it, and floods inside of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use umbra_gateway::gateway::Limits;
use umbra_gateway::listen::tls::{Sources, Tls};

use crate::frames::{
    Came, END_HEADERS, END_STREAM, GO_AWAY, HEADERS, endless_head, frame, get, taken_back,
    talk_over,
};
use crate::place::{Place, closed_after, ok};

struct Secured {
    place: Place,
    root: CertificateDer<'static>,
    _files: tempfile::TempDir,
}

impl Secured {
    async fn new(limits: Limits) -> Self {
        let made = rcgen::generate_simple_self_signed(["app.test".to_owned()]).expect("made");
        let files = tempfile::tempdir().expect("a directory");
        let (cert, key) = (files.path().join("a.crt"), files.path().join("a.key"));
        std::fs::write(&cert, made.cert.pem()).expect("written");
        std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
        let tls = Tls::load(Sources { pairs: vec![(cert, key)], dir: None }).expect("TLS");
        let place = Place::with(limits, ok, |front| front.with_tls(Arc::new(tls))).await;
        Self { place, root: made.cert.der().clone(), _files: files }
    }

    async fn connect(&self, protocol: &[u8]) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).expect("a root");
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions");
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        let stream = TcpStream::connect(self.place.at).await.expect("a connection");
        let name = ServerName::try_from("app.test").expect("a name");
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("TLS")
    }

    async fn still_serves(&self) {
        let mut stream = self.connect(b"http/1.1").await;
        let sent = b"GET /still HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        stream.write_all(sent).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let got = self.place.got().pop().expect("a request").expect("one reading");
        assert_eq!(got.header("x-forwarded-proto"), Some("https"));
    }
}

/// The connection ends without a word of HTTP.
async fn refused(secured: &Secured, sent: &[u8]) {
    let came = closed_after(secured.place.at, sent).await;
    assert!(!came.starts_with(b"HTTP"), "{sent:?}");
}

#[tokio::test]
async fn what_is_no_handshake_ends_and_is_counted() {
    let limits = Limits { head_time: Duration::from_millis(300), ..Limits::default() };
    let secured = Secured::new(limits).await;
    // Without TLS; nothing; the beginning of a hello; SSL 2.
    for sent in [
        &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        b"\x80\x2e\x01\0\x02",
    ] {
        refused(&secured, sent).await;
    }
    assert_eq!(secured.place.closed("handshake"), 4);
    secured.still_serves().await;
}

#[tokio::test]
async fn a_protocol_is_the_one_that_was_agreed_on() {
    let secured = Secured::new(Limits::default()).await;
    let sent = frame(HEADERS, END_STREAM | END_HEADERS, 1, &get(&[]));
    let answered = |came: &Came| came.kind == HEADERS;
    let came = talk_over(secured.connect(b"h2").await, sent.clone(), answered).await;
    assert!(came.iter().any(answered));
    secured.place.got();
    talk_over(secured.connect(b"http/1.1").await, sent, |_| false).await;
    assert!(secured.place.got().is_empty(), "HTTP/2 where HTTP/1.1 was agreed on");
    secured.still_serves().await;
}

/// The connection ends; production got no more than so many requests.
async fn ends(sent: Vec<u8>, asked_max: usize) {
    let secured = Secured::new(Limits::default()).await;
    talk_over(secured.connect(b"h2").await, sent, |came| came.kind == GO_AWAY).await;
    let got = secured.place.got().len();
    assert!(got <= asked_max, "{got} requests");
    secured.still_serves().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_end_over_tls_too() {
    ends(taken_back(), 1_000).await;
    ends(endless_head(), 0).await;
}
