//! A server that is told of alerts.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

/// Longer than any delivery takes, so that a test that hangs ends.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was posted.
pub(crate) struct Posted {
    pub(crate) head: String,
    pub(crate) body: Value,
}

impl Posted {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Answers every request with one status, and hands out what was posted.
pub(crate) struct Hook {
    pub(crate) url: String,
    posted: Receiver<Posted>,
}

impl Hook {
    pub(crate) fn answering(status: u16) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), status)
    }

    pub(crate) fn at(address: SocketAddr, status: u16) -> Self {
        let listener = TcpListener::bind(address).expect("a port");
        let url = url(&listener);
        let (sender, posted) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let answer = serve(stream.unwrap(), status);
                if answer.is_some_and(|posted| sender.send(posted).is_err()) {
                    return;
                }
            }
        });
        Self { url, posted }
    }

    /// The next one.
    pub(crate) fn next(&self) -> Posted {
        self.posted.recv_timeout(PATIENCE).expect("something is posted")
    }

    /// Whether nothing more was posted until now.
    pub(crate) fn is_quiet(&self) -> bool {
        self.posted.try_recv().is_err()
    }
}

/// A server that takes what is said and says nothing.
pub(crate) struct Deaf {
    pub(crate) url: String,
    listener: TcpListener,
}

impl Deaf {
    pub(crate) fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        Self { url: url(&listener), listener }
    }

    /// Somebody began to speak.
    pub(crate) fn spoken_to(&self) -> TcpStream {
        self.listener.accept().expect("a connection").0
    }
}

/// An address at which nobody listens, for now.
pub(crate) fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address")
}

fn url(listener: &TcpListener) -> String {
    format!("http://{}/hook", listener.local_addr().expect("its address"))
}

fn serve(mut stream: TcpStream, status: u16) -> Option<Posted> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length?.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    let body = serde_json::from_slice(&body).expect("JSON");
    write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").ok()?;
    Some(Posted { head, body })
}
