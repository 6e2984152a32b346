//! One request's way to production and back.
//!
//! ```text
//! client ── head checked and cleaned ── route ── copies begun ──> target ── head cleaned ──> client
//!                                          │ body, as it streams
//!                                          v
//!                                       shadows
//! ```

mod ask;
mod instead;

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::task::Poll;
use std::time::{Duration, Instant};

use http_body::Body;
use hyper::ext::on_informational;
use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;

use self::ask::ask;
use self::instead::Instead;
use crate::body::Passing;
use crate::capture::{Captures, Tapes};
use crate::compare::keep::watched;
use crate::headers::{Client, forwarded, pass_on, settle_framing, strip};
use crate::interim::Interim;
use crate::listen::received::Received;
use crate::metrics::{Cause, Metrics};
use crate::mirror::{Mirror, Mirrors, Offered};
use crate::routes::Routes;
use crate::split::splits::Splits;
use crate::upstream::Answer;

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

/// Where requests go and what is copied of them, at one time. Never changed: another one is put
/// in its place, and no request sees half of either.
#[derive(Debug)]
struct InForce {
    routes: Arc<Routes>,
    mirrors: Arc<Mirrors>,
}

/// What is in front of production.
#[derive(Debug)]
pub struct Proxy {
    in_force: RwLock<Arc<InForce>>,
    /// Whoever makes another: requests do not wait until it is made.
    changing: Mutex<()>,
    rules: Rules,
    captures: Captures,
    splits: Splits,
    metrics: Metrics,
    instead: Instead,
}

impl Proxy {
    /// With these routes and no mirrors.
    pub fn new(routes: Routes, rules: Rules) -> Self {
        let in_force = InForce { routes: Arc::new(routes), mirrors: Arc::default() };
        let (captures, splits) = (Captures::default(), Splits::default());
        let in_force = RwLock::new(Arc::new(in_force));
        let (changing, instead) = (Mutex::default(), Instead::default());
        let metrics = Metrics::default();
        Self { in_force, changing, rules, captures, splits, metrics, instead }
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn in_force(&self) -> Arc<InForce> {
        Arc::clone(&self.in_force.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The routes in force.
    pub fn routes(&self) -> Arc<Routes> {
        Arc::clone(&self.in_force().routes)
    }

    /// The captures in force.
    pub fn captures(&self) -> &Captures {
        &self.captures
    }

    /// Whoever splits a route's sessions does it there.
    pub fn splits(&self) -> &Splits {
        &self.splits
    }

    /// The mirrors in force.
    pub fn mirrors(&self) -> Arc<Mirrors> {
        Arc::clone(&self.in_force().mirrors)
    }

    /// Puts other routes into force, from one request to the next, and returns them.
    ///
    /// # Errors
    /// There can be no such routes; then nothing changes.
    pub fn change_routes<E>(
        &self,
        change: impl FnOnce(&Routes) -> Result<Routes, E>,
    ) -> Result<Arc<Routes>, E> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.in_force();
        let routes = Arc::new(change(&before.routes)?);
        let mirrors = Arc::clone(&before.mirrors);
        self.put(InForce { routes: Arc::clone(&routes), mirrors });
        Ok(routes)
    }

    /// Puts other mirrors into force, from one request to the next, and returns them.
    ///
    /// # Errors
    /// There can be no such mirrors; then nothing changes.
    pub fn change_mirrors<E>(
        &self,
        change: impl FnOnce(&Mirrors) -> Result<Vec<Arc<Mirror>>, E>,
    ) -> Result<Arc<Mirrors>, E> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.in_force();
        let mirrors = Arc::new(before.mirrors.become_these(change(&before.mirrors)?));
        let routes = Arc::clone(&before.routes);
        self.put(InForce { routes, mirrors: Arc::clone(&mirrors) });
        Ok(mirrors)
    }

    fn put(&self, next: InForce) {
        *self.in_force.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
    }

    /// Answers one request of a client.
    pub async fn answer(&self, request: Request<Received>, client: &Client) -> Response<Passing> {
        let began = Instant::now();
        let version = request.version();
        let answer = match self.pass(request, client, began).await {
            Ok(answer) => answer,
            Err((cause, sentence)) => {
                self.metrics.caused(cause);
                let mut answer = self.instead.answer(cause, &sentence);
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
        request: Request<Received>,
        client: &Client,
        began: Instant,
    ) -> Result<Response<Passing>, (Cause, String)> {
        let hears_early = request.version() == Version::HTTP_11;
        let (mut head, body) = request.into_parts();
        let upgrade =
            pass_on(&mut head).map_err(|refused| (Cause::Refused, refused.to_string()))?;
        let in_force = self.in_force();
        let route = in_force.routes.route(&head);
        let route = route.ok_or_else(|| (Cause::NoRoute, "nothing is served there".to_owned()))?;
        let way = in_force.routes.way(route, &head, client.source().ip());
        let mut watch = way.as_ref().and_then(|way| way.watch(route, began));
        let tapes = match &upgrade {
            Some(_) => Tapes::default(),
            None => {
                let offered =
                    Offered { head: &head, route: route.name(), client: client.source().ip() };
                self.captures.tapes(&offered, client)
            }
        };
        let has_body = !body.is_end_stream();
        forwarded(&mut head.headers, client, self.rules.trust_forwarded);
        let upgrade = upgrade.and_then(|_| head.extensions.remove::<OnUpgrade>());
        let announced = route.announces() || in_force.mirrors.announce();
        if let Some(ends) = client.ends().filter(|_| announced) {
            head.extensions.insert(ends);
        }
        let (copies, keep) = match upgrade {
            // What becomes of the connection then is no request and answer any more.
            Some(_) => (Vec::new(), None),
            None => {
                let client = client.source().ip();
                let offered = Offered { head: &head, route: route.name(), client };
                in_force.mirrors.begin(&offered, has_body)
            }
        };
        let body = tapes.request(Passing::copied(body, copies));
        let mut request = Box::new(Request::from_parts(head, body));
        if let Some(interim) = client.interim().filter(|_| hears_early) {
            hear_early(&mut request, interim, has_body).await;
        }
        let time = route.answer_time().unwrap_or(self.rules.answer_time);
        let answer = ask(route, way.as_ref(), request, time, watch.as_mut()).await;
        let answer = answer.and_then(|mut answer| {
            if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
                return switch(answer, upgrade);
            }
            // A client that takes it the other way would read another answer out of its body.
            settle_framing(answer.headers_mut())
                .map_err(|refused| (Cause::Broken, refused.to_string()))?;
            strip(answer.headers_mut());
            if let Some(way) = way {
                way.tell(answer.headers_mut(), client.proto() == "https");
            }
            Ok(tapes.answer(watched(answer, keep)))
        });
        match watch {
            None => answer,
            Some(watch) => watch.settled(answer),
        }
    }
}

/// Has a client hear what the target says before its answer.
async fn hear_early(request: &mut Request<Passing>, interim: &Interim, has_body: bool) {
    if has_body {
        // The target's connection is polled by another task then.
        poll_fn(|context| {
            interim.wake(context.waker());
            Poll::Ready(())
        })
        .await;
    }
    let interim = interim.clone();
    on_informational(request, move |early| interim.push(early.status(), early.headers()));
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
