//! Instances, as far as the daemon has a part in them: it knows images and recipes.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::extract::Body;
use super::reply::Reply;
use crate::builds::shutting_down;
use crate::daemon::Daemon;
use crate::enter::instance_spec;
use crate::instances::{Instance, StartInstance};
use crate::states::blocking;

pub(super) async fn list(State(daemon): State<Arc<Daemon>>) -> Reply<Vec<Instance>> {
    Ok(Json(blocking(move || daemon.instances().list()).await?))
}

pub(super) async fn start(
    State(daemon): State<Arc<Daemon>>,
    Body(request): Body<StartInstance>,
) -> Reply<Instance> {
    if daemon.is_closing() {
        return Err(shutting_down().into());
    }
    let StartInstance { name, state, port, service } = request;
    let service = service.unwrap_or_else(|| state.clone());
    let state = daemon.states().resolve(&state).await?;
    let spec = instance_spec(daemon.db(), service, name, state, port).await?;
    Ok(Json(blocking(move || daemon.instances().start(&spec)).await?))
}
