//! The local socket that is asked and told. Only who may open it may: it is its owner's.

mod mirrors;
mod routes;
mod splits;
mod status;

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, UPGRADE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use umbra_api::error::{ErrorCode, WireError};
use umbra_api::exposition::FORMAT;
use umbra_state::chain;

pub use self::mirrors::{MirrorStatus, StartMirror, begun, settings};
use self::routes::route_statuses;
pub(crate) use self::routes::target_statuses;
pub use self::routes::{RouteStatus, TargetStatus};
pub use self::status::GatewayStatus;
use crate::capture::captures::CaptureStatus;
use crate::compare::report::CompareReport;
use crate::gateway::ACCEPT_AGAIN;
use crate::listen::front::Front;
use crate::listen::hand_over::{self, Estate, Will, offer};
use crate::proxy::Proxy;
use crate::routes::file;
use crate::split;
use crate::upstream::Trust;

/// A request to the socket is no longer.
const REQUEST_BYTES_MAX: usize = 4 << 20;
const HEAD_TIME: Duration = Duration::from_secs(10);

/// What the socket speaks for.
#[derive(Debug)]
pub struct Control {
    /// What is asked and told.
    pub proxy: Arc<Proxy>,
    /// Whom targets that speak TLS have to be, shadows as well.
    pub trust: Trust,
    /// Where clients come to.
    pub listen: String,
    /// Memory for copies, a permit a byte.
    pub memory: Arc<Semaphore>,
    /// How many there were at first.
    pub memory_bytes_max: usize,
    /// What clients see of it.
    pub front: Arc<Front>,
    /// Where its routes stand, if they do in a file.
    pub routes_file: Option<PathBuf>,
}

/// Answers whoever may ask at this socket, until it is somebody else's.
pub(crate) async fn serve(estate: Arc<Estate>, control: Arc<Control>) {
    loop {
        let accepted = tokio::select! {
            accepted = estate.socket().accept() => accepted,
            () = estate.gone() => return,
        };
        let Ok(stream) = accepted else {
            // Out of files, most likely: clients of the gateway may close theirs.
            tokio::time::sleep(ACCEPT_AGAIN).await;
            continue;
        };
        if !estate.socket().may_speak(&stream) {
            tracing::warn!("a connection of another user was refused");
            continue;
        }
        let (control, estate) = (Arc::clone(&control), Arc::clone(&estate));
        let service = service_fn(move |request: Request<Incoming>| {
            let (control, estate) = (Arc::clone(&control), Arc::clone(&estate));
            async move {
                Ok::<_, Infallible>(match request.uri().path() {
                    hand_over::PATH => control.hand_over(request, &estate).await,
                    _ if *request.method() != Method::GET && estate.is_claimed() => {
                        refused(&taken())
                    }
                    _ => control.answer(request).await,
                })
            }
        });
        tokio::spawn(async move {
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME);
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            // Who asked may be gone.
            let _ = connection.with_upgrades().await;
        });
    }
}

type Answer = Response<Full<Bytes>>;

impl Control {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path().to_owned();
        let mirror = path.strip_prefix("/v1/mirrors/");
        let capture = path.strip_prefix("/v1/captures/");
        let answered = match (request.method(), path.as_str(), mirror) {
            (&Method::GET, "/metrics", _) => {
                let mirrors = self.proxy.mirrors();
                let routes = self.proxy.routes();
                let page = self.proxy.metrics().exposed(&routes, &mirrors);
                let (clients, captures) = (self.front.exposed(), self.proxy.captures().exposed());
                // Of judges, who are not asked by those who serve.
                let splits = tokio::task::spawn_blocking(move || split::exposed::page(&routes));
                let splits = splits.await.unwrap_or_default();
                return answer(StatusCode::OK, FORMAT, [page, clients, captures, splits].concat());
            }
            (&Method::GET, "/v1/gateway", _) => Ok(json(&self.status())),
            (&Method::GET, "/v1/routes/status", _) => {
                Ok(json(&route_statuses(&self.proxy.routes())))
            }
            (&Method::GET, "/v1/routes", _) => Ok(json(self.proxy.routes().setup())),
            (&Method::POST, "/v1/routes", _) => match read(request).await {
                Ok(setup) => self.route(setup).map(|status| json(&status)),
                Err(error) => Err(error),
            },
            (&Method::GET, "/v1/compare", _) => self.compared().await.map(|report| json(&report)),
            (&Method::POST, "/v1/reload", _) => self.reload().await.map(|status| json(&status)),
            (&Method::POST, _, Some(name)) => {
                let name = name.to_owned();
                match read(request).await {
                    Ok(start) => self.start(&name, start).map(|status| json(&status)),
                    Err(error) => Err(error),
                }
            }
            (&Method::DELETE, _, Some(name)) => self.stop(name).map(|status| json(&status)),
            (&Method::GET, "/v1/captures", _) => Ok(json(&self.proxy.captures().status())),
            _ if splits::is_for(&path) => self.split(request).await,
            _ => match capture {
                Some(name) => self.capture(name, request).await.map(|status| json(&status)),
                None => Err(WireError::new(ErrorCode::NotFound, format!("find {path:?} here"))),
            },
        };
        answered.unwrap_or_else(|error| refused(&error))
    }

    /// Gives everything to a successor, once that serves.
    async fn hand_over(&self, mut request: Request<Incoming>, estate: &Arc<Estate>) -> Answer {
        let wants = request.headers().get(UPGRADE).is_some_and(|to| to == hand_over::PROTOCOL);
        if *request.method() != Method::POST || !wants {
            let message = format!("hand over: expected POST with Upgrade: {}", hand_over::PROTOCOL);
            return refused(&WireError::new(ErrorCode::BadRequest, message));
        }
        let Some(claimed) = estate.claim() else { return refused(&taken()) };
        // After that nothing is changed any more, nor judged.
        let place = self.place();
        let _ = tokio::task::spawn_blocking(move || place.leave()).await;
        let mirrors = self.proxy.mirrors();
        let mirrors = mirrors.iter().map(|mirror| (mirror.name().to_owned(), begun(mirror)));
        let will = Will {
            inode: estate.socket().inode(),
            routes: Some(self.proxy.routes().inherited().clone()),
            mirrors: mirrors.collect(),
        };
        let (upgrade, place) = (hyper::upgrade::on(&mut request), self.place());
        tokio::spawn(async move {
            if !offer(claimed, upgrade, will).await {
                place.stay();
            }
        });
        let mut answer = Response::new(Full::default());
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = answer.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static(hand_over::PROTOCOL));
        answer
    }

    /// Reads certificates and routes again, and opens the access log anew.
    ///
    /// # Errors
    /// Something of it cannot be used; that stays as it was.
    pub(crate) async fn reload(&self) -> Result<GatewayStatus, WireError> {
        let (front, file) = (Arc::clone(&self.front), self.routes_file.clone());
        let read = move || (front.reload(), file.map(|file| file::load(&file)));
        let read = tokio::task::spawn_blocking(read).await;
        let read = read.map_err(|_| WireError::new(ErrorCode::Internal, "read files again"));
        let (certificates, routes) = read?;
        let unusable = |why: String| {
            WireError::new(ErrorCode::Environment, why)
                .with_hint("what was in force before still is")
        };
        if let Some(routes) = routes {
            self.route(routes.map_err(|problems| unusable(format!("read routes: {problems}")))?)?;
        }
        certificates.map_err(|error| unusable(chain(&error)))?;
        Ok(self.status())
    }

    /// Begins or ends a capture.
    async fn capture(
        &self,
        name: &str,
        request: Request<Incoming>,
    ) -> Result<CaptureStatus, WireError> {
        let captures = self.proxy.captures();
        match *request.method() {
            Method::POST => captures.start(name, &read(request).await?, &self.memory, seed()).await,
            Method::DELETE => captures.stop(name).await,
            _ => Err(WireError::new(ErrorCode::NotFound, "find that here")),
        }
    }

    /// How the comparison stands.
    ///
    /// # Errors
    /// There is none.
    pub async fn compared(&self) -> Result<CompareReport, WireError> {
        let comparison = self.proxy.mirrors().comparison().cloned();
        let nothing = || {
            WireError::new(ErrorCode::NotFound, "find a comparison".to_owned()).with_hint(
                "`umbra mirror start NAME --to HOST:PORT --role candidate` begins one, with a --role baseline beside it",
            )
        };
        let comparison = comparison.ok_or_else(nothing)?;
        // Of thousands of fields it takes long enough to be felt by whoever shares the thread.
        let report = tokio::task::spawn_blocking(move || comparison.report()).await;
        report.map_err(|error| WireError::new(ErrorCode::Internal, error.to_string()))
    }
}

fn bad(error: impl std::error::Error) -> WireError {
    WireError::new(ErrorCode::BadRequest, chain(&error))
}

/// What clients cannot know.
fn seed() -> u64 {
    use std::hash::BuildHasher;
    std::hash::RandomState::new().hash_one(())
}

async fn read<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, WireError> {
    let body = Limited::new(request.into_body(), REQUEST_BYTES_MAX).collect().await;
    let body = body
        .map_err(|_| WireError::new(ErrorCode::BadRequest, "read the request's body".to_owned()))?;
    serde_json::from_slice(&body.to_bytes()).map_err(bad)
}

fn taken() -> WireError {
    WireError::new(ErrorCode::Conflict, "change the gateway: a successor is about to take over")
        .with_hint("ask again in a moment")
}

fn refused(error: &WireError) -> Answer {
    let status = StatusCode::from_u16(error.code.http_status());
    let body = serde_json::to_string(error).unwrap_or_default();
    answer(status.unwrap_or(StatusCode::BAD_REQUEST), "application/json", body)
}

fn json(value: &impl Serialize) -> Answer {
    answer(StatusCode::OK, "application/json", serde_json::to_string(value).unwrap_or_default())
}

fn answer(status: StatusCode, kind: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}
