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

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hyper::HeaderMap;
use hyper::http::request::Parts;
use serde::{Deserialize, Serialize};

pub use backend::Backend;
pub use setup::{RouteSetup, RoutesSetup, SetupError, TargetSetup};

use self::backend::Kind;
use self::matching::Match;
use self::session::{Session, Sticky, set_cookie};
use self::weigh::Salt;
use crate::fraction::mixed;
use crate::split::arms::{Arms, Managed, Targets};
use crate::split::gate::Assigned;
use crate::split::watch::Watch;
use crate::split::wire::SplitArm;
use crate::upstream::{Trust, TrustError};

/// All routes in force.
#[derive(Debug)]
pub struct Routes {
    /// What they are made of.
    of: Inherited,
    routes: Vec<Route>,
    /// What somebody says of them beside that, by name.
    managed: BTreeMap<String, Managed>,
    /// What sessions that are none are numbered from.
    alone: AtomicU64,
}

/// One route.
#[derive(Debug)]
pub struct Route {
    name: String,
    matching: Match,
    targets: Targets,
    sticky: Option<Sticky>,
    answer_time: Option<Duration>,
    arms: Option<Arms>,
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
    /// One that a rollout manages would not be there, or not the same.
    #[error("change route {route:?}, which rollout {rollout} manages: {why}")]
    Managed {
        /// Which.
        route: String,
        /// Whose.
        rollout: u64,
        /// What is in the way.
        why: &'static str,
    },
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
    /// Its arm, where sessions are split.
    assigned: Option<Assigned>,
}

impl Routes {
    /// Routes as `setup` says. Within a runtime.
    ///
    /// # Errors
    /// There can be no such routes.
    pub fn new(setup: RoutesSetup, trust: &Trust) -> Result<Self, RoutesError> {
        let salt = Salt::new(setup.secret.as_deref());
        Self::of(Inherited { setup, salt }, BTreeMap::new(), trust, None)
    }

    /// Routes in the place of these, with the targets both have. Sessions only move where weights
    /// say so.
    ///
    /// # Errors
    /// There can be no such routes.
    pub fn changed(&self, setup: RoutesSetup, trust: &Trust) -> Result<Self, RoutesError> {
        for (name, managed) in &self.managed {
            let named = |of: &RoutesSetup| of.routes.iter().find(|one| one.name == *name).cloned();
            let why = match (named(self.setup()), named(&setup)) {
                (Some(before), Some(next)) => managed.conflict(&before, &next),
                _ => Some("it would not be there any more"),
            };
            if let Some(why) = why {
                let (route, rollout) = (name.clone(), managed.rollout);
                return Err(RoutesError::Managed { route, rollout, why });
            }
        }
        Self::of(self.of.changed(setup), self.managed.clone(), trust, Some(self))
    }

    /// The same routes, of which somebody else says this.
    ///
    /// # Errors
    /// There can be no such targets.
    pub(crate) fn managing(
        &self,
        managed: BTreeMap<String, Managed>,
        trust: &Trust,
    ) -> Result<Self, RoutesError> {
        Self::of(self.of.clone(), managed, trust, Some(self))
    }

    /// What somebody says of them beside their setup, by name.
    pub(crate) fn managed(&self) -> &BTreeMap<String, Managed> {
        &self.managed
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
        Self::of(inherited.changed(setup), BTreeMap::new(), trust, None)
    }

    /// What another gateway needs to go on with them.
    pub fn inherited(&self) -> &Inherited {
        &self.of
    }

    fn of(
        of: Inherited,
        managed: BTreeMap<String, Managed>,
        trust: &Trust,
        before: Option<&Self>,
    ) -> Result<Self, RoutesError> {
        of.setup.check()?;
        let mut routes: Vec<Route> = Vec::new();
        for one in &of.setup.routes {
            let route = Route::new(one, managed.get(&one.name), trust, |kind| {
                let known = before.iter().flat_map(|before| &before.routes).chain(&routes);
                let mut known = known.flat_map(Route::every_target);
                known.find(|(one, _)| one.is(kind)).map(|(one, _)| Arc::clone(one))
            })?;
            routes.push(route);
        }
        let alone = AtomicU64::new(of.salt.session(b"alone"));
        Ok(Self { of, routes, managed, alone })
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
        let split = route.arms.as_ref().map(|arms| &arms.split);
        if route.targets.len() == 1 && split.is_none() {
            return None;
        }
        let alone = || {
            let session = mixed(self.alone.fetch_add(1, Ordering::Relaxed));
            let assigned = split.map(|split| split.assign_alone(session));
            Way { session, cookie: None, assigned }
        };
        let Some(sticky) = &route.sticky else { return Some(alone()) };
        let told = |of: &[u8], cookie| {
            let assigned = split.map(|split| split.assign(of));
            Way { session: self.of.salt.session(of), cookie, assigned }
        };
        let mut scratch = [0; 16];
        Some(match sticky.session(head, client, &mut scratch) {
            Session::Of(of) => told(of, None),
            Session::Alone => alone(),
            Session::New { cookie } => {
                // What it gets is what it will come back with.
                let given = mixed(self.alone.fetch_add(1, Ordering::Relaxed));
                let given = format!("{given:016x}");
                told(given.as_bytes(), Some(format!("{cookie}={given}")))
            }
        })
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
        managed: Option<&Managed>,
        trust: &Trust,
        known: impl Fn(&Kind) -> Option<Arc<Backend>>,
    ) -> Result<Self, RoutesError> {
        let targets = |of: &[TargetSetup]| Self::targets_of(of, setup, trust, &known);
        let own = managed.and_then(|managed| managed.assigned.as_ref()).unwrap_or(&setup.targets);
        let split = managed.and_then(|managed| managed.split.as_ref());
        Ok(Self {
            name: setup.name.clone(),
            matching: Match::new(setup),
            targets: targets(own)?,
            sticky: setup.sticky.as_ref().and_then(Sticky::new),
            answer_time: setup.answer_time(),
            arms: split.map(|split| Arms::new(split, targets)).transpose()?,
        })
    }

    fn targets_of(
        of: &[TargetSetup],
        setup: &RouteSetup,
        trust: &Trust,
        known: impl Fn(&Kind) -> Option<Arc<Backend>>,
    ) -> Result<Targets, RoutesError> {
        let mut targets = Targets::new();
        for one in of {
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
        Ok(targets)
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
        self.every_target().any(|(one, _)| one.upstream().announces().is_some())
    }

    /// Those of its own, and of its other arms.
    fn every_target(&self) -> impl Iterator<Item = &(Arc<Backend>, f64)> {
        self.targets.iter().chain(self.arms.iter().flat_map(Arms::others))
    }

    /// The targets of an arm; none of one that is not there.
    pub(crate) fn arm(&self, arm: SplitArm) -> &Targets {
        match &self.arms {
            Some(arms) => arms.targets(arm, &self.targets),
            None => &self.targets,
        }
    }

    /// Its arms, where its sessions are split.
    pub(crate) fn arms(&self) -> Option<&Arms> {
        self.arms.as_ref()
    }

    /// How long a target may take until its answer begins, if that is its own.
    pub fn answer_time(&self) -> Option<Duration> {
        self.answer_time
    }

    /// The target on a way, but not `tried`. Where none is well any one is: checks that are wrong
    /// must not end everything. Where an arm's target was tried another is the baseline's, so that
    /// whoever asks is served.
    pub fn target(&self, way: Option<&Way>, tried: Option<&Backend>) -> Option<&Arc<Backend>> {
        let Some(way) = way else {
            return self.targets.first().map(|(one, _)| one).filter(|_| tried.is_none());
        };
        let targets = match (&self.arms, way.assigned, tried) {
            (Some(arms), Some(assigned), None) => arms.targets(assigned.arm, &self.targets),
            _ => &self.targets,
        };
        let is_tried = |one: &Backend| tried.is_some_and(|tried| std::ptr::eq(one, tried));
        let choose = |is_usable: &dyn Fn(&Backend) -> bool| {
            let targets = targets.iter().enumerate();
            let targets = targets.filter(|(_, (one, _))| !is_tried(one) && is_usable(one));
            let targets = targets.map(|(place, (one, weight))| (place, one.identity(), *weight));
            weigh::choose(way.session, targets)
        };
        let place = choose(&Backend::is_usable).or_else(|| choose(&|_| true))?;
        targets.get(place).map(|(one, _)| one)
    }
}

impl Way {
    /// Begins to watch what becomes of a request on it, where sessions are split.
    pub(crate) fn watch(&self, route: &Route, began: Instant) -> Option<Watch> {
        let (arms, assigned) = (route.arms.as_ref()?, self.assigned?);
        Some(Watch::new(Arc::clone(&arms.split), assigned, began))
    }

    /// Has a client that was in no session come back with one.
    pub fn tell(&self, headers: &mut HeaderMap, secure: bool) {
        if let Some(cookie) = &self.cookie {
            set_cookie(headers, cookie, secure);
        }
    }
}
