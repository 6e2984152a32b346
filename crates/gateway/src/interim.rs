//! What a target says before its answer (103, Early Hints; RFC 8297), for clients in HTTP/1.1.
//!
//! The server library writes answers only. What comes before one is written between them: after
//! everything that was to be written is, and before anything else.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use hyper::{HeaderMap, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::headers::strip;

/// What waits to be written is no longer; hints beyond are dropped, which is what they are.
const BYTES_MAX: usize = 64 << 10;

/// Heads that wait to be written to one client.
#[derive(Debug, Clone, Default)]
pub struct Interim(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Whether there is something, so that mostly no lock is taken.
    some: AtomicBool,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// Whoever writes them.
    waker: Option<Waker>,
}

impl Interim {
    /// Whoever polls with this writes what comes from elsewhere.
    pub(crate) fn wake(&self, waker: &Waker) {
        self.lock().waker = Some(waker.clone());
    }

    /// A head to be written. Those that only speak of one connection are not passed on.
    pub(crate) fn push(&self, status: StatusCode, headers: &HeaderMap) {
        if matches!(status, StatusCode::CONTINUE | StatusCode::SWITCHING_PROTOCOLS) {
            return;
        }
        let mut headers = headers.clone();
        strip(&mut headers);
        let mut head = format!("HTTP/1.1 {status}\r\n").into_bytes();
        for (name, value) in &headers {
            head.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
        head.extend(b"\r\n");
        let mut waiting = self.lock();
        if waiting.bytes.len() + head.len() > BYTES_MAX {
            return;
        }
        waiting.bytes.extend(head);
        self.0.some.store(true, Ordering::Release);
        if let Some(waker) = waiting.waker.take() {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll_write_to(
        &self,
        mut stream: Pin<&mut (impl AsyncWrite + ?Sized)>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.0.some.load(Ordering::Acquire) {
            return Poll::Ready(Ok(()));
        }
        let mut waiting = self.lock();
        while !waiting.bytes.is_empty() {
            let written = ready!(stream.as_mut().poll_write(context, &waiting.bytes))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            waiting.bytes.drain(..written);
        }
        self.0.some.store(false, Ordering::Release);
        Poll::Ready(Ok(()))
    }
}

/// A client's connection, with what is written between answers.
#[derive(Debug)]
pub struct WithInterim<S> {
    stream: S,
    interim: Interim,
}

impl<S> WithInterim<S> {
    /// Writes to `stream` what waits in `interim`, too.
    pub fn new(stream: S, interim: Interim) -> Self {
        Self { stream, interim }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WithInterim<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, to)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WithInterim<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Self { stream, interim } = &mut *self;
        ready!(interim.poll_write_to(Pin::new(stream), context))?;
        Pin::new(stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { stream, interim } = &mut *self;
        ready!(interim.poll_write_to(Pin::new(stream), context))?;
        Pin::new(stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, interim } = &mut *self;
        ready!(interim.poll_write_to(Pin::new(stream), context))?;
        Pin::new(stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
