//! The local socket that is asked and told. Only who may open it may: it is its owner's.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, UPGRADE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use umbra_api::error::{ErrorCode, WireError};
use umbra_api::exposition::FORMAT;
use umbra_state::chain;

use crate::capture::captures::CaptureStatus;
use crate::compare;
use crate::compare::mask::Masks;
use crate::compare::report::CompareReport;
use crate::fraction::Fraction;
use crate::gateway::ACCEPT_AGAIN;
use crate::headers::is_host;
use crate::listen::access_log::LogStatus;
use crate::listen::counts::ClosedStatus;
use crate::listen::front::Front;
use crate::listen::hand_over::{self, Estate, Will, offer};
use crate::listen::tls::TlsStatus;
use crate::mirror::{Counted, Limits, Mirror, Mirrors, Role, Settings, wanted};
use crate::proxy::Proxy;
use crate::routes::setup::is_name;
use crate::routes::{Backend, Route, Routes, RoutesSetup, file};
use crate::upstream::{Target, Trust, Upstream};

/// A request to the socket is no longer.
const REQUEST_BYTES_MAX: usize = 4 << 20;
const HEAD_TIME: Duration = Duration::from_secs(10);
const NAME_CHARS_MAX: usize = 64;
const MIRRORS_MAX: usize = 16;

/// How a gateway stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GatewayStatus {
    /// Where clients come to.
    pub listen: String,
    /// Requests answered.
    pub requests: u64,
    /// Those of them that production did not answer.
    pub failed: u64,
    /// Memory for copies that is taken, in bytes.
    pub mirror_bytes: u64,
    /// As much as may be taken.
    pub mirror_bytes_max: u64,
    /// Its routes.
    pub routes: Vec<RouteStatus>,
    /// Its mirrors.
    pub mirrors: Vec<MirrorStatus>,
    /// Certificates clients are served with, if there are any.
    #[serde(default)]
    pub tls: Option<TlsStatus>,
    /// Its access log, if there is one.
    #[serde(default)]
    pub access_log: Option<LogStatus>,
    /// Connections the gateway closed, and bodies it broke off, by cause.
    #[serde(default)]
    pub closed: Vec<ClosedStatus>,
}

/// How a route stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RouteStatus {
    /// Its name.
    pub name: String,
    /// Its targets.
    pub targets: Vec<TargetStatus>,
}

/// How a target of a route stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TargetStatus {
    /// Where it is.
    pub to: String,
    /// Its part of all weights of the route.
    pub weight: f64,
    /// Whether its health checks are answered well.
    pub well: bool,
    /// Whether it is left out for a while because of its answers.
    pub ejected: bool,
    /// Requests it was asked, on all routes.
    pub requests: u64,
    /// Those it did not answer, or answered with a server error.
    pub failures: u64,
}

/// How a mirror stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MirrorStatus {
    /// Its name.
    pub name: String,
    /// Where copies go.
    pub to: String,
    /// What its answers are for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// How much is mirrored, in percent.
    pub percent: f64,
    /// By what sessions are told that are mirrored whole; each request is chosen by itself, if
    /// there is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<String>,
    /// Requests its filter let through.
    pub seen: u64,
    /// Those of them that could not be chosen, since they are of no session.
    #[serde(default)]
    pub no_session: u64,
    /// What became of those that were chosen.
    pub counted: Counted,
}

/// A mirror to begin, or to change.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartMirror {
    /// `HOST:PORT`.
    pub to: String,
    /// How much, in percent; text, so that it is exact.
    pub percent: String,
    /// Only these methods; all, if there are none.
    #[serde(default)]
    pub methods: Vec<String>,
    /// Only paths that begin so.
    #[serde(default)]
    pub path_prefix: String,
    /// Only with all of these headers, of these values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// Only of this route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// `cookie:NAME`, `header:NAME` or `address`: sessions told by that are mirrored whole or not
    /// at all; each request is chosen by itself, if there is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<String>,
    /// What sessions are hashed with, so that other gateways and later ones choose the same; that
    /// of the mirror of this name before, or another one, if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// The shadow's `Host`; production's, if there is none.
    #[serde(default)]
    pub host: Option<String>,
    /// Requests under way at once.
    #[serde(default)]
    pub in_flight_max: Option<usize>,
    /// Bytes of a body that are copied.
    #[serde(default)]
    pub body_bytes_max: Option<u64>,
    /// How long a request to the shadow may take.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
    /// What its answers are for: nothing, if this is not said.
    #[serde(default)]
    pub role: Option<Role>,
    /// How much longer than production a slow answer of the candidate's takes, in percent.
    #[serde(default)]
    pub slower_percent: Option<u32>,
    /// Parts of names of fields whose values are not shown, beside the usual ones.
    #[serde(default)]
    pub masks: Vec<String>,
}

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
                    hand_over::PATH => control.hand_over(request, &estate),
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
                return answer(StatusCode::OK, FORMAT, [page, clients, captures].concat());
            }
            (&Method::GET, "/v1/gateway", _) => Ok(json(&self.status())),
            (&Method::GET, "/v1/routes/status", _) => {
                let routes = self.proxy.routes();
                Ok(json(&routes.all().iter().map(route_status).collect::<Vec<_>>()))
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
            _ => match capture {
                Some(name) => self.capture(name, request).await.map(|status| json(&status)),
                None => Err(WireError::new(ErrorCode::NotFound, format!("find {path:?} here"))),
            },
        };
        answered.unwrap_or_else(|error| refused(&error))
    }

    /// Gives everything to a successor, once that serves.
    fn hand_over(&self, mut request: Request<Incoming>, estate: &Arc<Estate>) -> Answer {
        let wants = request.headers().get(UPGRADE).is_some_and(|to| to == hand_over::PROTOCOL);
        if *request.method() != Method::POST || !wants {
            let message = format!("hand over: expected POST with Upgrade: {}", hand_over::PROTOCOL);
            return refused(&WireError::new(ErrorCode::BadRequest, message));
        }
        let Some(claimed) = estate.claim() else { return refused(&taken()) };
        // After that nothing is changed any more.
        let mirrors = self.proxy.mirrors();
        let mirrors = mirrors.iter().map(|mirror| (mirror.name().to_owned(), begun(mirror)));
        let will = Will {
            inode: estate.socket().inode(),
            routes: Some(self.proxy.routes().inherited()),
            mirrors: mirrors.collect(),
        };
        tokio::spawn(offer(claimed, hyper::upgrade::on(&mut request), will));
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

    /// How everything stands.
    pub fn status(&self) -> GatewayStatus {
        let metrics = self.proxy.metrics();
        let taken = self.memory_bytes_max.saturating_sub(self.memory.available_permits());
        GatewayStatus {
            listen: self.listen.clone(),
            requests: metrics.requests(),
            failed: metrics.failed(),
            mirror_bytes: taken as u64,
            mirror_bytes_max: self.memory_bytes_max as u64,
            routes: self.proxy.routes().all().iter().map(route_status).collect(),
            mirrors: statuses(&self.proxy.mirrors()),
            tls: self.front.tls_status(),
            access_log: self.front.log_status(),
            closed: self.front.closed_status(),
        }
    }

    /// Puts other routes into force. Targets both have keep their connections and their health.
    ///
    /// # Errors
    /// There can be no such routes; those in force stay.
    pub fn route(&self, setup: RoutesSetup) -> Result<Vec<RouteStatus>, WireError> {
        let change = |before: &Routes| before.changed(setup, &self.trust);
        let routes = self.proxy.change_routes(change).map_err(bad)?;
        Ok(routes.all().iter().map(route_status).collect())
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

    /// Begins to mirror, or goes on otherwise under a name that mirrors already.
    ///
    /// # Errors
    /// What is wanted makes no sense.
    pub fn start(&self, name: &str, wanted: StartMirror) -> Result<MirrorStatus, WireError> {
        let routes = self.proxy.routes();
        let is_there = |wanted: &&str| routes.all().iter().any(|route| route.name() == *wanted);
        if let Some(none) = wanted.route.as_deref().filter(|route| !is_there(route)) {
            let none: String = none.chars().take(NAME_CHARS_MAX).collect();
            let error = WireError::new(ErrorCode::BadRequest, format!("find a route {none:?}"));
            return Err(error.with_hint("`umbra route list` lists routes"));
        }
        self.resume(name, wanted)
    }

    /// Begins to mirror what somebody else did so far: its route may be gone meanwhile.
    pub(crate) fn resume(
        &self,
        name: &str,
        wanted: StartMirror,
    ) -> Result<MirrorStatus, WireError> {
        let mirrors = self.proxy.mirrors();
        let mut settings = settings(name, &wanted)?;
        if let (Some(sessions), None) = (&mut settings.sessions, &wanted.secret) {
            // Whoever changes the percentage only adds sessions, or takes some away.
            let before = mirrors.iter().find(|mirror| mirror.name() == name);
            let before = before.and_then(|before| before.settings().sessions.as_ref());
            if let Some(before) = before.filter(|before| before.by == sessions.by) {
                sessions.secret.clone_from(&before.secret);
            }
        }
        let to: Target = wanted.to.parse().map_err(bad)?;
        let others = mirrors.iter().filter(|mirror| mirror.name() != name).count();
        if others >= MIRRORS_MAX {
            return Err(WireError::new(
                ErrorCode::Conflict,
                format!("mirror to {name:?}: there are {MIRRORS_MAX} mirrors"),
            ));
        }
        let taken = settings.role.and_then(|role| mirrors.with(role));
        if let Some(taken) = taken.filter(|mirror| mirror.name() != name) {
            let message = format!("mirror to {name:?}: {:?} has its role", taken.name());
            return Err(WireError::new(ErrorCode::Conflict, message)
                .with_hint("`umbra mirror stop NAME` ends one"));
        }
        let memory = Arc::clone(&self.memory);
        let shadow = Upstream::new(to, &self.trust).map_err(bad)?;
        let mirror = Arc::new(Mirror::new(settings, shadow, memory, seed()));
        self.proxy.change_mirrors(|mirrors| {
            let others = mirrors.iter().filter(|one| one.name() != name).cloned();
            others.chain([Arc::clone(&mirror)]).collect()
        });
        Ok(status(&self.proxy.mirrors(), &mirror))
    }

    /// Mirrors no more under this name; what is under way ends by itself.
    ///
    /// # Errors
    /// There is no such mirror.
    pub fn stop(&self, name: &str) -> Result<MirrorStatus, WireError> {
        let mut stopped = None;
        self.proxy.change_mirrors(|mirrors| {
            stopped = mirrors.iter().find(|one| one.name() == name).cloned();
            mirrors.iter().filter(|one| one.name() != name).cloned().collect()
        });
        let stopped = stopped.map(|mirror| status(&self.proxy.mirrors(), &mirror));
        stopped.ok_or_else(|| {
            let name: String = name.chars().take(NAME_CHARS_MAX).collect();
            WireError::new(ErrorCode::NotFound, format!("find a mirror {name:?}"))
                .with_hint("`umbra mirror status` lists mirrors")
        })
    }
}

fn route_status(route: &Route) -> RouteStatus {
    let target = |(backend, weight): &(Arc<Backend>, f64)| {
        let (requests, failures) = backend.asked();
        let (well, ejected) = backend.standing();
        let to = backend.upstream().target().to_string();
        TargetStatus { to, weight: *weight, well, ejected, requests, failures }
    };
    let targets = route.targets().iter().map(target).collect();
    RouteStatus { name: route.name().to_owned(), targets }
}

fn statuses(mirrors: &Mirrors) -> Vec<MirrorStatus> {
    mirrors.iter().map(|mirror| status(mirrors, mirror)).collect()
}

fn status(mirrors: &Mirrors, mirror: &Mirror) -> MirrorStatus {
    let chooser = mirrors.chooser(mirror);
    MirrorStatus {
        name: mirror.name().to_owned(),
        to: mirror.shadow().target().to_string(),
        role: mirror.settings().role,
        percent: chooser.map_or(0.0, |chooser| chooser.settings().fraction.percent()),
        sessions: chooser
            .and_then(|chooser| chooser.settings().sessions.as_ref())
            .map(|one| one.by.to_string()),
        seen: chooser.map_or(0, Mirror::seen),
        no_session: chooser.map_or(0, Mirror::no_session),
        counted: mirror.counted(),
    }
}

/// What was asked for to begin it.
pub fn begun(mirror: &Mirror) -> StartMirror {
    let Settings { fraction, filter, sessions, host, limits, role, compare, .. } =
        mirror.settings();
    // Their values were text, if not always ASCII.
    let header = |(name, value): &(HeaderName, HeaderValue)| {
        Some((name.to_string(), std::str::from_utf8(value.as_bytes()).ok()?.to_owned()))
    };
    let is_candidate = *role == Some(Role::Candidate);
    StartMirror {
        to: mirror.shadow().target().to_string(),
        percent: fraction.percent().to_string(),
        methods: filter.methods.iter().map(ToString::to_string).collect(),
        path_prefix: filter.path_prefix.clone(),
        headers: filter.headers.iter().filter_map(header).collect(),
        route: filter.route.clone(),
        sessions: sessions.as_ref().map(|sessions| sessions.by.to_string()),
        secret: sessions.as_ref().map(|sessions| sessions.secret.clone()),
        host: host.as_ref().and_then(|host| host.to_str().ok()).map(str::to_owned),
        in_flight_max: Some(limits.in_flight_max),
        body_bytes_max: Some(limits.body_bytes_max),
        timeout_ms: u64::try_from(limits.timeout.as_millis()).ok(),
        role: *role,
        slower_percent: is_candidate.then_some(compare.slower_percent),
        masks: compare.masks.added().to_vec(),
    }
}

/// What a mirror of this name is to do.
///
/// # Errors
/// What is wanted makes no sense.
pub fn settings(name: &str, wanted: &StartMirror) -> Result<Settings, WireError> {
    if !is_name(name) {
        let message = format!("name a mirror: up to {NAME_CHARS_MAX} letters, digits, - _ .");
        return Err(WireError::new(ErrorCode::BadRequest, message));
    }
    let usual = Limits::default();
    let fraction: Fraction = wanted.percent.parse().map_err(bad)?;
    let filter = wanted::filter(wanted)?;
    let sessions = wanted::sessions(wanted, || format!("{:016x}{:016x}", seed(), seed()))?;
    let host = wanted.host.as_deref().map(host).transpose()?;
    let timeout = wanted.timeout_ms.map_or(usual.timeout, Duration::from_millis);
    let chooses = fraction != Fraction::ALL || !filter.is_empty() || sessions.is_some();
    let compare = compared(wanted, chooses)?;
    Ok(Settings {
        name: name.to_owned(),
        filter,
        fraction,
        sessions,
        host,
        limits: Limits {
            in_flight_max: wanted.in_flight_max.unwrap_or(usual.in_flight_max).min(IN_FLIGHT_MAX),
            body_bytes_max: wanted.body_bytes_max.unwrap_or(usual.body_bytes_max),
            timeout,
            ..usual
        },
        role: wanted.role,
        compare,
    })
}

const MASKS_MAX: usize = 64;
const SLOWER_PERCENT_MAX: u32 = 10_000;

/// How answers are compared, where they are to be.
fn compared(wanted: &StartMirror, chooses: bool) -> Result<compare::Settings, WireError> {
    let refused = |why: &str| Err(WireError::new(ErrorCode::BadRequest, why.to_owned()));
    if wanted.role == Some(Role::Baseline) && chooses {
        return refused("choose requests for a baseline: it gets those of the candidate");
    }
    let set = wanted.slower_percent.is_some() || !wanted.masks.is_empty();
    if wanted.role != Some(Role::Candidate) && set {
        return refused("compare answers of what is no candidate");
    }
    let too_long = wanted.masks.iter().any(|mask| mask.len() > NAME_CHARS_MAX);
    if wanted.masks.len() > MASKS_MAX || too_long {
        return refused("mask fields: up to 64 parts of names, of up to 64 bytes each");
    }
    let usual = compare::Settings::default();
    let slower_percent = wanted.slower_percent.unwrap_or(usual.slower_percent);
    if !(1..=SLOWER_PERCENT_MAX).contains(&slower_percent) {
        return refused("call an answer slow: that is from 1 to 10000 percent slower");
    }
    Ok(compare::Settings { slower_percent, masks: Masks::and(&wanted.masks) })
}

fn host(name: &str) -> Result<HeaderValue, WireError> {
    let value = HeaderValue::from_str(name).ok().filter(|value| is_host(value.as_bytes()));
    value.ok_or_else(|| {
        let shown: String = name.chars().take(NAME_CHARS_MAX).collect();
        WireError::new(ErrorCode::BadRequest, format!("read {shown:?} as a host's name"))
    })
}

/// A semaphore holds no more.
const IN_FLIGHT_MAX: usize = 1 << 20;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_mirror_is_begun_again_as_it_was() {
        let full = r#"{"to":"127.0.0.1:9","percent":"0.001","methods":["GET","PURGE"],
            "path_prefix":"/a","headers":[["x-env","a b"],["x-name","\u00e9"]],"route":"shop","sessions":"cookie:sid",
            "secret":"s","host":"b:80","in_flight_max":7,"body_bytes_max":9,"timeout_ms":11}"#;
        let short = r#"{"to":"app.internal:80","percent":"12.5%"}"#;
        let drawn = r#"{"to":"app.internal:80","percent":"5","sessions":"address"}"#;
        for text in [full, short, drawn] {
            let wanted: StartMirror = serde_json::from_str(text).unwrap();
            let is = settings("one", &wanted).unwrap();
            let shadow = Upstream::new(wanted.to.parse().unwrap(), &Trust::default()).unwrap();
            let mirror = Mirror::new(is.clone(), shadow, Arc::new(Semaphore::new(1)), 1);
            let again = begun(&mirror);
            assert_eq!(again.to, wanted.to);
            let again = settings("one", &again).unwrap();
            assert_eq!(format!("{again:?}"), format!("{is:?}"), "{text}");
            assert_eq!(again.sessions, is.sessions, "{text}");
        }
    }
}
