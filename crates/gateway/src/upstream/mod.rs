//! One target, and the connections to it.
//!
//! ```text
//! request ──> kept (HTTP/1.1, idle) ──┐
//!        └──> shared (HTTP/2) ────────┼──> written for it, asked ──> answer
//!        └──> a new one ──────────────┘                                └─ its end gives the connection back
//! ```

mod connect;
mod driven;
mod kept;
mod names;
mod shared;
mod target;
mod trust;
mod writing;

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use hyper::client::conn::TrySendError;
use hyper::header::UPGRADE;
use hyper::{Request, Response};
use tokio::time::timeout;
use umbra_state::chain;

pub use driven::Answer;
pub use target::{NoTarget, Protocol, Target};
pub use trust::{Trust, TrustError};

use self::connect::{CONNECT_TIME, Connected, Connector};
use self::driven::{Driven, Way};
use self::kept::Kept;
use self::shared::{Place, Shared};
use crate::listen::proxy_header::{Ends, Version};

/// How often connections nobody uses are looked at.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// What a request's body is, to be sent.
pub trait Sent:
    Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + Unpin + 'static
{
}

impl<B> Sent for B where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + Unpin
        + 'static
{
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Failure<B> {
    /// No connection was made: the request is as it was.
    Connect {
        /// What is in the way.
        why: String,
        /// What was to be sent.
        request: Box<Request<B>>,
    },
    /// The request's own body ended in an error.
    Body,
    /// The connection broke, or what came was no answer.
    Broken(String),
}

/// A target, with connections that are kept for the next request.
pub struct Upstream<B: Sent> {
    target: Target,
    connector: Connector,
    kept: Arc<Kept<B>>,
    shared: Shared<B>,
    /// Whether it chose HTTP/2 when it was asked last.
    chose_http2: AtomicBool,
    asked_again: AtomicU64,
    /// How it is told whose a connection is, if it is.
    announces: Option<Version>,
}

/// What a request needs of its connection.
#[derive(Debug, Clone, Copy)]
struct Need {
    /// It may become one of another protocol.
    changes: bool,
    /// It is of this client, where that is told.
    whose: Option<Ends>,
}

/// A connection to ask on.
enum Line<B: Sent> {
    Own(Box<Driven<B>>),
    Shared(Place<B>),
}

impl<B: Sent> fmt::Debug for Upstream<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("target", &self.target).finish_non_exhaustive()
    }
}

impl<B: Sent> Upstream<B> {
    /// Connections to `target`. Must be called within a runtime.
    ///
    /// # Errors
    /// What it is trusted by makes no sense; only where TLS is spoken.
    pub fn new(target: Target, trust: &Trust) -> Result<Self, TrustError> {
        let connector = Connector::new(&target, trust)?;
        let kept = Arc::default();
        tokio::spawn(sweep(Arc::downgrade(&kept)));
        let chose_http2 = AtomicBool::new(false);
        Ok(Self {
            target,
            connector,
            kept,
            shared: Shared::default(),
            chose_http2,
            asked_again: AtomicU64::new(0),
            announces: None,
        })
    }

    /// Each connection begins with a PROXY protocol header, which says whose it is, and is not
    /// used for anybody else.
    pub fn announcing(self, version: Option<Version>) -> Self {
        Self { announces: version, ..self }
    }

    /// How it is told whose a connection is, if it is.
    pub fn announces(&self) -> Option<Version> {
        self.announces
    }

    /// Where it leads.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// How many requests were asked again, since a connection that was kept broke.
    pub fn asked_again(&self) -> u64 {
        self.asked_again.load(Ordering::Relaxed)
    }

    /// Asks what `request` asks, which is boxed since it goes through many hands. Where a
    /// connection that was kept breaks before it answers, and nothing of the request was written
    /// to it, it is asked again on another; if something may have been, only `spare` is, once and
    /// on a new one, which is made beforehand if the request may be asked twice.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn send(
        &self,
        mut request: Box<Request<B>>,
        spare: impl Fn(&Request<B>) -> Option<Box<Request<B>>>,
    ) -> Result<Response<Answer<B>>, Failure<B>> {
        let need = Need {
            changes: request.headers().contains_key(UPGRADE),
            whose: self.announces.and_then(|_| request.extensions().get::<Ends>().copied()),
        };
        let mut may_wait = true;
        loop {
            let waiting = if may_wait { self.waiting(need).await } else { None };
            let again = waiting.as_ref().and_then(|_| spare(&request));
            let is_new = waiting.is_none();
            let line = match waiting {
                Some(line) => line,
                // A future of its own: most requests have no need of the room it takes.
                None => match Box::pin(self.line(need)).await {
                    Ok(line) => line,
                    Err(error) => {
                        return Err(Failure::Connect { why: chain(&error), request });
                    }
                },
            };
            let mut refused = match self.ask(line, request, need).await {
                Ok(answer) => return Ok(answer),
                Err(refused) => refused,
            };
            if is_new {
                return Err(failure(refused.error()));
            }
            request = match refused.take_message() {
                Some(unsent) => Box::new(unsent),
                None => {
                    // It may be the request that breaks connections: those that wait stay whole.
                    may_wait = false;
                    again.ok_or_else(|| failure(refused.error()))?
                }
            };
            self.asked_again.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A connection that is there and has room.
    async fn waiting(&self, need: Need) -> Option<Line<B>> {
        let kept = poll_fn(|context| Poll::Ready(self.kept.take(need.whose, context))).await;
        if let Some(driven) = kept {
            return Some(Line::Own(driven));
        }
        if need.changes || self.target.protocol() == Protocol::Http {
            return None;
        }
        self.shared.place(need.whose).map(Line::Shared)
    }

    /// A new connection, or room on one that somebody else makes meanwhile.
    async fn line(&self, need: Need) -> io::Result<Line<B>> {
        if need.changes || !self.speaks_http2() {
            return self.open(need).await;
        }
        let waited = timeout(CONNECT_TIME, self.shared.opening.lock()).await;
        let _only_one = waited.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
        match self.shared.place(need.whose) {
            Some(place) => Ok(Line::Shared(place)),
            None => self.open(need).await,
        }
    }

    fn speaks_http2(&self) -> bool {
        match self.target.protocol() {
            Protocol::Http => false,
            Protocol::H2c => true,
            Protocol::Https => self.chose_http2.load(Ordering::Relaxed),
        }
    }

    async fn open(&self, need: Need) -> io::Result<Line<B>> {
        let announced = self.announces.map(|version| (version, need.whose));
        let connected = self.connector.connect(need.changes, announced).await?;
        let Connected { stream, is_http2 } = connected;
        if !need.changes {
            self.chose_http2.store(is_http2, Ordering::Relaxed);
        }
        match is_http2 {
            true => self.shared.begin(stream, need.whose).await.map(Line::Shared),
            false => Driven::new(stream, &self.kept, need.whose).await.map(Line::Own),
        }
        .map_err(io::Error::other)
    }

    async fn ask(
        &self,
        line: Line<B>,
        mut request: Box<Request<B>>,
        need: Need,
    ) -> Result<Response<Answer<B>>, TrySendError<Request<B>>> {
        match line {
            Line::Own(driven) => {
                writing::for_http1(&mut request, &self.target);
                let way = match (need.changes, request.body().is_end_stream()) {
                    (true, _) => Way::Upgraded,
                    (false, true) => Way::Polled,
                    (false, false) => Way::Tasked,
                };
                driven.ask(request, way).await
            }
            Line::Shared(place) => {
                writing::for_http2(&mut request, &self.target);
                Box::pin(place.ask(*request)).await
            }
        }
    }
}

async fn sweep<B: Sent>(kept: Weak<Kept<B>>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        let Some(kept) = kept.upgrade() else { return };
        kept.sweep();
    }
}

fn failure<B>(error: &hyper::Error) -> Failure<B> {
    if error.is_user() { Failure::Body } else { Failure::Broken(chain(error)) }
}
