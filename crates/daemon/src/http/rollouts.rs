//! Rollouts and services.

use std::sync::Arc;

use axum::Json;
use axum::body::Body as HttpBody;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use http_body_util::channel::{Channel, Sender};
use hyper::body::Bytes;
use serde::Deserialize;
use umbra_api::rollout::{RolloutStatus, ServiceInfo, StartRollout, Told};

use super::ApiError;
use super::extract::{Body, EVENTS_AT_ONCE, Limit, Named, Params};
use super::reply::Reply;
use crate::daemon::Daemon;
use crate::db::DbError;
use crate::states::blocking;

const LIST_MAX: u32 = 1_000;

pub(super) async fn list(
    State(daemon): State<Arc<Daemon>>,
    Params(limit): Params<Limit>,
) -> Reply<Vec<RolloutStatus>> {
    let limit = limit.or(20).min(LIST_MAX);
    Ok(Json(daemon.rollouts().list(limit).await?))
}

pub(super) async fn start(
    State(daemon): State<Arc<Daemon>>,
    Body(request): Body<StartRollout>,
) -> Result<(StatusCode, Json<RolloutStatus>), ApiError> {
    let status = blocking(move || daemon.rollouts().start(request)).await?;
    Ok((StatusCode::CREATED, Json(status)))
}

pub(super) async fn one(State(daemon): State<Arc<Daemon>>, name: Named) -> Reply<RolloutStatus> {
    let id = daemon.rollouts().find(&name.0).await?;
    Ok(Json(daemon.rollouts().status(id).await?))
}

pub(super) async fn tell(
    State(daemon): State<Arc<Daemon>>,
    name: Named,
    Body(told): Body<Told>,
) -> Reply<RolloutStatus> {
    let id = daemon.rollouts().find(&name.0).await?;
    Ok(Json(blocking(move || daemon.rollouts().tell(id, told)).await?))
}

pub(super) async fn services(State(daemon): State<Arc<Daemon>>) -> Reply<Vec<ServiceInfo>> {
    Ok(Json(daemon.rollouts().services().await?))
}

/// Where to begin, and whether to wait for more.
#[derive(Deserialize)]
pub(super) struct Range {
    from: Option<u64>,
    follow: Option<bool>,
}

pub(super) async fn events(
    State(daemon): State<Arc<Daemon>>,
    name: Named,
    Params(range): Params<Range>,
) -> Result<Response, ApiError> {
    let id = daemon.rollouts().find(&name.0).await?;
    let (sender, body) = Channel::<Bytes, DbError>::new(4);
    tokio::spawn(async move {
        let mut sender = sender;
        if let Err(error) = send_events(&daemon, id, &range, &mut sender).await {
            tracing::warn!(rollout = id, %error, "a rollout's events could not be read");
            sender.abort(error);
        }
    });
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], HttpBody::new(body)).into_response())
}

/// Sends committed events until the rollout is over, or the client or the daemon is gone. Each
/// round looks whether it goes on *before* it reads, so that nothing committed in between is
/// missed.
async fn send_events(
    daemon: &Daemon,
    id: u64,
    range: &Range,
    sender: &mut Sender<Bytes, DbError>,
) -> Result<(), DbError> {
    let mut closing = daemon.closing();
    let mut next = range.from.unwrap_or(0);
    loop {
        let news = daemon.rollouts().committed(id);
        let events = daemon.db().rollout_events(id, next, EVENTS_AT_ONCE).await?;
        if events.is_empty() {
            let Some(mut news) = news.filter(|_| range.follow.unwrap_or(true)) else {
                return Ok(());
            };
            tokio::select! {
                // It changes once more when the rollout has ended.
                _ = news.changed() => {}
                () = async { drop(closing.wait_for(|closing| *closing).await) } => return Ok(()),
            }
            continue;
        }
        let mut text = String::new();
        for event in events {
            next = event.seq + 1;
            text.push_str(&event.line);
            text.push('\n');
        }
        if sender.send_data(Bytes::from(text)).await.is_err() {
            return Ok(());
        }
    }
}
