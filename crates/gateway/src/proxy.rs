//! One request's way to production and back.
//!
//! ```text
//! client ── head checked and cleaned ── copies begun ──> production ── head cleaned ──> client
//!                                          │ body, as it streams
//!                                          v
//!                                       shadows
//! ```

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use http_body::Body;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, UPGRADE};
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;

use crate::body::Passing;
use crate::headers::{Client, forwarded, pass_on, settle_framing, strip};
use crate::metrics::{Cause, Metrics};
use crate::mirror::Mirror;
use crate::upstream::{Answer, Failure, Upstream};

/// What holds for every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Whether clients are proxies whose word on where a request is from counts.
    pub trust_forwarded: bool,
    /// How long production may take until its answer begins.
    pub answer_time: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self { trust_forwarded: false, answer_time: Duration::from_secs(60) }
    }
}

/// What is in front of one primary.
#[derive(Debug)]
pub struct Proxy {
    primary: Upstream<Passing>,
    rules: Rules,
    mirrors: RwLock<Arc<[Arc<Mirror>]>>,
    metrics: Metrics,
}

impl Proxy {
    /// In front of `primary`.
    pub fn new(primary: Upstream<Passing>, rules: Rules) -> Self {
        let mirrors = RwLock::new(Arc::from([]));
        Self { primary, rules, mirrors, metrics: Metrics::default() }
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Where requests go.
    pub fn primary(&self) -> &Upstream<Passing> {
        &self.primary
    }

    /// The mirrors in force.
    pub fn mirrors(&self) -> Arc<[Arc<Mirror>]> {
        Arc::clone(&self.mirrors.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts other mirrors into force, from one request to the next.
    pub fn change_mirrors(&self, change: impl FnOnce(&[Arc<Mirror>]) -> Vec<Arc<Mirror>>) {
        let mut mirrors = self.mirrors.write().unwrap_or_else(PoisonError::into_inner);
        *mirrors = change(&mirrors).into();
    }

    /// Answers one request of a client.
    pub async fn answer(&self, request: Request<Incoming>, client: &Client) -> Response<Passing> {
        let began = Instant::now();
        let version = request.version();
        let answer = match self.pass(request, client).await {
            Ok(answer) => answer,
            Err((cause, sentence)) => {
                self.metrics.caused(cause);
                let mut answer = instead(cause, &sentence);
                if cause == Cause::Refused && version < Version::HTTP_2 {
                    // Where a request with two readings ends has two, too.
                    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                answer
            }
        };
        self.metrics.answered(answer.status(), began.elapsed());
        answer
    }

    async fn pass(
        &self,
        request: Request<Incoming>,
        client: &Client,
    ) -> Result<Response<Passing>, (Cause, String)> {
        let (mut head, body) = request.into_parts();
        let upgrade =
            pass_on(&mut head).map_err(|refused| (Cause::Refused, refused.to_string()))?;
        let has_body = !body.is_end_stream();
        forwarded(&mut head.headers, client, "http", self.rules.trust_forwarded);
        let upgrade = upgrade.and_then(|_| head.extensions.remove::<OnUpgrade>());
        let copies = match upgrade {
            // What becomes of the connection then is no request and answer any more.
            Some(_) => Vec::new(),
            None => {
                let mirrors = self.mirrors();
                mirrors.iter().filter_map(|mirror| mirror.begin(&head, has_body)).collect()
            }
        };
        let mut answer = self.ask(head, body, copies).await?;
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            return switch(answer, upgrade);
        }
        // A client that takes it the other way would read another answer out of its body.
        settle_framing(answer.headers_mut())
            .map_err(|refused| (Cause::Broken, refused.to_string()))?;
        strip(answer.headers_mut());
        Ok(answer.map(Passing::Answered))
    }

    /// Asks production, again if that is safe and a connection that was kept for long broke.
    async fn ask(
        &self,
        head: Parts,
        body: Incoming,
        copies: Vec<crate::mirror::Copy>,
    ) -> Result<Response<Answer<Passing>>, (Cause, String)> {
        let request = Request::from_parts(head, Passing::copied(body, copies));
        let answer = self.primary.send(request, again);
        match tokio::time::timeout(self.rules.answer_time, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(Failure::Connect { why, .. })) => Err((Cause::Unreachable, why)),
            Ok(Err(Failure::Broken(why))) => Err((Cause::Broken, why)),
            Ok(Err(Failure::Body)) => {
                Err((Cause::Unfinished, "the request's body breaks off".to_owned()))
            }
            Err(_) => Err((Cause::TimedOut, "it does not answer in time".to_owned())),
        }
    }
}

/// A request that may be asked twice, once more: it is safe, and has no body that would be gone.
fn again(request: &Request<Passing>) -> Option<Request<Passing>> {
    let safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if !safe || !request.body().is_end_stream() {
        return None;
    }
    let mut again = Request::new(Passing::made(""));
    *again.method_mut() = request.method().clone();
    *again.uri_mut() = request.uri().clone();
    *again.headers_mut() = request.headers().clone();
    Some(again)
}

/// What the client gets where production's answer cannot be had. Why goes to the log: it may name
/// what is not the client's to know.
fn instead(cause: Cause, why: &str) -> Response<Passing> {
    let (status, words) = match cause {
        Cause::Refused => (StatusCode::BAD_REQUEST, why),
        Cause::Unfinished => (StatusCode::BAD_REQUEST, "the request is not complete"),
        Cause::Unreachable => (StatusCode::BAD_GATEWAY, "the server cannot be reached"),
        Cause::Broken => (StatusCode::BAD_GATEWAY, "the server did not answer"),
        Cause::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "the server did not answer in time"),
    };
    if cause != Cause::Refused {
        tracing::warn!(why, "production is not reached");
    }
    let mut answer = Response::new(Passing::made(format!("{words}\n")));
    *answer.status_mut() = status;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, text);
    answer
}

/// Connects the two connections whose protocol changes.
fn switch(
    mut answer: Response<Answer<Passing>>,
    client: Option<OnUpgrade>,
) -> Result<Response<Passing>, (Cause, String)> {
    let Some(client) = client else {
        return Err((Cause::Broken, "it changes to a protocol nobody asked for".to_owned()));
    };
    let server = hyper::upgrade::on(&mut answer);
    let protocol = answer.headers().get(UPGRADE).cloned();
    strip(answer.headers_mut());
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(protocol) = protocol {
        answer.headers_mut().insert(UPGRADE, protocol);
    }
    tokio::spawn(async move {
        // Whichever is gone first ends both.
        if let (Ok(client), Ok(server)) = tokio::join!(client, server) {
            let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        }
    });
    Ok(answer.map(|_| Passing::made("")))
}
