//! Which target a request goes to.
//!
//! ```text
//! head ── first route that matches ── session ── weights, of targets that are well ──> target
//! ```
//!
//! Routes are never changed: others are made and put in their place at once, with the targets
//! (their connections, their health) that both have.

mod backend;
pub mod file;
pub(crate) mod matching;
pub mod session;
pub mod setup;
mod standing;
pub(crate) mod weigh;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::HeaderMap;
use hyper::http::request::Parts;
use serde::{Deserialize, Serialize};

pub use backend::Backend;
pub use setup::{RouteSetup, RoutesSetup, SetupError};

use self::backend::Kind;
use self::matching::Match;
use self::session::{Session, Sticky, set_cookie};
use self::weigh::Salt;
use crate::fraction::mixed;
use crate::upstream::{Trust, TrustError};

/// All routes in force.
#[derive(Debug)]
pub struct Routes {
    /// What they are made of.
    of: Inherited,
    routes: Vec<Route>,
    /// What sessions that are none are numbered from.
    alone: AtomicU64,
}

/// One route.
#[derive(Debug)]
pub struct Route {
    name: String,
    matching: Match,
    targets: Vec<(Arc<Backend>, f64)>,
    sticky: Option<Sticky>,
    answer_time: Option<Duration>,
}

/// Why there are no such routes.
#[derive(Debug, thiserror::Error)]
pub enum RoutesError {
    /// They make no sense.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// Nobody could be trusted.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

/// Routes as a gateway leaves them to its successor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inherited {
    /// What they were made of.
    pub setup: RoutesSetup,
    /// What sessions are hashed with.
    salt: Salt,
}

/// Where a request goes.
#[derive(Debug)]
pub struct Way {
    session: u64,
    /// The cookie by which the session is told of from now on.
    cookie: Option<String>,
}

impl Routes {
    /// Routes as `setup` says. Within a runtime.
    ///
    /// # Errors
    /// There can be no such routes.
    pub fn new(setup: RoutesSetup, trust: &Trust) -> Result<Self, RoutesError> {
        let salt = Salt::new(setup.secret.as_deref());
        Self::of(Inherited { setup, salt }, trust, None)
    }

    /// Routes in the place of these, with the targets both have. Sessions only move where weights
    /// say so.
    ///
    /// # Errors
    /// There can be no such routes.
    pub fn changed(&self, setup: RoutesSetup, trust: &Trust) -> Result<Self, RoutesError> {
        Self::of(self.of.changed(setup), trust, Some(self))
    }

    /// Routes that go on where those of another gateway end, unless they have another secret.
    ///
    /// # Errors
    /// There can be no such routes.
    pub fn after(
        inherited: &Inherited,
        setup: RoutesSetup,
        trust: &Trust,
    ) -> Result<Self, RoutesError> {
        Self::of(inherited.changed(setup), trust, None)
    }

    /// What another gateway needs to go on with them.
    pub fn inherited(&self) -> &Inherited {
        &self.of
    }

    fn of(of: Inherited, trust: &Trust, before: Option<&Self>) -> Result<Self, RoutesError> {
        of.setup.check()?;
        let mut routes = Vec::new();
        for one in &of.setup.routes {
            let route = Route::new(one, trust, |kind| {
                let known = before.iter().flat_map(|before| &before.routes).chain(&routes);
                let mut known = known.flat_map(|route| &route.targets);
                known.find(|(one, _)| one.is(kind)).map(|(one, _)| Arc::clone(one))
            })?;
            routes.push(route);
        }
        let alone = AtomicU64::new(of.salt.session(b"alone"));
        Ok(Self { of, routes, alone })
    }

    /// What they were made of.
    pub fn setup(&self) -> &RoutesSetup {
        &self.of.setup
    }

    /// Every route.
    pub fn all(&self) -> &[Route] {
        &self.routes
    }

    /// The route for a request, if there is one.
    pub fn route(&self, head: &Parts) -> Option<&Route> {
        self.routes.iter().find(|route| route.matching.is_for(head))
    }

    /// Which way a request goes on its route. `None` where there is only one.
    pub fn way(&self, route: &Route, head: &Parts, client: IpAddr) -> Option<Way> {
        if route.targets.len() == 1 {
            return None;
        }
        let alone = || mixed(self.alone.fetch_add(1, Ordering::Relaxed));
        let Some(sticky) = &route.sticky else {
            return Some(Way { session: alone(), cookie: None });
        };
        let mut scratch = [0; 16];
        let salt = &self.of.salt;
        let (session, cookie) = match sticky.session(head, client, &mut scratch) {
            Session::Of(of) => (salt.session(of), None),
            Session::Alone => (alone(), None),
            Session::New { cookie } => {
                // What it gets is what it will come back with.
                let given = format!("{:016x}", alone());
                (salt.session(given.as_bytes()), Some(format!("{cookie}={given}")))
            }
        };
        Some(Way { session, cookie })
    }
}

impl Inherited {
    /// Other routes with the same sessions, unless they have another secret.
    fn changed(&self, setup: RoutesSetup) -> Self {
        let is_same = self.setup.secret == setup.secret;
        let salt = if is_same { self.salt.clone() } else { Salt::new(setup.secret.as_deref()) };
        Self { setup, salt }
    }
}

impl Route {
    fn new(
        setup: &RouteSetup,
        trust: &Trust,
        known: impl Fn(&Kind) -> Option<Arc<Backend>>,
    ) -> Result<Self, RoutesError> {
        let mut targets: Vec<(Arc<Backend>, f64)> = Vec::new();
        for one in &setup.targets {
            let kind = Kind {
                target: one.to.parse().map_err(SetupError::from)?,
                send_proxy: one.send_proxy,
                health: setup.health.clone(),
                eject: setup.eject,
            };
            let backend = match known(&kind) {
                Some(backend) => backend,
                None => Backend::new(kind, trust)?,
            };
            targets.push((backend, one.weight));
        }
        Ok(Self {
            name: setup.name.clone(),
            matching: Match::new(setup),
            targets,
            sticky: setup.sticky.as_ref().and_then(Sticky::new),
            answer_time: setup.answer_time(),
        })
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its targets and their weights.
    pub fn targets(&self) -> &[(Arc<Backend>, f64)] {
        &self.targets
    }

    /// Whether a target of it is told whose a connection is.
    pub(crate) fn announces(&self) -> bool {
        self.targets.iter().any(|(one, _)| one.upstream().announces().is_some())
    }

    /// How long a target may take until its answer begins, if that is its own.
    pub fn answer_time(&self) -> Option<Duration> {
        self.answer_time
    }

    /// The target on a way, but not `tried`. Where none is well any one is: checks that are wrong
    /// must not end everything.
    pub fn target(&self, way: Option<&Way>, tried: Option<&Backend>) -> Option<&Arc<Backend>> {
        let Some(way) = way else {
            return self.targets.first().map(|(one, _)| one).filter(|_| tried.is_none());
        };
        let is_tried = |one: &Backend| tried.is_some_and(|tried| std::ptr::eq(one, tried));
        let choose = |is_usable: &dyn Fn(&Backend) -> bool| {
            let targets = self.targets.iter().enumerate();
            let targets = targets.filter(|(_, (one, _))| !is_tried(one) && is_usable(one));
            let targets = targets.map(|(place, (one, weight))| (place, one.identity(), *weight));
            weigh::choose(way.session, targets)
        };
        let place = choose(&Backend::is_usable).or_else(|| choose(&|_| true))?;
        self.targets.get(place).map(|(one, _)| one)
    }
}

impl Way {
    /// Has a client that was in no session come back with one.
    pub fn tell(&self, headers: &mut HeaderMap, secure: bool) {
        if let Some(cookie) = &self.cookie {
            set_cookie(headers, cookie, secure);
        }
    }
}
