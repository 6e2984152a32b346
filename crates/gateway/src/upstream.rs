//! Connections to one target.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use hyper::body::Incoming;
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower_service::Service;
use umbra_state::chain;

const CONNECT_TIME: Duration = Duration::from_secs(5);
/// A connection nobody uses is closed after this.
const IDLE_TIME: Duration = Duration::from_secs(90);
const IDLE_MAX: usize = 1024;
/// How often a name is looked up again.
const LOOK_UP_EVERY: Duration = Duration::from_secs(30);

/// Where requests go: a host or an address, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target(Authority);

/// It names no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read {text:?} as a target: expected HOST:PORT or http://HOST:PORT")]
pub struct NoTarget {
    text: String,
}

impl FromStr for Target {
    type Err = NoTarget;

    fn from_str(text: &str) -> Result<Self, NoTarget> {
        let refused = || NoTarget { text: text.chars().take(80).collect() };
        let rest = text.strip_prefix("http://").unwrap_or(text);
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let authority: Authority = rest.parse().map_err(|_| refused())?;
        // A user and a password would be sent on.
        let plain = !authority.as_str().contains('@') && !authority.host().is_empty();
        (plain && authority.port_u16().is_some()).then_some(Self(authority)).ok_or_else(refused)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Failure {
    /// No connection was made.
    Connect(String),
    /// The request's own body ended in an error.
    Body,
    /// The connection broke, or what came was no answer.
    Broken(String),
}

/// A target, with connections that are kept for the next request.
pub struct Upstream<B> {
    target: Target,
    client: Client<HttpConnector<Names>, B>,
}

impl<B> fmt::Debug for Upstream<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("target", &self.target).finish_non_exhaustive()
    }
}

impl<B> Upstream<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Connections to `target`. Its name is looked up now and then beside the requests: none
    /// waits for that, and what it was last is kept while nobody answers.
    ///
    /// Must be called within a runtime.
    pub fn new(target: Target) -> Self {
        let names = Names::of(&target);
        let mut connector = HttpConnector::new_with_resolver(names);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIME));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIME)
            .pool_max_idle_per_host(IDLE_MAX)
            .build(connector);
        Self { target, client }
    }

    /// Where it leads.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// What a request asks for, at the target.
    pub fn uri(&self, asked: &Uri) -> Uri {
        let mut parts = hyper::http::uri::Parts::default();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(self.target.0.clone());
        let path = asked.path_and_query().cloned();
        parts.path_and_query = Some(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
        // All three parts are there and valid.
        Uri::from_parts(parts).unwrap_or_default()
    }

    /// Sends a request whose URI is one of [`Self::uri`].
    pub async fn send(&self, request: Request<B>) -> Result<Response<Incoming>, Failure> {
        self.client.request(request).await.map_err(|error| failure(&error))
    }
}

fn failure(error: &Error) -> Failure {
    let chain = chain(error);
    if error.is_connect() {
        return Failure::Connect(chain);
    }
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(hyper) = cause.downcast_ref::<hyper::Error>()
            && hyper.is_user()
        {
            return Failure::Body;
        }
        source = cause.source();
    }
    Failure::Broken(chain)
}

/// What a target's name was last found to be.
#[derive(Clone)]
struct Names {
    found: Arc<RwLock<Vec<IpAddr>>>,
}

impl Names {
    /// Begins to look up a target's name, until nobody has this any more.
    fn of(target: &Target) -> Self {
        let names = Self { found: Arc::default() };
        let (host, port) = (target.0.host().to_owned(), target.0.port_u16().unwrap_or_default());
        // An address is what it is.
        if host.trim_matches(['[', ']']).parse::<IpAddr>().is_err() {
            tokio::spawn(keep_looking(host, port, Arc::downgrade(&names.found)));
        }
        names
    }
}

async fn keep_looking(host: String, port: u16, found: std::sync::Weak<RwLock<Vec<IpAddr>>>) {
    let mut wait = Duration::from_millis(200);
    while found.strong_count() > 0 {
        // One lookup at a time, however long it takes.
        let addresses = tokio::net::lookup_host((host.as_str(), port)).await;
        let addresses: Vec<IpAddr> =
            addresses.map(|all| all.map(|one| one.ip()).collect()).unwrap_or_default();
        let Some(found) = found.upgrade() else { return };
        if addresses.is_empty() {
            tracing::warn!(host, "a target's name is not found; what it was last is kept");
            wait = (wait * 2).min(LOOK_UP_EVERY);
        } else {
            *found.write().unwrap_or_else(PoisonError::into_inner) = addresses;
            wait = LOOK_UP_EVERY;
        }
        drop(found);
        tokio::time::sleep(wait).await;
    }
}

impl Service<Name> for Names {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future =
        Pin<Box<dyn Future<Output = Result<std::vec::IntoIter<SocketAddr>, io::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Name) -> Self::Future {
        let found = self.found.read().unwrap_or_else(PoisonError::into_inner).clone();
        Box::pin(async move {
            if found.is_empty() {
                return Err(io::Error::new(io::ErrorKind::NotFound, "its name is not found"));
            }
            // The connector knows the port.
            let addresses = found.into_iter().map(|ip| SocketAddr::new(ip, 0));
            Ok(addresses.collect::<Vec<_>>().into_iter())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_host_and_a_port() {
        #[track_caller]
        fn check(text: &str, target: Option<&str>) {
            let read = text.parse::<Target>().ok().map(|target| target.to_string());
            assert_eq!(read.as_deref(), target, "{text}");
        }
        check("127.0.0.1:9000", Some("127.0.0.1:9000"));
        check("http://app.internal:80/", Some("app.internal:80"));
        check("[::1]:9000", Some("[::1]:9000"));
        for bad in ["", "app", "http://app", "https://app:443", "u:p@app:80", "app:80/path", ":80"]
        {
            check(bad, None);
        }
    }
}
