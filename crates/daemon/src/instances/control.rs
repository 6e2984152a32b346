//! The keeper's socket: what it is asked and told.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use umbra_api::error::WireError;

use super::attended::ServiceLog;
use super::keeper::Keeper;
use super::{Instance, InstanceSpec, Instances};
use crate::http::extract::{Body, Named, Params};
use crate::http::{ApiError, Reply, unknown_method, unknown_route};
use crate::states::blocking;

/// So much of what each service printed is told at most.
const LOG_BYTES_MAX: u64 = 256 << 10;

/// Who a keeper is: the answer of `GET /v1/keeper`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeeperInfo {
    /// Its own version: it may be older than the daemon.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Milliseconds since 1970 UTC.
    pub started_at_ms: i64,
    /// What this machine lacks, and what that costs.
    pub missing: Vec<String>,
}

/// What answers: the keeper, and who it is.
pub(super) struct Desk {
    pub(super) keeper: Keeper,
    pub(super) info: KeeperInfo,
}

/// What `GET /v1/instances/NAME/logs` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LogsQuery {
    bytes: Option<u64>,
}

/// All routes over one keeper.
pub(super) fn router(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/v1/keeper", get(info))
        .route("/v1/instances", get(list).post(start).delete(stop_all))
        .route("/v1/instances/{name}", axum::routing::delete(stop))
        .route("/v1/instances/{name}/logs", get(logs))
        .route("/v1/instances/{name}/restart", post(restart))
        .fallback(unknown_route)
        .method_not_allowed_fallback(unknown_method)
        .layer(axum::extract::DefaultBodyLimit::max(crate::http::BODY_BYTES_MAX))
        .with_state(desk)
}

async fn info(State(desk): State<Arc<Desk>>) -> Json<KeeperInfo> {
    Json(desk.info.clone())
}

async fn list(State(desk): State<Arc<Desk>>) -> Reply<Vec<Instance>> {
    answer(move || desk.keeper.list()).await
}

async fn start(State(desk): State<Arc<Desk>>, Body(spec): Body<InstanceSpec>) -> Reply<Instance> {
    answer(move || desk.keeper.start(&spec)).await
}

async fn stop(State(desk): State<Arc<Desk>>, Named(name): Named) -> Reply<()> {
    answer(move || desk.keeper.stop(&name)).await
}

async fn stop_all(State(desk): State<Arc<Desk>>) -> Reply<Vec<String>> {
    answer(move || desk.keeper.stop_all()).await
}

async fn restart(State(desk): State<Arc<Desk>>, Named(name): Named) -> Reply<Instance> {
    answer(move || desk.keeper.restart(&name)).await
}

async fn logs(
    State(desk): State<Arc<Desk>>,
    Named(name): Named,
    Params(query): Params<LogsQuery>,
) -> Reply<Vec<ServiceLog>> {
    let bytes = query.bytes.unwrap_or(LOG_BYTES_MAX).min(LOG_BYTES_MAX);
    answer(move || desk.keeper.logs(&name, bytes)).await
}

async fn answer<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, WireError> + Send + 'static,
) -> Reply<T> {
    blocking(work).await.map(Json).map_err(ApiError)
}
