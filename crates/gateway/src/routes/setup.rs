//! What routes are to be, as it is told and kept.

use std::time::Duration;

use hyper::Method;
use hyper::header::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::headers::is_host;
use crate::listen::proxy_header::Version;
use crate::upstream::{NoTarget, Target};

/// So many routes.
pub const ROUTES_MAX: usize = 256;
/// And so many targets each.
pub const TARGETS_MAX: usize = 64;
const NAME_CHARS_MAX: usize = 64;

/// All routes of a gateway; the first that matches a request is taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoutesSetup {
    /// At least one.
    pub routes: Vec<RouteSetup>,
    /// A secret sticky sessions are hashed with, so that other gateways and later ones send them
    /// to the same targets; another one each time if there is none.
    #[serde(default)]
    pub secret: Option<String>,
}

/// Which requests go to which targets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteSetup {
    /// What people call it.
    pub name: String,
    /// Only these hosts: `shop.example`, or `*.example` for every name below; all, if there are
    /// none.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Only this path and what is below it.
    #[serde(default)]
    pub path: Option<String>,
    /// Only these methods; all, if there are none.
    #[serde(default)]
    pub methods: Vec<String>,
    /// Only with all of these headers, of these values.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// Where they go: one of them at least has a weight above 0. Where there are none, nobody is
    /// answered until something is assigned to it.
    pub targets: Vec<TargetSetup>,
    /// What makes requests stay with a target; each goes its own way if there is nothing.
    #[serde(default)]
    pub sticky: Option<StickySetup>,
    /// How targets are asked whether they are well; they are taken to be if there is nothing.
    #[serde(default)]
    pub health: Option<HealthSetup>,
    /// When a target is left out for a while because of its answers; never if there is nothing.
    #[serde(default)]
    pub eject: Option<EjectSetup>,
    /// How long a target may take until its answer begins, instead of what the gateway allows.
    #[serde(default)]
    pub answer_time_ms: Option<u64>,
}

/// A target of a route.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetSetup {
    /// `HOST:PORT`, or one behind `https://` or `h2c://`.
    pub to: String,
    /// Its share is this part of all weights; 0 for nothing.
    pub weight: f64,
    /// It is told whose a connection is by a PROXY protocol header of this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_proxy: Option<Version>,
}

/// By what requests are told to be of one session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum StickySetup {
    /// The value of a cookie, which is set where it is missing.
    Cookie(String),
    /// The value of a header.
    Header(String),
    /// The address of the client.
    Address,
}

/// How a target is asked whether it is well.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthSetup {
    /// `GET` of this path must be answered below 400.
    pub path: String,
    /// How often.
    pub every_ms: u64,
    /// Within which time.
    pub timeout_ms: u64,
    /// So many good answers in a row make it well.
    pub rise: u32,
    /// So many bad ones make it unwell.
    pub fall: u32,
}

/// When a target is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EjectSetup {
    /// So many failures in a row: no answer, or one of 500 to 599.
    pub failures: u32,
    /// For so long; the second time twice as long, and so on up to ten times.
    pub for_ms: u64,
}

/// What of a route makes no sense.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SetupError {
    /// None, or too many.
    #[error("have 1 to {ROUTES_MAX} routes, not {0}")]
    Routes(usize),
    /// No name, or one that stands there already.
    #[error("name a route {0:?}: up to {NAME_CHARS_MAX} letters, digits, - _ . and each name once")]
    Name(String),
    /// None, too many, or none that would get anything.
    #[error("give route {0:?} up to {TARGETS_MAX} targets, one of a weight above 0 among them")]
    Targets(String),
    /// It cannot be a weight.
    #[error("weigh a target of route {0:?} by {1}: a weight is a number from 0 to 1000000")]
    Weight(String, f64),
    /// It cannot be a target.
    #[error(transparent)]
    Target(#[from] NoTarget),
    /// Something else it matches by, or is sticky by.
    #[error("read {what} {text:?} of route {route:?}")]
    Part {
        /// What it should be.
        what: &'static str,
        /// As it was written.
        text: String,
        /// Of which.
        route: String,
    },
}

/// A weight is no greater.
pub const WEIGHT_MAX: f64 = 1e6;

impl RoutesSetup {
    /// Everything to one target.
    pub fn all_to(target: &Target) -> Self {
        let targets = vec![TargetSetup { to: target.to_string(), weight: 1.0, send_proxy: None }];
        let name = "all".to_owned();
        let route = RouteSetup {
            name,
            hosts: Vec::new(),
            path: None,
            methods: Vec::new(),
            headers: Vec::new(),
            targets,
            sticky: None,
            health: None,
            eject: None,
            answer_time_ms: None,
        };
        Self { routes: vec![route], secret: None }
    }

    /// Whether routes could be made of it.
    ///
    /// # Errors
    /// What is wrong first.
    pub fn check(&self) -> Result<(), SetupError> {
        if self.routes.is_empty() || self.routes.len() > ROUTES_MAX {
            return Err(SetupError::Routes(self.routes.len()));
        }
        for (place, route) in self.routes.iter().enumerate() {
            let taken = self.routes[..place].iter().any(|one| one.name == route.name);
            if taken || !is_name(&route.name) {
                return Err(SetupError::Name(route.name.chars().take(NAME_CHARS_MAX).collect()));
            }
            route.check()?;
        }
        Ok(())
    }
}

/// Whether these can be a route's targets, or those of an arm of it.
///
/// # Errors
/// What is wrong first.
pub(crate) fn check_targets(route: &str, targets: &[TargetSetup]) -> Result<(), SetupError> {
    for TargetSetup { to, weight, .. } in targets {
        to.parse::<Target>()?;
        if !(0.0..=WEIGHT_MAX).contains(weight) {
            return Err(SetupError::Weight(route.to_owned(), *weight));
        }
    }
    let some = targets.iter().any(|target| target.weight > 0.0);
    if !some || targets.len() > TARGETS_MAX {
        return Err(SetupError::Targets(route.to_owned()));
    }
    Ok(())
}

/// Whether a route or a mirror may be called so.
pub(crate) fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !name.is_empty() && name.len() <= NAME_CHARS_MAX && name.chars().all(plain)
}

impl RouteSetup {
    fn check(&self) -> Result<(), SetupError> {
        self.check_targets()?;
        for host in &self.hosts {
            let name = host.strip_prefix("*.").unwrap_or(host);
            self.part("a host", host, is_host(name.as_bytes()) && !name.contains('*'))?;
        }
        for path in self.path.iter().chain(self.health.iter().map(|health| &health.path)) {
            let is_path = path.starts_with('/') && path.parse::<hyper::Uri>().is_ok();
            self.part("a path", path, is_path)?;
        }
        for method in &self.methods {
            self.part("a method", method, method.parse::<Method>().is_ok())?;
        }
        for (name, value) in &self.headers {
            self.part("a header", name, name.parse::<HeaderName>().is_ok())?;
            self.part("a header's value", value, HeaderValue::from_str(value).is_ok())?;
        }
        match &self.sticky {
            Some(StickySetup::Header(name)) => {
                self.part("a header", name, name.parse::<HeaderName>().is_ok())
            }
            Some(StickySetup::Cookie(name)) => self.part("a cookie", name, is_name(name)),
            Some(StickySetup::Address) | None => Ok(()),
        }
    }

    fn check_targets(&self) -> Result<(), SetupError> {
        if self.targets.is_empty() { Ok(()) } else { check_targets(&self.name, &self.targets) }
    }

    fn part(&self, what: &'static str, text: &str, is_one: bool) -> Result<(), SetupError> {
        let text = || text.chars().take(80).collect();
        let error = || SetupError::Part { what, text: text(), route: self.name.clone() };
        is_one.then_some(()).ok_or_else(error)
    }

    pub(super) fn answer_time(&self) -> Option<Duration> {
        self.answer_time_ms.map(Duration::from_millis)
    }
}
