//! A recipe's services in a shadow that a person or a test enters.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use umbra_api::error::{ErrorCode, WireError};
use umbra_recipe::{CommandLine, Ready, Service};
use umbra_shadow::provider::Running;
use umbra_shadow::{Shadow, ShadowError};
use umbra_state::Command;
use umbra_state::escape::escape_output;

/// How often a service is asked whether it is ready: nothing announces it.
const ASK_EVERY: Duration = Duration::from_millis(10);
const ANSWER_WAIT: Duration = Duration::from_secs(2);
const LOG_BYTES_MAX: u64 = 2000;

/// Starts services one after the other, each once the one before is ready. They run until
/// what is returned is dropped.
pub fn start<'a>(
    shadow: &dyn Shadow,
    services: impl IntoIterator<Item = &'a Service>,
) -> Result<Vec<Box<dyn Running>>, WireError> {
    services.into_iter().map(|service| start_one(shadow, service)).collect()
}

fn start_one(shadow: &dyn Shadow, service: &Service) -> Result<Box<dyn Running>, WireError> {
    let failed = |error: &ShadowError| {
        let message = format!("start service {:?}", service.name);
        WireError::new(ErrorCode::Environment, message).caused_by(error)
    };
    let running = shadow.start(&command(&service.run, service)).map_err(|error| failed(&error))?;
    let Some(ready) = &service.ready else { return Ok(running) };
    let deadline = Instant::now() + service.timeout;
    while !is_ready(shadow, service, ready).map_err(|error| failed(&error))? {
        let why = match running.ended() {
            Some(exit) => format!("it ended: {exit}"),
            None if Instant::now() >= deadline => {
                format!("it is not ready after {} s", service.timeout.as_secs_f32())
            }
            None => {
                std::thread::sleep(ASK_EVERY);
                continue;
            }
        };
        let message = format!("start service {:?}: {why}", service.name);
        let log = running.log_tail(LOG_BYTES_MAX);
        let said = escape_output(log.trim_ascii_end()).to_string();
        return Err(WireError::new(ErrorCode::Environment, message).caused_by(said));
    }
    Ok(running)
}

fn command(line: &CommandLine, service: &Service) -> Command {
    umbra_recipe::command(line, &service.env, service.user.as_deref(), service.workdir.as_deref())
}

fn is_ready(shadow: &dyn Shadow, service: &Service, ready: &Ready) -> Result<bool, ShadowError> {
    match ready {
        Ready::Port(port) => Ok(listens(shadow, *port)),
        Ready::Http(url) => Ok(shadow.address().is_some_and(|address| answers(address, url))),
        Ready::Command(line) => {
            let command = command(line, service).with_timeout(service.timeout);
            Ok(shadow.run(&command)?.exit.success())
        }
        Ready::File(path) => {
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            let root = shadow.root()?;
            Ok(openat2(root, path.as_str(), flags, Mode::empty(), ResolveFlags::IN_ROOT).is_ok())
        }
    }
}

/// From outside, or, for what listens on loopback only, by the shadow's own list of sockets.
fn listens(shadow: &dyn Shadow, port: u16) -> bool {
    if shadow.address().is_some_and(|address| connect(address, port).is_some()) {
        return true;
    }
    let list = Command::new(["/bin/cat", "/proc/net/tcp", "/proc/net/tcp6"]);
    shadow
        .run(&list.with_timeout(ANSWER_WAIT))
        .is_ok_and(|output| is_listed(&String::from_utf8_lossy(&output.stdout), port))
}

fn connect(address: IpAddr, port: u16) -> Option<TcpStream> {
    TcpStream::connect_timeout(&SocketAddr::new(address, port), Duration::from_millis(200)).ok()
}

/// Whether a listening socket (state 0A) has this port, in the form of `/proc/net/tcp`.
fn is_listed(table: &str, port: u16) -> bool {
    let wanted = format!(":{port:04X}");
    table.lines().any(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().take(4).collect();
        matches!(fields.as_slice(), [_, local, _, "0A"] if local.ends_with(&wanted))
    })
}

/// Whether `http://ANY[:PORT]/PATH` answers with a status below 400; the host is the shadow.
fn answers(address: IpAddr, url: &str) -> bool {
    let rest = url.strip_prefix("http://").unwrap_or(url);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let port = host.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(80);
    let Some(mut stream) = connect(address, port) else { return false };
    let request = format!("GET /{path} HTTP/1.0\r\nHost: {host}\r\n\r\n");
    let mut status = [0u8; 12];
    let asked = stream
        .set_read_timeout(Some(ANSWER_WAIT))
        .and_then(|()| stream.write_all(request.as_bytes()))
        .and_then(|()| stream.read_exact(&mut status));
    asked.is_ok() && status.starts_with(b"HTTP/1.") && matches!(status[9], b'1'..=b'3')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listening_sockets_count() {
        let table = "  sl  local_address rem_address   st tx_queue\n\
                     0: 0100007F:1F90 00000000:0000 0A 00000000\n\
                     1: 0100007F:0050 0100007F:1F91 01 00000000\n";
        assert!(is_listed(table, 8080));
        assert!(!is_listed(table, 80) && !is_listed(table, 8081));
    }
}
