//! Asking targets, until one answers that may be asked.

use std::time::Duration;

use http_body::Body;
use hyper::{Method, Request, Response};
use tokio::time::timeout;

use crate::body::Passing;
use crate::metrics::Cause;
use crate::routes::{Backend, Route, Way};
use crate::split::watch::Watch;
use crate::upstream::{Answer, Failure};

/// Asks the target on the way, or another if that one cannot be reached, which is held against the
/// arm it was assigned to.
pub(super) async fn ask(
    route: &Route,
    way: Option<&Way>,
    request: Box<Request<Passing>>,
    time: Duration,
    watch: Option<&mut Watch>,
) -> Result<Response<Answer<Passing>>, (Cause, String)> {
    let nobody = || (Cause::Unassigned, "it has no target".to_owned());
    let first = route.target(way, None).ok_or_else(nobody)?;
    let (why, request) = match ask_one(first, request, time).await {
        Err(Unanswered::Unreached(why, request)) => (why, request),
        answered => return answered.map_err(Unanswered::cause),
    };
    if let Some(watch) = watch {
        watch.failed();
    }
    match route.target(way, Some(first)) {
        Some(second) => {
            let answered = Box::pin(ask_one(second, request, time)).await;
            answered.map_err(Unanswered::cause)
        }
        None => Err((Cause::Unreachable, why)),
    }
}

/// Why a target did not answer.
enum Unanswered {
    /// It was not even reached, and the request is as it was.
    Unreached(String, Box<Request<Passing>>),
    Other(Cause, String),
}

impl Unanswered {
    fn cause(self) -> (Cause, String) {
        match self {
            Self::Unreached(why, _) => (Cause::Unreachable, why),
            Self::Other(cause, why) => (cause, why),
        }
    }
}

/// Asks one target, again if that is safe and a connection that was kept for long broke.
async fn ask_one(
    target: &Backend,
    request: Box<Request<Passing>>,
    time: Duration,
) -> Result<Response<Answer<Passing>>, Unanswered> {
    let answer = timeout(time, target.upstream().send(request, again)).await;
    let unfinished = matches!(answer, Ok(Err(Failure::Body)));
    if !unfinished {
        let answered = answer.as_ref().ok().and_then(|answer| answer.as_ref().ok());
        target.answered(answered.map(Response::status));
    }
    let other = |cause, why: &str| Err(Unanswered::Other(cause, why.to_owned()));
    match answer {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(Failure::Connect { why, request })) => Err(Unanswered::Unreached(why, request)),
        Ok(Err(Failure::Broken(why))) => Err(Unanswered::Other(Cause::Broken, why)),
        Ok(Err(Failure::Body)) => other(Cause::Unfinished, "the request's body breaks off"),
        Err(_) => other(Cause::TimedOut, "it does not answer in time"),
    }
}

/// A request that may be asked twice, once more: it is safe, and has no body that would be gone.
fn again(request: &Request<Passing>) -> Option<Box<Request<Passing>>> {
    let safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if !safe || !request.body().is_end_stream() {
        return None;
    }
    let mut again = Request::new(Passing::made(""));
    *again.method_mut() = request.method().clone();
    *again.uri_mut() = request.uri().clone();
    *again.headers_mut() = request.headers().clone();
    Some(Box::new(again))
}
