//! HTTP/2 to a target: connections that many requests share.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::client::conn::TrySendError;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use super::Sent;
use super::driven::Answer;
use crate::listen::proxy_header::Ends;
use crate::stream::Stream;

/// Beyond so many requests at once another connection is made. Servers allow 100 at least
/// (RFC 9113, 6.5.2); what one allows less of waits there.
const REQUESTS_EACH: usize = 100;
/// And so many connections at most.
const CONNECTIONS_MAX: usize = 64;
/// A connection that does not answer for so long is asked whether it is there.
const ALIVE_EVERY: Duration = Duration::from_secs(20);
const WINDOW_BYTES: u32 = 1 << 20;

/// Connections of one target.
pub(super) struct Shared<B: Sent> {
    open: Mutex<Vec<One<B>>>,
    /// Whoever holds it makes a connection; others wait for that instead of making more.
    pub(super) opening: tokio::sync::Mutex<()>,
}

/// One connection, and its requests under way: as many as there are other owners of `load`.
struct One<B: Sent> {
    sender: SendRequest<B>,
    load: Arc<()>,
    /// Whose it is, if it was said to be somebody's.
    whose: Option<Ends>,
}

/// A place for one request.
pub(super) struct Place<B: Sent> {
    sender: SendRequest<B>,
    load: Arc<()>,
}

impl<B: Sent> Default for Shared<B> {
    fn default() -> Self {
        Self { open: Mutex::default(), opening: tokio::sync::Mutex::default() }
    }
}

impl<B: Sent> Shared<B> {
    /// A place on a connection that is there for `whose`, if one has room.
    pub(super) fn place(&self, whose: Option<Ends>) -> Option<Place<B>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|one| !one.sender.is_closed());
        let crowd = |one: &One<B>| Arc::strong_count(&one.load) - 1;
        let full = open.len() >= CONNECTIONS_MAX;
        let of_them = open.iter().filter(|one| one.whose == whose);
        let one = of_them.min_by_key(|one| crowd(one))?;
        (full || crowd(one) < REQUESTS_EACH).then(|| one.place())
    }

    /// A place on a connection that was just made.
    pub(super) async fn begin(
        &self,
        stream: Stream,
        whose: Option<Ends>,
    ) -> Result<Place<B>, hyper::Error> {
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(ALIVE_EVERY)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(4 * WINDOW_BYTES);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            // Who asks on it is told.
            let _ = connection.await;
        });
        let one = One { sender, load: Arc::default(), whose };
        let place = one.place();
        self.open.lock().unwrap_or_else(PoisonError::into_inner).push(one);
        Ok(place)
    }
}

impl<B: Sent> One<B> {
    fn place(&self) -> Place<B> {
        Place { sender: self.sender.clone(), load: Arc::clone(&self.load) }
    }
}

impl<B: Sent> Place<B> {
    /// Asks.
    pub(super) async fn ask(
        mut self,
        request: Request<B>,
    ) -> Result<Response<Answer<B>>, TrySendError<Request<B>>> {
        let answer = self.sender.try_send_request(request).await;
        answer.map(|answer| answer.map(|body| Answer::shared(body, self.load)))
    }
}
