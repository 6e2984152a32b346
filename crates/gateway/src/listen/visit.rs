//! One connection, from its first byte to its last, request by request.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::service::{Service, service_fn};
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::access_log::Pending;
use super::counts::Closed;
use super::front::Front;
use super::opening::{Opened, open};
use super::pace::{Over, Pace, UnderWay};
use super::places::Place;
use super::received::{Exceeded, Fate, Received};
use super::sent::Sent;
use super::stream::Connection;
use crate::body::Passing;
use crate::headers::Client;
use crate::interim::Interim;
use crate::metrics::Cause;

/// A client that asks nothing for so long once the gateway goes down has nothing in flight: its
/// connection can be closed without a request being lost on its way.
const LINGER: Duration = Duration::from_secs(1);

/// A connection on which nothing is asked for so long is parked.
const PARKED_AFTER: Duration = Duration::from_millis(200);
/// What is read to see that something is asked again.
const FIRST_BYTES: usize = 64;
/// How long a client may take for the last that TLS says.
const FAREWELL: Duration = Duration::from_secs(1);

/// What a connection is answered with.
#[derive(Debug)]
struct Visit {
    front: Arc<Front>,
    client: Client,
    pace: Arc<Pace>,
}

/// What a connection is looked at for.
enum Woken {
    Ended(hyper::Result<()>),
    Leaves,
    Looks,
}

/// Serves one connection until it ends.
pub(crate) async fn visit(
    front: Arc<Front>,
    socket: TcpStream,
    peer: SocketAddr,
    mut place: Place,
) {
    let _open = front.proxy.metrics().connection();
    let began = Instant::now();
    let end = began + front.limits.head_time;
    // What only the beginning needs is given back before the rest.
    let opening = open(&front, socket, peer, end, |source| place.is_of(source.ip()));
    let Opened { link, client, is_http2 } = match Box::pin(opening).await {
        Ok(opened) => opened,
        Err(why) => {
            if let Some(why) = why {
                front.counts.closed(why);
            }
            return;
        }
    };
    let pace = Arc::new(Pace::new(began, front.times(), is_http2));
    let interim = Interim::default();
    let client = if is_http2 { client } else { client.told_early_by(interim.clone()) };
    let connection = Connection { link, pace: Arc::clone(&pace), interim, _place: place };
    let visit = Arc::new(Visit { front: Arc::clone(&front), client, pace });
    if is_http2 {
        visit.http2(connection).await;
    } else {
        visit.http1(connection).await;
    }
}

impl Visit {
    async fn http2(self: &Arc<Self>, connection: Connection) {
        let io = TokioIo::new(connection);
        let mut serving = Box::pin(self.front.http2.serve_connection(io, self.service()));
        Box::pin(self.keep(serving.as_mut(), |serving| serving.graceful_shutdown())).await;
    }

    /// While nothing is asked, what it takes to read and answer is given back.
    async fn http1(self: &Arc<Self>, mut connection: Connection) {
        while let Some(rested) = self.until_it_rests(connection).await {
            connection = rested;
            if !self.park(&mut connection).await {
                // Whoever does not take this farewell is gone.
                let _ = timeout(FAREWELL, connection.shutdown()).await;
                return;
            }
        }
    }

    /// `None` once it is over.
    async fn until_it_rests(self: &Arc<Self>, connection: Connection) -> Option<Connection> {
        let io = TokioIo::new(connection);
        let serving = self.front.http1.serve_connection(io, self.service());
        let mut serving = Box::new(serving.with_upgrades());
        let kept = self.keep(Pin::new(&mut *serving), |serving| serving.graceful_shutdown());
        match Box::pin(kept).await {
            Kept::Ended => None,
            // One that changed its protocol has ended.
            Kept::Rests => serving.into_parts().map(resting),
        }
    }

    fn service(
        self: &Arc<Self>,
    ) -> impl Service<
        Request<Incoming>,
        Response = Response<Sent>,
        Error = Infallible,
        Future: Send + 'static,
    > + use<> {
        let visit = Arc::clone(self);
        service_fn(move |request| {
            let visit = Arc::clone(&visit);
            async move { Ok::<_, Infallible>(visit.answer(request).await) }
        })
    }
}

/// What stays of a connection while it rests.
fn resting<S>(parts: hyper::server::conn::http1::Parts<TokioIo<Connection>, S>) -> Connection {
    let mut connection = parts.io.into_inner();
    // Copied: what it is a part of would stay with it, even of an empty one.
    let unread = [&parts.read_buf[..], &connection.link.bytes].concat();
    connection.link.bytes = unread.into();
    connection
}

/// Why a connection is not served for now.
enum Kept {
    /// It is over.
    Ended,
    /// Nothing is asked on it.
    Rests,
}

impl Visit {
    /// Until the client, its pace or the gateway ends the connection, or nothing is asked on it.
    /// `leave` asks it to end once nothing is under way on it.
    async fn keep<C>(&self, mut connection: Pin<&mut C>, leave: fn(Pin<&mut C>)) -> Kept
    where
        C: Future<Output = hyper::Result<()>>,
    {
        let mut look = pin!(sleep_until(self.next(None).unwrap_or_else(|_| Instant::now())));
        let mut leaves = pin!(self.front.leaves());
        // When the gateway has left for long enough, and whether the connection was asked to end.
        let (mut linger, mut asked) = (None, false);
        let (mut rest, mut told) = (0, false);
        loop {
            let woken = poll_fn(|context| {
                if let Poll::Ready(ended) = connection.as_mut().poll(context) {
                    return Poll::Ready(Woken::Ended(ended));
                }
                if let Some(since) = self.pace.rests_anew(&mut rest) {
                    look.as_mut().reset(since + PARKED_AFTER);
                }
                // Its waker stays the same: it is not asked again before there is news.
                if linger.is_none() && (!told || self.front.is_leaving()) {
                    told = true;
                    if leaves.as_mut().poll(context).is_ready() {
                        return Poll::Ready(Woken::Leaves);
                    }
                }
                look.as_mut().poll(context).map(|()| Woken::Looks)
            });
            match woken.await {
                Woken::Ended(ended) => {
                    if let Err(error) = ended {
                        let client = self.client.source();
                        tracing::debug!(%client, %error, "a connection ended");
                    }
                    return Kept::Ended;
                }
                Woken::Leaves => linger = Some(Instant::now() + LINGER),
                Woken::Looks if !asked && self.pace.may_be_parked() => {
                    return Kept::Rests;
                }
                Woken::Looks => {}
            }
            if !asked && linger.is_some_and(|linger| linger <= Instant::now()) {
                asked = true;
                leave(connection.as_mut());
            }
            let next = match self.next(linger.filter(|_| !asked)) {
                Ok(next) => next,
                Err(Over::Idle) if !asked => {
                    self.cut(Over::Idle);
                    asked = true;
                    leave(connection.as_mut());
                    Instant::now() + self.front.limits.head_time
                }
                Err(Over::Idle) => return Kept::Ended,
                Err(over) => {
                    self.cut(over);
                    return Kept::Ended;
                }
            };
            look.as_mut().reset(next);
        }
    }

    /// Until something is asked on a connection that rests; not, if it is to end.
    async fn park(&self, connection: &mut Connection) -> bool {
        if !connection.link.bytes.is_empty() {
            // The beginning of a head, behind the request before.
            self.pace.came();
            return true;
        }
        let mut first = [0; FIRST_BYTES];
        let read = connection.read(&mut first);
        let leaves = async {
            self.front.leaves().await;
            sleep(LINGER).await;
        };
        let over = async {
            while let Ok(next) = self.next(None) {
                sleep_until(next).await;
            }
        };
        let read = tokio::select! {
            biased;
            read = read => read.unwrap_or(0),
            () = leaves => 0,
            () = over => {
                self.cut(Over::Idle);
                0
            }
        };
        connection.link.bytes = Bytes::copy_from_slice(&first[..read]);
        read > 0
    }

    /// When to look at the pace again.
    fn next(&self, linger: Option<Instant>) -> Result<Instant, Over> {
        let at = self.pace.at(Instant::now())?;
        Ok(linger.map_or(at, |linger| at.min(linger)))
    }

    fn cut(&self, over: Over) {
        self.front.counts.closed(match over {
            Over::Head => Closed::Head,
            Over::Stalled => Closed::Stalled,
            Over::Idle => Closed::Idle,
        });
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Sent> {
        let under_way = UnderWay::new(&self.pace);
        let mut logged = self.front.log.as_ref().map(|log| {
            let client = self.client.source().ip().to_canonical();
            Pending::new(log, client, &request)
        });
        let version = request.version();
        let (mut answer, broken) = self.passed_on(request).await;
        let changes = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
        // The rest of a body that was broken off is nobody's; and once the gateway leaves, the
        // next request comes on a connection of its own, to whoever listens then.
        let last = broken || self.front.is_leaving() && !changes;
        if version < Version::HTTP_2 && last {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(logged) = &mut logged {
            logged.answered(answer.status());
        }
        answer.map(|body| Sent::new(body, under_way, logged))
    }

    /// The answer, and whether the request's body was broken off.
    async fn passed_on(&self, request: Request<Incoming>) -> (Response<Passing>, bool) {
        let limits = self.front.bodies();
        let says = request.body().size_hint().lower();
        if limits.bytes_max.is_some_and(|max| says > max) {
            return (self.refused_body(), true);
        }
        let (head, body) = request.into_parts();
        let (body, fate) = Received::new(body, limits, &self.front.counts, &self.pace);
        let request = Request::from_parts(head, body);
        let answer = self.front.proxy.answer(request, &self.client).await;
        match fate.as_ref().and_then(Fate::broken) {
            Some(broken) if matches!(answer.body(), Passing::Made(_)) => (instead(broken), true),
            _ => (answer, false),
        }
    }

    /// Before anybody heard of the request.
    fn refused_body(&self) -> Response<Passing> {
        self.front.counts.closed(Closed::LongBody);
        let answer = instead(Exceeded::Bytes);
        let metrics = self.front.proxy.metrics();
        metrics.caused(Cause::Refused);
        metrics.answered(answer.status(), Duration::ZERO);
        answer
    }
}

/// What the client of such a body is told.
fn instead(broken: Exceeded) -> Response<Passing> {
    let (status, words) = match broken {
        Exceeded::Bytes => {
            (StatusCode::PAYLOAD_TOO_LARGE, "the request's body is longer than it may be\n")
        }
        Exceeded::Pause => {
            (StatusCode::REQUEST_TIMEOUT, "the request's body did not come in time\n")
        }
    };
    let mut answer = Response::new(Passing::made(words));
    *answer.status_mut() = status;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, text);
    answer
}
