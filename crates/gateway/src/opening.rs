//! The first bytes of a connection, which say whether it is HTTP/1.1 or HTTP/2.
//!
//! Until they are here no protocol is spoken whose own limits would end a connection that says
//! nothing: one is kept here.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// What an HTTP/2 connection begins with (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A client's connection, which says within a time what it is.
#[derive(Debug)]
pub struct Opening {
    stream: TcpStream,
    /// `None` once it is known what it is.
    until: Option<Pin<Box<Sleep>>>,
    /// How much of [`PREFACE`] has come.
    came: usize,
}

impl Opening {
    /// Of a connection that was just accepted.
    pub fn new(stream: TcpStream, time: Duration) -> Self {
        Self { stream, until: Some(Box::pin(sleep(time))), came: 0 }
    }

    fn more(&mut self, bytes: &[u8]) {
        let expected = &PREFACE[self.came..];
        self.came += bytes.len();
        if !expected.starts_with(bytes) || self.came == PREFACE.len() {
            self.until = None;
        }
    }
}

impl AsyncRead for Opening {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = to.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, to);
        let Some(until) = &mut self.until else { return read };
        if read.is_pending() {
            return until.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()));
        }
        let bytes = &to.filled()[before..];
        self.more(bytes);
        read
    }
}

impl AsyncWrite for Opening {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
