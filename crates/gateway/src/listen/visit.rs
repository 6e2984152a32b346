//! One connection, from its first byte to its last, request by request.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http_body::Body;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use super::access_log::Pending;
use super::counts::Closed;
use super::front::Front;
use super::opening::{Opened, open};
use super::pace::{Next, Over, Pace};
use super::places::Place;
use super::received::{BrokenBody, Fate, Received};
use super::sent::{Sent, UnderWay};
use super::stream::Connection;
use crate::body::Passing;
use crate::headers::Client;
use crate::metrics::Cause;

/// A client that asks nothing for so long once the gateway goes down has nothing in flight: its
/// connection can be closed without a request being lost on its way.
const LINGER: Duration = Duration::from_secs(1);

/// What a connection is answered with.
#[derive(Debug)]
struct Visit {
    front: Arc<Front>,
    client: Client,
    pace: Arc<Pace>,
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
    let pace = Arc::new(Pace::new(began.into_std(), front.times(), is_http2));
    let io = TokioIo::new(Connection { link, pace: Arc::clone(&pace), _place: place });
    let visit = Arc::new(Visit { front: Arc::clone(&front), client, pace });
    let answers = Arc::clone(&visit);
    let service = service_fn(move |request| {
        let visit = Arc::clone(&answers);
        async move { Ok::<_, Infallible>(visit.answer(request).await) }
    });
    if is_http2 {
        let connection = front.http2.serve_connection(io, service);
        Box::pin(visit.keep(connection)).await;
    } else {
        let connection = front.http1.serve_connection(io, service).with_upgrades();
        Box::pin(visit.keep(connection)).await;
    }
}

/// A connection that can be asked to end once nothing is under way on it.
trait Leaving: Future<Output = hyper::Result<()>> {
    fn leave(self: Pin<&mut Self>);
}

impl<I, B, S> Leaving for hyper::server::conn::http1::UpgradeableConnection<I, S>
where
    Self: Future<Output = hyper::Result<()>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    S: hyper::service::HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn leave(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<I, B, S, E> Leaving for hyper::server::conn::http2::Connection<I, S, E>
where
    Self: Future<Output = hyper::Result<()>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    S: hyper::service::HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    E: hyper::rt::bounds::Http2ServerConnExec<S::Future, B>,
{
    fn leave(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl Visit {
    /// Until the client, its pace or the gateway ends the connection.
    async fn keep<C: Leaving>(&self, connection: C) {
        let mut connection = pin!(connection);
        let mut look = pin!(sleep_until(Instant::now() + self.front.limits.head_time));
        let mut leaves = pin!(self.front.leaves());
        // When the gateway began to leave, and whether the connection was asked to end.
        let (mut linger, mut asked) = (None, false);
        look.as_mut().reset(self.next(linger).unwrap_or_else(|_| Instant::now()));
        loop {
            tokio::select! {
                biased;
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        let client = self.client.source();
                        tracing::debug!(%client, %error, "a connection ended");
                    }
                    return;
                }
                () = leaves.as_mut(), if linger.is_none() => {
                    linger = Some(Instant::now() + LINGER);
                }
                () = look.as_mut() => {}
            }
            if !asked && linger.is_some_and(|linger| linger <= Instant::now()) {
                asked = true;
                connection.as_mut().leave();
            }
            let next = match self.next(linger.filter(|_| !asked)) {
                Ok(next) => next,
                Err(Over::Idle) if !asked => {
                    self.front.counts.closed(Closed::Idle);
                    asked = true;
                    connection.as_mut().leave();
                    Instant::now() + self.front.limits.head_time
                }
                Err(over) => {
                    self.cut(over, asked);
                    return;
                }
            };
            look.as_mut().reset(next);
        }
    }

    /// When to look at the pace again.
    fn next(&self, linger: Option<Instant>) -> Result<Instant, Over> {
        match self.pace.at(std::time::Instant::now()) {
            Next::Look(at) => {
                let at = Instant::from_std(at);
                Ok(linger.map_or(at, |linger| at.min(linger)))
            }
            Next::Over(over) => Err(over),
        }
    }

    fn cut(&self, over: Over, asked: bool) {
        match over {
            Over::Head => self.front.counts.closed(Closed::Head),
            Over::Stalled => self.front.counts.closed(Closed::Stalled),
            // It was counted when it was asked.
            Over::Idle if asked => {}
            Over::Idle => self.front.counts.closed(Closed::Idle),
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Sent> {
        let under_way = UnderWay::new(&self.pace);
        let log = self.front.log.as_ref();
        let client = self.client.source().ip().to_canonical();
        let mut logged = log.map(|log| Pending::new(log, client, &request));
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
        let (body, fate) = Received::new(body, limits, &self.front.counts);
        let request = Request::from_parts(head, body);
        let answer = self.front.proxy.answer(request, &self.client).await;
        match fate.as_ref().and_then(Fate::broken) {
            Some(broken) if matches!(answer.body(), Passing::Made(_)) => (instead(&broken), true),
            _ => (answer, false),
        }
    }

    /// Before anybody heard of the request.
    fn refused_body(&self) -> Response<Passing> {
        self.front.counts.closed(Closed::LongBody);
        let answer = instead(&BrokenBody::TooLong);
        let metrics = self.front.proxy.metrics();
        metrics.caused(Cause::Refused);
        metrics.answered(answer.status(), Duration::ZERO);
        answer
    }
}

/// What the client of such a body is told.
fn instead(broken: &BrokenBody) -> Response<Passing> {
    let (status, words) = match broken {
        BrokenBody::TooLong => {
            (StatusCode::PAYLOAD_TOO_LARGE, "the request's body is longer than it may be\n")
        }
        BrokenBody::Slow | BrokenBody::Connection(_) => {
            (StatusCode::REQUEST_TIMEOUT, "the request's body did not come in time\n")
        }
    };
    let mut answer = Response::new(Passing::made(words));
    *answer.status_mut() = status;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, text);
    answer
}
