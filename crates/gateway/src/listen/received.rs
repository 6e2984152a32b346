//! A request's body as it comes from a client, who may neither send too much nor pause too long.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use super::counts::{Closed, Counts};
use super::pace::{Pace, UnderWay};

/// How far a request's body may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BodyLimits {
    pub(crate) bytes_max: Option<u64>,
    pub(crate) pause_max: Duration,
}

/// Why a body breaks off.
#[derive(Debug, thiserror::Error)]
pub enum BrokenBody {
    /// The connection, or who is at its other end.
    #[error("read a body")]
    Connection(#[source] hyper::Error),
    /// The gateway itself.
    #[error(transparent)]
    Exceeded(#[from] Exceeded),
}

/// Which of its limits a body did not keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Exceeded {
    /// The client sends nothing more.
    #[error("read a body: nothing came for too long")]
    Pause,
    /// There is more than may be.
    #[error("read a body: it is too long")]
    Bytes,
}

/// What became of a body, for whoever answers the request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fate(Arc<OnceLock<Exceeded>>);

/// A body on its way in.
#[derive(Debug)]
pub struct Received {
    body: Incoming,
    watched: Option<Box<Watched>>,
}

#[derive(Debug)]
struct Watched {
    left: u64,
    pause_max: Duration,
    /// When something came last.
    last: Instant,
    /// Set once something has to be waited for; it may end early.
    until: Option<Pin<Box<Sleep>>>,
    fate: Fate,
    counts: Arc<Counts>,
    ended: bool,
    /// Before it is let go nothing else is asked on an HTTP/1.1 connection.
    under_way: UnderWay,
}

impl Received {
    /// One without a body costs nothing.
    pub(crate) fn new(
        body: Incoming,
        limits: BodyLimits,
        counts: &Arc<Counts>,
        pace: &Arc<Pace>,
    ) -> (Self, Option<Fate>) {
        if body.is_end_stream() {
            return (Self { body, watched: None }, None);
        }
        let fate = Fate::default();
        let watched = Watched {
            left: limits.bytes_max.unwrap_or(u64::MAX),
            pause_max: limits.pause_max,
            last: Instant::now(),
            until: None,
            fate: fate.clone(),
            counts: Arc::clone(counts),
            ended: false,
            under_way: UnderWay::new(pace),
        };
        (Self { body, watched: Some(Box::new(watched)) }, Some(fate))
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = BrokenBody;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenBody>>> {
        let Self { body, watched } = self.get_mut();
        let frame = Pin::new(&mut *body).poll_frame(context);
        let broken = match watched {
            Some(watched) => {
                watched.ended |= body.is_end_stream() || matches!(frame, Poll::Ready(None));
                watched.look(&frame, context)
            }
            None => None,
        };
        match broken {
            Some(broken) => Poll::Ready(Some(Err(broken))),
            None => frame.map(|frame| frame.map(|frame| frame.map_err(BrokenBody::Connection))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Watched {
    fn look<E>(
        &mut self,
        frame: &Poll<Option<Result<Frame<Bytes>, E>>>,
        context: &mut Context<'_>,
    ) -> Option<BrokenBody> {
        match frame {
            Poll::Ready(Some(Ok(frame))) => {
                self.last = Instant::now();
                let length = frame.data_ref().map_or(0, Bytes::len) as u64;
                match self.left.checked_sub(length) {
                    Some(left) => self.left = left,
                    None => return Some(self.breaks(Exceeded::Bytes)),
                }
                None
            }
            Poll::Ready(_) => None,
            Poll::Pending => self.wait(context),
        }
    }

    fn wait(&mut self, context: &mut Context<'_>) -> Option<BrokenBody> {
        let end = self.last + self.pause_max;
        let until = self.until.get_or_insert_with(|| Box::pin(sleep_until(end)));
        while until.as_mut().poll(context).is_ready() {
            if end <= Instant::now() {
                return Some(self.breaks(Exceeded::Pause));
            }
            until.as_mut().reset(end);
        }
        None
    }

    fn breaks(&self, exceeded: Exceeded) -> BrokenBody {
        // It breaks once.
        let _ = self.fate.0.set(exceeded);
        self.counts.closed(match exceeded {
            Exceeded::Pause => Closed::SlowBody,
            Exceeded::Bytes => Closed::LongBody,
        });
        exceeded.into()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !self.ended {
            // What else comes of it is no request: the connection can only end.
            self.under_way.is_last();
        }
    }
}

impl Fate {
    /// Whether, and why, the gateway itself broke it off.
    pub(crate) fn broken(&self) -> Option<Exceeded> {
        self.0.get().copied()
    }
}
