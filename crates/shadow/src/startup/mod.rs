//! Starts what is to run in a view before anybody looks, services or the image's own systemd
//! first, and waits until it is ready.

mod boot;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use serde::{Deserialize, Serialize};
use umbra_state::Command;
use umbra_state::escape::escape_output;

use crate::error::ShadowError;
use crate::provider::{Init, Running, Shadow};

/// How often a service is asked whether it is ready.
const ASK_EVERY: Duration = Duration::from_millis(5);

/// How much of a service's output goes with its failure.
const LOG_BYTES: u64 = 2000;

/// What is to run in a view before anybody looks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Startup {
    /// The first process the view was made with.
    pub init: Init,
    /// Whether the image is complete, so that what it still lacks is a fault.
    pub complete: bool,
    /// Services, in their order.
    pub services: Vec<Service>,
}

/// A program that runs in a shadow while tests look at it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// The command; it stays in the foreground.
    pub command: Command,
    /// How to see that it can be used; as soon as it runs if `None`.
    pub ready: Option<Ready>,
    /// How long it may take to be ready.
    pub timeout: Duration,
}

/// How to see that a [`Service`] can be used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ready {
    /// A TCP port of the shadow accepts connections.
    Port(u16),
    /// `http://host:port/path`, the host always being the shadow, answers with a success.
    Http(String),
    /// A command in the shadow succeeds.
    Command(Command),
    /// A path exists in the shadow.
    File(String),
}

/// Why what is to run does not.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The shadow failed.
    #[error("use a shadow")]
    Shadow(#[from] ShadowError),
    /// A service did not become ready.
    #[error("start service {service}: {reason}")]
    Service {
        /// Which.
        service: String,
        /// What happened.
        reason: String,
        /// The end of its output, escaped.
        log: String,
    },
}

/// Waits for the image's own systemd, where that is wanted, and starts services one after the
/// other, each once the one before is ready. They run until what is returned is dropped.
///
/// # Errors
/// One of them is not ready in its time, or the shadow failed.
pub fn start(shadow: &dyn Shadow, startup: &Startup) -> Result<Vec<Box<dyn Running>>, StartError> {
    await_system(shadow, startup)?;
    startup.services.iter().map(|service| start_service(shadow, service)).collect()
}

/// Waits for the image's own systemd, where that is wanted.
///
/// # Errors
/// It is not up in its time, or the shadow failed.
pub fn await_system(shadow: &dyn Shadow, startup: &Startup) -> Result<(), StartError> {
    match startup.init {
        Init::Small => Ok(()),
        Init::Systemd => boot::wait(shadow, startup.complete),
    }
}

/// Starts one service and returns once it is ready; see [`start`].
///
/// # Errors
/// It is not ready in its time, or the shadow failed.
pub fn start_service(
    shadow: &dyn Shadow,
    service: &Service,
) -> Result<Box<dyn Running>, StartError> {
    let running = shadow.start(&service.command)?;
    let Some(ready) = &service.ready else { return Ok(running) };
    let deadline = Instant::now() + service.timeout;
    loop {
        if is_ready(shadow, service, ready)? {
            return Ok(running);
        }
        let reason = match running.ended() {
            Some(exit) => format!("it ended with {exit}"),
            None if Instant::now() >= deadline => {
                format!("it was not ready after {:?}", service.timeout)
            }
            // Nothing announces that a foreign program is ready: it has to be asked.
            None => {
                std::thread::sleep(ASK_EVERY);
                continue;
            }
        };
        let log = escape_output(running.log_tail(LOG_BYTES).trim_ascii_end()).to_string();
        return Err(StartError::Service { service: service.name.clone(), reason, log });
    }
}

fn is_ready(shadow: &dyn Shadow, service: &Service, ready: &Ready) -> Result<bool, StartError> {
    match ready {
        Ready::Port(port) => Ok(connect(shadow, *port).is_some()),
        Ready::Http(url) => Ok(answers(shadow, url)),
        Ready::Command(command) => {
            let command = command.clone().with_timeout(service.timeout);
            Ok(shadow.run(&command)?.exit.success())
        }
        Ready::File(path) => {
            let root = shadow.root()?;
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            let resolve = ResolveFlags::IN_ROOT;
            Ok(openat2(&root, path.as_str(), flags, Mode::empty(), resolve).is_ok())
        }
    }
}

/// Connects to a port on the shadow's loopback, as its own programs do, and where nothing
/// listens there, on its address.
fn connect(shadow: &dyn Shadow, port: u16) -> Option<TcpStream> {
    let wait = Duration::from_millis(200);
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    shadow.connect(loopback, wait).ok().or_else(|| {
        let outside = SocketAddr::new(shadow.address()?, port);
        shadow.connect(outside, wait).ok()
    })
}

/// Whether `http://host:port/path` answers with a success; the host is always the shadow.
fn answers(shadow: &dyn Shadow, url: &str) -> bool {
    let rest = url.trim_start_matches("http://");
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let port = host.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(80);
    let Some(stream) = connect(shadow, port) else { return false };
    let request = format!("GET /{path} HTTP/1.0\r\nHost: {host}\r\n\r\n");
    succeeds(stream, &request)
}

/// "HTTP/1.x 2.." is all that matters of the answer.
fn succeeds(mut stream: TcpStream, request: &str) -> bool {
    let mut answer = [0u8; 12];
    let asked = stream
        .set_read_timeout(Some(Duration::from_secs(2)))
        .and_then(|()| stream.write_all(request.as_bytes()))
        .and_then(|()| stream.read_exact(&mut answer));
    asked.is_ok() && answer.starts_with(b"HTTP/1.") && answer[9] == b'2'
}
