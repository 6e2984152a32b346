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
use tokio::io::AsyncWrite;

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

    /// Writes what waits. Until that is done nothing else may be written to `stream`.
    pub(crate) fn poll_write_to(
        &self,
        mut stream: Pin<&mut impl AsyncWrite>,
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

#[cfg(test)]
mod tests {
    use hyper::header::{CONNECTION, HeaderValue, LINK};

    use super::*;

    async fn written(interim: &Interim) -> String {
        let mut stream = std::io::Cursor::new(Vec::new());
        let write =
            std::future::poll_fn(|context| interim.poll_write_to(Pin::new(&mut stream), context));
        write.await.expect("written");
        String::from_utf8(stream.into_inner()).expect("text")
    }

    #[tokio::test]
    async fn hints_are_written_once_and_are_of_the_answer_only() {
        let interim = Interim::default();
        let mut headers = HeaderMap::new();
        headers.insert(LINK, HeaderValue::from_static("</a.css>; rel=preload"));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        for status in [StatusCode::CONTINUE, StatusCode::EARLY_HINTS, StatusCode::PROCESSING] {
            interim.push(status, &headers);
        }
        let expected = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n\
                        HTTP/1.1 102 Processing\r\nlink: </a.css>; rel=preload\r\n\r\n";
        assert_eq!(written(&interim).await, expected);
        assert_eq!(written(&interim).await, "");
    }

    #[tokio::test]
    async fn what_waits_is_bounded() {
        let interim = Interim::default();
        for _ in 0..10_000 {
            interim.push(StatusCode::EARLY_HINTS, &HeaderMap::new());
        }
        assert!(written(&interim).await.len() <= BYTES_MAX);
    }
}
