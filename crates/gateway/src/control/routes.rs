//! Routes, as they are asked for and changed.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use umbra_api::error::WireError;

use super::{Control, bad};
use crate::routes::{Backend, Route, Routes, RoutesSetup};

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

impl Control {
    /// Puts other routes into force. Targets both have keep their connections and their health.
    ///
    /// # Errors
    /// There can be no such routes; those in force stay.
    pub fn route(&self, setup: RoutesSetup) -> Result<Vec<RouteStatus>, WireError> {
        let change = |before: &Routes| before.changed(setup, &self.trust);
        let routes = self.proxy.change_routes(change).map_err(bad)?;
        Ok(routes.all().iter().map(route_status).collect())
    }
}

pub(super) fn route_status(route: &Route) -> RouteStatus {
    let target = |(backend, weight): &(Arc<Backend>, f64)| {
        let (requests, failures) = backend.asked();
        let (well, ejected) = backend.standing();
        let to = backend.upstream().target().to_string();
        TargetStatus { to, weight: *weight, well, ejected, requests, failures }
    };
    let targets = route.targets().iter().map(target).collect();
    RouteStatus { name: route.name().to_owned(), targets }
}
