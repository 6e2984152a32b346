//! HTTP/1.1 to a target, driven by who asks.
//!
//! A connection is no task of its own: whoever waits for an answer polls it, so that a request
//! and its answer pass from one socket to the other without waking anybody else. Only where a
//! request's body may still be on its way when the answer begins, or the protocol changes, is the
//! connection given a task, since nobody may be waiting for it then.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use super::Sent;
use super::kept::Kept;
use crate::listen::proxy_header::Ends;
use crate::stream::Stream;

/// What was read and not passed on yet, an answer's head included. It grows with what comes: there
/// can be a thousand of them.
const BUFFER_BYTES_MAX: usize = 128 << 10;

/// A connection on which one request at a time is asked.
pub(super) struct Driven<B: Sent> {
    sender: SendRequest<B>,
    connection: Connection<TokioIo<Stream>, B>,
    /// Where it waits while nobody asks.
    home: Weak<Kept<B>>,
    /// Whose it is, if it was said to be somebody's.
    whose: Option<Ends>,
}

/// How an answer reaches who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The connection is polled with the answer.
    Polled,
    /// The connection has a task until both are at their end.
    Tasked,
    /// The connection has a task, and may become one of another protocol.
    Upgraded,
}

impl<B: Sent> Driven<B> {
    /// A connection that was just made.
    pub(super) async fn new(
        stream: Stream,
        home: &Arc<Kept<B>>,
        whose: Option<Ends>,
    ) -> hyper::Result<Box<Self>> {
        let mut builder = Builder::new();
        builder.max_buf_size(BUFFER_BYTES_MAX);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        Ok(Box::new(Self { sender, connection, home: Arc::downgrade(home), whose }))
    }

    /// Whether it is for requests of `whose`.
    pub(super) fn is_of(&self, whose: Option<Ends>) -> bool {
        self.whose == whose
    }

    /// Waits for the next request.
    fn go_home(self: Box<Self>) {
        if let Some(home) = self.home.upgrade() {
            home.put(self);
        }
    }

    /// Whether it can be asked: its end may have closed it, or said what nobody asked for.
    pub(super) fn is_open(&mut self, context: &mut Context<'_>) -> bool {
        Pin::new(&mut self.connection).poll(context).is_pending() && self.sender.is_ready()
    }

    /// Asks. The connection goes home behind the answer's end.
    pub(super) async fn ask(
        mut self: Box<Self>,
        request: Box<Request<B>>,
        way: Way,
    ) -> Result<Response<Answer<B>>, TrySendError<Request<B>>> {
        let mut answer = pin!(self.sender.try_send_request(*request));
        match way {
            Way::Polled => {}
            Way::Tasked => {
                tokio::spawn(self.finish());
                return answer.await.map(|answer| answer.map(Answer::alone));
            }
            Way::Upgraded => {
                tokio::spawn(self.connection.with_upgrades());
                return answer.await.map(|answer| answer.map(Answer::alone));
            }
        }
        let mut is_over = false;
        let answer = poll_fn(|context| {
            if !is_over {
                is_over = Pin::new(&mut self.connection).poll(context).is_ready();
            }
            answer.as_mut().poll(context)
        });
        let answer = answer.await?;
        let (head, body) = answer.into_parts();
        let connection = (!is_over).then_some(self);
        let mut body = Answer::new(body, connection, None);
        poll_fn(|context| {
            body.release_at_end(context);
            Poll::Ready(())
        })
        .await;
        Ok(Response::from_parts(head, body))
    }

    /// Drives it until the answer is read and the request sent, or until it breaks.
    async fn finish(self: Box<Self>) {
        let mut driven = Some(self);
        poll_fn(|context| {
            let Some(mut this) = driven.take() else { return Poll::Ready(()) };
            if Pin::new(&mut this.connection).poll(context).is_ready() {
                return Poll::Ready(());
            }
            if this.sender.is_ready() {
                this.go_home();
                return Poll::Ready(());
            }
            driven = Some(this);
            Poll::Pending
        })
        .await;
    }
}

/// An answer's body.
pub struct Answer<B: Sent> {
    body: Incoming,
    /// What has to be polled for it.
    connection: Option<Box<Driven<B>>>,
    /// Its place on a connection it shares.
    _load: Option<Arc<()>>,
    /// Why it breaks off, which is told when what came before has had time to be passed on.
    broken: Option<hyper::Error>,
}

impl<B: Sent> std::fmt::Debug for Answer<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer").field("body", &self.body).finish_non_exhaustive()
    }
}

impl<B: Sent> Answer<B> {
    fn new(body: Incoming, connection: Option<Box<Driven<B>>>, load: Option<Arc<()>>) -> Self {
        Self { body, connection, _load: load, broken: None }
    }

    /// On a connection that is somebody else's to poll.
    fn alone(body: Incoming) -> Self {
        Self::new(body, None, None)
    }

    /// On a connection that others use as well.
    pub(super) fn shared(body: Incoming, load: Arc<()>) -> Self {
        Self::new(body, None, Some(load))
    }

    fn release_at_end(&mut self, context: &mut Context<'_>) {
        if self.body.is_end_stream()
            && let Some(mut driven) = self.connection.take()
            && driven.is_open(context)
        {
            driven.go_home();
        }
    }

    fn drive(&mut self, context: &mut Context<'_>) {
        if let Some(driven) = &mut self.connection
            && Pin::new(&mut driven.connection).poll(context).is_ready()
        {
            self.connection = None;
        }
    }
}

impl<B: Sent> Body for Answer<B> {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        if let Some(why) = this.broken.take() {
            return Poll::Ready(Some(Err(why)));
        }
        // Asking for more is what makes the connection read more.
        let mut frame = Pin::new(&mut this.body).poll_frame(context);
        if frame.is_pending() && this.connection.is_some() {
            this.drive(context);
            frame = Pin::new(&mut this.body).poll_frame(context);
        }
        match frame {
            Poll::Ready(Some(Err(why))) => {
                this.connection = None;
                this.broken = Some(why);
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(frame) => {
                this.release_at_end(context);
                Poll::Ready(frame)
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
