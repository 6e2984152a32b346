//! Proxies and servers as processes of their own, each on one processor.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use umbra_api::client::Client;
use umbra_gateway::control::{MirrorStatus, StartMirror};

use crate::process::{Outcome, cpu, end};

/// Load and servers run on one processor, what is measured on another.
pub(crate) const LOAD_CPU: &str = "0";
pub(crate) const PROXY_CPU: &str = "1";

/// A process with its children, ended when it is dropped.
pub(crate) struct Peer {
    pub(crate) process: Child,
    pub(crate) port: u16,
}

impl Peer {
    fn start(cpu: &str, port: u16, program: &str, arguments: &[&str]) -> Outcome<Self> {
        let process = Command::new("taskset")
            .args(["-c", cpu, program])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let peer = Self { process, port };
        let until = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if Instant::now() > until {
                return Err(format!("{program} does not listen").into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(peer)
    }

    /// Processor time of it and its children so far.
    pub(crate) fn cpu(&self) -> Outcome<Duration> {
        let mut all = vec![self.process.id()];
        let mut next = 0;
        while let Some(pid) = all.get(next) {
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
            all.extend(children.unwrap_or_default().split_whitespace().flat_map(str::parse::<u32>));
            next += 1;
        }
        all.into_iter().map(cpu).sum::<Outcome<Duration>>()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        end(&mut self.process);
    }
}

/// A port nobody listens at.
fn port() -> Outcome<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// An nginx with this in its `http`, on one processor.
fn nginx(dir: &Path, cpu: &str, port: u16, http: &str) -> Outcome<Peer> {
    let dir = dir.join(port.to_string());
    fs::create_dir(&dir)?;
    let text = format!(
        "daemon off; worker_processes 1; pid {0}/pid; error_log {0}/error;\n\
         events {{ worker_connections 8192; }}\n\
         http {{ access_log off; keepalive_requests 1000000000; client_body_temp_path {0}/body;\n\
         proxy_temp_path {0}/proxy; fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u;\n\
         scgi_temp_path {0}/s; {http} }}\n",
        dir.display()
    );
    let file = dir.join("nginx.conf");
    fs::write(&file, text)?;
    Peer::start(cpu, port, "nginx", &["-c", &file.display().to_string()])
}

/// A server that answers with what was asked for and a kilobyte.
pub(crate) fn server(dir: &Path) -> Outcome<Peer> {
    let (port, body) = (port()?, "x".repeat(1024));
    let http = format!(
        "server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ return 200 \"$uri {body}\"; }} }}"
    );
    nginx(dir, LOAD_CPU, port, &http)
}

/// nginx as a proxy, mirroring everything if there is a shadow.
pub(crate) fn nginx_proxy(dir: &Path, to: u16, shadow: Option<u16>) -> Outcome<Peer> {
    nginx_speaking(dir, "", to, shadow)
}

/// nginx as a proxy for clients that speak HTTP/2.
pub(crate) fn nginx_http2(dir: &Path, to: u16) -> Outcome<Peer> {
    nginx_speaking(dir, "http2", to, None)
}

fn nginx_speaking(dir: &Path, http2: &str, to: u16, shadow: Option<u16>) -> Outcome<Peer> {
    let port = port()?;
    let kept = "proxy_http_version 1.1; proxy_set_header Connection \"\";";
    let upstream = |name: &str, port: u16| {
        format!(
            "upstream {name} {{ server 127.0.0.1:{port}; keepalive 64; \
             keepalive_requests 1000000000; }}"
        )
    };
    let (mirror, place, shadow) = match shadow {
        Some(shadow) => (
            "mirror /mirror;",
            format!("location = /mirror {{ internal; {kept} proxy_pass http://s$request_uri; }}"),
            upstream("s", shadow),
        ),
        None => ("", String::new(), String::new()),
    };
    let http = format!(
        "{} {shadow} server {{ listen 127.0.0.1:{port} {http2} backlog=4096; \
         location / {{ {mirror} {kept} proxy_pass http://p; }} {place} }}",
        upstream("p", to)
    );
    nginx(dir, PROXY_CPU, port, &http)
}

/// HAProxy as a proxy.
pub(crate) fn haproxy(dir: &Path, to: u16) -> Outcome<Peer> {
    let port = port()?;
    let text = format!(
        "global\n nbthread 1\ndefaults\n mode http\n timeout connect 5s\n timeout client 60s\n \
         timeout server 60s\nfrontend f\n bind 127.0.0.1:{port}\n default_backend b\nbackend b\n \
         http-reuse always\n server s 127.0.0.1:{to}\n"
    );
    let file = dir.join(format!("haproxy-{port}"));
    fs::write(&file, text)?;
    Peer::start(PROXY_CPU, port, "haproxy", &["-db", "-f", &file.display().to_string()])
}

/// Our own, mirroring everything if there is a shadow.
pub(crate) fn umbra(dir: &Path, to: u16, shadow: Option<u16>) -> Outcome<Peer> {
    let (peer, control) = gateway(dir, to)?;
    if let Some(shadow) = shadow {
        mirror(&control, &format!("127.0.0.1:{shadow}"), None)?;
    }
    Ok(peer)
}

/// Our own, and the socket it is told at.
pub(crate) fn gateway(dir: &Path, to: u16) -> Outcome<(Peer, Client)> {
    let port = port()?;
    let program = env!("CARGO_BIN_EXE_umbra");
    let socket = dir.join(format!("umbra-{port}"));
    let (listen, primary) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{to}"));
    let control = socket.display().to_string();
    let mut words = vec!["gateway", "--threads", "1", "--listen", &listen];
    words.extend(["--primary", &primary, "--gateway", &control]);
    Ok((Peer::start(PROXY_CPU, port, program, &words)?, Client::new(socket)))
}

/// Has a gateway mirror everything there.
pub(crate) fn mirror(gateway: &Client, to: &str, timeout_ms: Option<u64>) -> Outcome {
    let mirror = StartMirror {
        to: to.to_owned(),
        percent: "100".to_owned(),
        body_bytes_max: Some(u64::MAX),
        timeout_ms,
        ..StartMirror::default()
    };
    let _: MirrorStatus = gateway.post("/v1/mirrors/bench", &mirror)?;
    Ok(())
}

/// A shadow that takes connections and never answers. It ends with the process.
pub(crate) fn hung() -> Outcome<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || listener.incoming().collect::<Vec<_>>());
    Ok(port)
}
