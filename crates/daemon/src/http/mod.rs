//! The API: routes, and what each does.
//!
//! Handlers only translate: names into ids, errors into codes, blocking work onto threads
//! that may block. Every answer is JSON, errors too.

pub(crate) mod attach;
mod builds;
pub(crate) mod extract;
mod instances;
mod metrics;
mod primaries;
mod reply;
mod rollouts;
mod shadows;
mod states;
mod upkeep;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::Method;
use axum::routing::{get, post};
use umbra_api::error::{ErrorCode, WireError};

pub(crate) use self::reply::{ApiError, Reply, shadow_error};
use crate::daemon::Daemon;

/// The largest request: a command with its standard input.
pub const BODY_BYTES_MAX: usize = 8 << 20;

/// All routes over one daemon.
pub fn router(daemon: Arc<Daemon>) -> Router {
    Router::new()
        .route("/v1/version", get(upkeep::version))
        .route("/v1/health", get(upkeep::health))
        .route("/v1/metrics", get(metrics::metrics))
        .route("/v1/gc", post(upkeep::gc))
        .route("/v1/fsck", post(upkeep::fsck))
        .route("/v1/builds", get(builds::list).post(builds::start))
        .route("/v1/builds/{id}", get(builds::one))
        .route("/v1/builds/{id}/events", get(builds::events))
        .route("/v1/builds/{id}/cancel", post(builds::cancel))
        .route("/v1/builds/{id}/answer", post(builds::answer))
        .route("/v1/images", get(builds::images))
        .route("/v1/images/{name}/metrics", get(builds::metrics))
        .route("/v1/timelines/{name}", get(builds::timeline))
        .route("/v1/states/{name}", get(states::one))
        .route("/v1/states/{name}/files", get(states::files))
        .route("/v1/diff", get(states::diff))
        .route("/v1/export", post(states::export))
        .route("/v1/test", post(states::test))
        .route("/v1/shadows", get(shadows::list).post(shadows::create))
        .route("/v1/shadows/{name}", axum::routing::delete(shadows::remove))
        .route("/v1/instances", get(instances::list).post(instances::start))
        .route("/v1/exec", post(shadows::exec))
        .route("/v1/attach", post(attach::attach))
        .route("/v1/primaries", get(primaries::list).post(primaries::add))
        .route("/v1/primaries/{name}", get(primaries::one).delete(primaries::remove))
        .route("/v1/primaries/{name}/drift", get(primaries::drift))
        .route("/v1/primaries/{name}/forecast", get(primaries::forecasts))
        .route("/v1/primaries/{name}/shadows", get(primaries::shadows).post(primaries::take))
        .route("/v1/primaries/{name}/diff", get(primaries::diff))
        .route("/v1/primaries/{name}/accept", post(primaries::accept))
        .route("/v1/primaries/{name}/blame/{parameter}", get(primaries::blame))
        .route(
            "/v1/primaries/{name}/rollbacks",
            get(primaries::rollbacks).post(primaries::roll_back),
        )
        .route("/v1/primaries/{name}/rehearse", post(primaries::rehearse))
        .route("/v1/primaries/{name}/confirm", post(primaries::confirm))
        .route("/v1/primaries/{name}/abort", post(primaries::abort))
        .route("/v1/drift/events", get(primaries::events))
        .route("/v1/rollouts", get(rollouts::list).post(rollouts::start))
        .route("/v1/rollouts/{name}", get(rollouts::one))
        .route("/v1/rollouts/{name}/events", get(rollouts::events))
        .route("/v1/rollouts/{name}/tell", post(rollouts::tell))
        .route("/v1/services", get(rollouts::services))
        .fallback(unknown_route)
        .method_not_allowed_fallback(unknown_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(daemon)
}

pub(crate) async fn unknown_route(uri: axum::http::Uri) -> ApiError {
    let path: String = uri.path().chars().take(200).collect();
    ApiError(WireError::new(ErrorCode::NotFound, format!("find {path} in the API")))
}

pub(crate) async fn unknown_method(method: Method, uri: axum::http::Uri) -> ApiError {
    let path: String = uri.path().chars().take(200).collect();
    let message = format!("do {method} on {path}: the API does not offer that");
    ApiError(WireError::new(ErrorCode::BadRequest, message))
}
