//! Routes, as they are asked for and changed.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use umbra_api::error::WireError;

use super::Control;
use crate::routes::{Backend, Route, Routes, RoutesSetup};
use crate::split::arms::Managed;
use crate::split::splits::refused;
use crate::split::wire::ManagedStatus;

/// How a route stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RouteStatus {
    /// Its name.
    pub name: String,
    /// Its targets.
    pub targets: Vec<TargetStatus>,
    /// Who says more of it than the file of routes does, if somebody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<ManagedStatus>,
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
        let routes = self.proxy.change_routes(change).map_err(|error| refused(&error))?;
        Ok(route_statuses(&routes))
    }
}

pub(super) fn route_statuses(routes: &Routes) -> Vec<RouteStatus> {
    let status = |route: &Route| RouteStatus {
        name: route.name().to_owned(),
        targets: target_statuses(route.targets()),
        managed: routes.managed().get(route.name()).map(Managed::status),
    };
    routes.all().iter().map(status).collect()
}

pub(crate) fn target_statuses(targets: &[(Arc<Backend>, f64)]) -> Vec<TargetStatus> {
    let target = |(backend, weight): &(Arc<Backend>, f64)| {
        let (requests, failures) = backend.asked();
        let (well, ejected) = backend.standing();
        let to = backend.upstream().target().to_string();
        TargetStatus { to, weight: *weight, well, ejected, requests, failures }
    };
    targets.iter().map(target).collect()
}
