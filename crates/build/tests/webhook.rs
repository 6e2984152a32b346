//! Notices over https, from a real build: only a server that proves its name to an authority
//! this machine trusts gets one. The binary is its own launcher.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::thread::JoinHandle;

use libtest_mimic::Arguments;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};
use umbra_api::build::Event;

use support::{Bench, named, trial};

/// How a person names further authorities, and how this test does.
const TRUST: &str = "SSL_CERT_FILE";

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("launcher") {
        return ExitCode::from(umbra_shadow::sandbox::launcher::main() as u8);
    }
    // The environment is a process's own, so the test begins as another one.
    let trusted = trusted();
    if std::env::var_os(TRUST).is_none_or(|file| file != trusted) {
        let own = std::env::current_exe().expect("own path");
        let error = Command::new(own).args(std::env::args_os().skip(1)).env(TRUST, trusted).exec();
        panic!("cannot start again: {error}");
    }
    let trials = vec![trial("a_webhook_must_prove_its_name", a_webhook_must_prove_its_name)];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn trusted() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("webhook-authority.pem")
}

fn a_webhook_must_prove_its_name(bench: &Bench) {
    let (ours, strange, impostor) = (authority("ours"), authority("strange"), authority("ours"));
    std::fs::write(trusted(), ours.pem()).expect("written");
    let good = Server::start(&ours, "localhost");
    let misnamed = Server::start(&ours, "elsewhere.example");
    let unknown = Server::start(&strange, "localhost");
    let forged = Server::start(&impostor, "localhost");
    let recipe = format!(
        "
version: 1
name: told
from: {{dir: root}}
steps: [{{name: one, write: {{path: /one, content: one}}}}]
notify: [{{webhook: {}}}, {{webhook: {}}}, {{webhook: {}}}, {{webhook: {}}}]
",
        good.url, misnamed.url, unknown.url, forged.url
    );
    let run = bench.build(&recipe);
    let document = good.received().expect("the notice");
    assert!(document.contains("\"image\":\"told\""), "{document}");
    for refused in [misnamed, unknown, forged] {
        assert_eq!(refused.received(), None);
    }
    let warnings: Vec<_> = run
        .events
        .iter()
        .filter_map(|event| named!(event, Event::Warning { message } => message))
        .collect();
    let reasons = ["not valid for name \"localhost\"", "UnknownIssuer", "BadSignature"];
    assert_eq!(warnings.len(), reasons.len(), "{warnings:?}");
    for (warning, reason) in warnings.into_iter().zip(reasons) {
        assert!(warning.contains(reason), "{warning}");
    }
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    CertifiedIssuer::self_signed(params, key).expect("a certificate")
}

/// Answers one request over TLS.
struct Server {
    url: String,
    thread: JoinHandle<std::io::Result<String>>,
}

impl Server {
    fn start(authority: &CertifiedIssuer<'_, KeyPair>, name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new([name.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, authority).expect("a certificate");
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a configuration");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let thread = std::thread::spawn(move || serve(&listener, Arc::new(config)));
        Self { url: format!("https://localhost:{port}/hook"), thread }
    }

    /// What was posted, if anything was.
    fn received(self) -> Option<String> {
        self.thread.join().expect("the server").ok()
    }
}

fn serve(listener: &TcpListener, config: Arc<ServerConfig>) -> std::io::Result<String> {
    let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut reader = BufReader::new(StreamOwned::new(connection, listener.accept()?.0));
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.and_then(|length| length.parse().ok()).unwrap_or_default()];
    reader.read_exact(&mut body)?;
    reader.get_mut().write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")?;
    String::from_utf8(body).map_err(std::io::Error::other)
}
