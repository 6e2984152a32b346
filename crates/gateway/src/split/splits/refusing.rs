//! What is not done, and why.

use umbra_api::error::{ErrorCode, WireError};
use umbra_state::chain;

use crate::routes::setup::{RouteSetup, TargetSetup, check_targets};
use crate::routes::{Routes, RoutesError};
use crate::split::wire::StartSplit;

/// Where there is a control it gets as much as the candidate.
const WEIGHT_MAX_BESIDE_CONTROL: f64 = 0.5;

pub(super) fn setup_of<'a>(routes: &'a Routes, route: &str) -> Result<&'a RouteSetup, WireError> {
    let found = routes.setup().routes.iter().find(|one| one.name == route);
    found.ok_or_else(|| {
        let route: String = route.chars().take(64).collect();
        WireError::new(ErrorCode::NotFound, format!("find a route {route:?}"))
            .with_hint("`umbra route list` lists routes")
    })
}

pub(super) fn check(
    route: &str,
    wanted: &StartSplit,
    baseline: &[TargetSetup],
) -> Result<(), WireError> {
    let refused = |why: String| Err(WireError::new(ErrorCode::BadRequest, why));
    if baseline.is_empty() {
        return refused(format!("split {route:?}: it has no target the candidate could replace"));
    }
    check_targets(route, &wanted.candidate).map_err(|error| bad(&error))?;
    if !wanted.control.is_empty() {
        check_targets(route, &wanted.control).map_err(|error| bad(&error))?;
    }
    if !wanted.journal.is_absolute() {
        return refused(format!("keep a journal at {:?}: say where from / on", wanted.journal));
    }
    check_weight(wanted.weight, !wanted.control.is_empty())
}

pub(super) fn check_weight(weight: f64, has_control: bool) -> Result<(), WireError> {
    let most = if has_control { WEIGHT_MAX_BESIDE_CONTROL } else { 1.0 };
    if (0.0..=most).contains(&weight) {
        return Ok(());
    }
    let message = format!("weigh a candidate by {weight}: a weight is from 0 to {most} here");
    Err(WireError::new(ErrorCode::BadRequest, message))
}

pub(super) fn none(route: &str) -> WireError {
    let route: String = route.chars().take(64).collect();
    WireError::new(ErrorCode::NotFound, format!("find a split of route {route:?}"))
        .with_hint("`umbra rollout ls` lists rollouts")
}

/// There is one, of another rollout.
pub(super) fn none_of(route: &str, rollout: u64, is: u64) -> WireError {
    let message =
        format!("find a split of route {route:?} for rollout {rollout}: it is rollout {is}'s");
    WireError::new(ErrorCode::NotFound, message).with_hint("`umbra rollout ls` lists rollouts")
}

pub(super) fn conflict(message: String) -> WireError {
    WireError::new(ErrorCode::Conflict, message)
}

pub(super) fn bad(error: &dyn std::error::Error) -> WireError {
    WireError::new(ErrorCode::BadRequest, chain(error))
}

pub(super) fn environment(doing: &str, error: &dyn std::error::Error) -> WireError {
    WireError::new(ErrorCode::Environment, doing).caused_by(chain(error))
}

/// Why there are no such routes, for whoever asked for them.
pub(crate) fn refused(error: &RoutesError) -> WireError {
    match error {
        RoutesError::Managed { .. } => conflict(error.to_string()).with_hint(
            "`umbra route release NAME` gives a route back to the file, once its rollout is over",
        ),
        RoutesError::Setup(_) | RoutesError::Trust(_) => bad(error),
    }
}
