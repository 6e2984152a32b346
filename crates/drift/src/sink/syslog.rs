//! Syslog over datagrams, a stream or a socket of this machine.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use umbra_state::escape::escape;

use super::{Document, Sink, SinkError};
use crate::config::SyslogAddress;

const TIMEOUT: Duration = Duration::from_secs(5);

/// Sends messages to a syslog server.
///
/// A datagram that was sent has left this machine, and more is not known. On a stream messages
/// are counted by octets (RFC 6587, 3.4.1); a server that has closed it is seen to have, and the
/// message is sent over a new one.
#[derive(Debug)]
pub struct Syslog {
    address: SyslogAddress,
    stream: Mutex<Option<TcpStream>>,
}

impl Syslog {
    /// To the server at `address`.
    pub fn new(address: SyslogAddress) -> Self {
        Self { address, stream: Mutex::new(None) }
    }

    fn send(&self, message: &[u8]) -> io::Result<()> {
        match &self.address {
            SyslogAddress::Udp(host) => datagram(host, message),
            SyslogAddress::Tcp(host) => self.stream(host, message),
            SyslogAddress::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.set_write_timeout(Some(TIMEOUT))?;
                socket.send_to(message, path).map(drop)
            }
        }
    }

    fn stream(&self, host: &str, message: &[u8]) -> io::Result<()> {
        let mut frame = format!("{} ", message.len()).into_bytes();
        frame.extend_from_slice(message);
        let mut kept = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stream = match kept.take().filter(is_open) {
            Some(stream) => stream,
            None => connect(host)?,
        };
        stream.write_all(&frame)?;
        *kept = Some(stream);
        Ok(())
    }
}

/// Whether the server has not closed it: it never sends anything, so that there is nothing to
/// read but the end.
fn is_open(stream: &TcpStream) -> bool {
    let mut byte = [0];
    let open = stream.set_nonblocking(true).is_ok()
        && matches!(stream.peek(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
    open && stream.set_nonblocking(false).is_ok()
}

fn connect(host: &str) -> io::Result<TcpStream> {
    let stream = first(host, |address| TcpStream::connect_timeout(&address, TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

fn datagram(host: &str, message: &[u8]) -> io::Result<()> {
    first(host, |address| {
        let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any)?;
        socket.set_write_timeout(Some(TIMEOUT))?;
        // Connected, so that a refusal of what was sent before is told.
        socket.connect(address)?;
        socket.send(message).map(drop)
    })
}

/// The first of a host's addresses with which it goes well.
fn first<T>(host: &str, attempt: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in host.to_socket_addrs()?.take(8) {
        match attempt(address) {
            Ok(done) => return Ok(done),
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl Sink for Syslog {
    fn deliver(&self, document: &Document) -> Result<(), SinkError> {
        self.send(&document.body.0).map_err(|source| {
            let (SyslogAddress::Udp(to) | SyslogAddress::Tcp(to) | SyslogAddress::Unix(to)) =
                &self.address;
            SinkError::Unreachable { to: escape(to.as_bytes()).to_string(), source }
        })
    }
}
