//! Primaries: what is held against its shadow.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body as HttpBody;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use http_body_util::channel::{Channel, Sender};
use hyper::body::Bytes;
use serde::Deserialize;
use umbra_api::error::WireError;
use umbra_drift::service::{
    AcceptReply, AcceptRequest, AddPrimary, Blame, DriftReply, Forecast, PrimaryInfo, RollbackInfo,
    RollbackReply, RollbackRequest, ShadowDiff, ShadowEntry, TakeShadow,
};
use umbra_rehearse::service::{RehearseReply, RehearseRequest};

use super::ApiError;
use super::extract::{Body, EVENTS_AT_ONCE, Limit, Named, Params};
use super::reply::Reply;
use crate::daemon::Daemon;
use crate::db::DbError;
use crate::states::blocking;

const BLAME_DEFAULT: u32 = 10;
/// How long nothing is said to a client that follows.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

pub(super) async fn list(State(daemon): State<Arc<Daemon>>) -> Json<Vec<PrimaryInfo>> {
    Json(daemon.primaries().list())
}

pub(super) async fn add(
    State(daemon): State<Arc<Daemon>>,
    Body(request): Body<AddPrimary>,
) -> Result<(StatusCode, Json<PrimaryInfo>), ApiError> {
    let info = blocking(move || daemon.primaries().add(request)).await?;
    Ok((StatusCode::CREATED, Json(info)))
}

pub(super) async fn one(State(daemon): State<Arc<Daemon>>, name: Named) -> Reply<PrimaryInfo> {
    Ok(Json(daemon.primaries().one(&name.0)?))
}

pub(super) async fn remove(State(daemon): State<Arc<Daemon>>, name: Named) -> Reply<()> {
    Ok(Json(blocking(move || daemon.primaries().remove(&name.0)).await?))
}

/// Whether everything is read again first.
#[derive(Deserialize)]
pub(super) struct Fresh {
    fresh: Option<bool>,
}

pub(super) async fn drift(
    State(daemon): State<Arc<Daemon>>,
    name: Named,
    Params(fresh): Params<Fresh>,
) -> Reply<DriftReply> {
    let fresh = fresh.fresh.unwrap_or(false);
    Ok(Json(blocking(move || daemon.primaries().drift(&name.0, fresh)).await?))
}

pub(super) async fn forecasts(
    State(daemon): State<Arc<Daemon>>,
    name: Named,
) -> Reply<Vec<Forecast>> {
    Ok(Json(blocking(move || daemon.primaries().forecasts(&name.0)).await?))
}

pub(super) async fn shadows(
    State(daemon): State<Arc<Daemon>>,
    name: Named,
) -> Reply<Vec<ShadowEntry>> {
    Ok(Json(blocking(move || daemon.primaries().shadows(&name.0)).await?))
}

pub(super) async fn take(
    State(daemon): State<Arc<Daemon>>,
    name: Named,
    Body(wanted): Body<TakeShadow>,
) -> Result<(StatusCode, Json<ShadowEntry>), ApiError> {
    let entry = blocking(move || daemon.primaries().take(&name.0, wanted)).await?;
    Ok((StatusCode::CREATED, Json(entry)))
}

/// Between which shadows.
#[derive(Deserialize)]
pub(super) struct Between {
    from: u64,
    to: Option<u64>,
}

pub(super) async fn diff(
    State(daemon): State<Arc<Daemon>>,
    name: Named,
    Params(between): Params<Between>,
) -> Reply<ShadowDiff> {
    let Between { from, to } = between;
    Ok(Json(blocking(move || daemon.primaries().diff(&name.0, from, to)).await?))
}

pub(super) async fn accept(
    State(daemon): State<Arc<Daemon>>,
    name: Named,
    Body(request): Body<AcceptRequest>,
) -> Reply<AcceptReply> {
    Ok(Json(blocking(move || daemon.primaries().accept(&name.0, request)).await?))
}

pub(super) async fn roll_back(
    State(daemon): State<Arc<Daemon>>,
    name: Named,
    Body(request): Body<RollbackRequest>,
) -> Reply<RollbackReply> {
    Ok(Json(blocking(move || daemon.primaries().roll_back(&name.0, request)).await?))
}

pub(super) async fn rehearse(
    State(daemon): State<Arc<Daemon>>,
    name: Named,
    Body(request): Body<RehearseRequest>,
) -> Reply<RehearseReply> {
    Ok(Json(blocking(move || daemon.primaries().rehearse(&name.0, request)).await?))
}

pub(super) async fn rollbacks(
    State(daemon): State<Arc<Daemon>>,
    name: Named,
) -> Reply<Vec<RollbackInfo>> {
    Ok(Json(blocking(move || daemon.primaries().rollbacks(&name.0)).await?))
}

pub(super) async fn confirm(
    State(daemon): State<Arc<Daemon>>,
    name: Named,
) -> Reply<RollbackReply> {
    Ok(Json(blocking(move || daemon.primaries().decide(&name.0, true)).await?))
}

pub(super) async fn abort(State(daemon): State<Arc<Daemon>>, name: Named) -> Reply<RollbackReply> {
    Ok(Json(blocking(move || daemon.primaries().decide(&name.0, false)).await?))
}

pub(super) async fn blame(
    State(daemon): State<Arc<Daemon>>,
    Path((name, parameter)): Path<(String, String)>,
    Params(limit): Params<Limit>,
) -> Reply<Vec<Blame>> {
    let limit = limit.or(BLAME_DEFAULT);
    Ok(Json(blocking(move || daemon.primaries().blame(&name, &parameter, limit)).await?))
}

/// Where to begin, of which primary, and whether to wait for more.
#[derive(Deserialize)]
pub(super) struct Range {
    from: Option<u64>,
    primary: Option<String>,
    follow: Option<bool>,
}

pub(super) async fn events(
    State(daemon): State<Arc<Daemon>>,
    Params(range): Params<Range>,
) -> Result<Response, ApiError> {
    if let Some(primary) = &range.primary {
        daemon.primaries().one(primary).map_err(|error: WireError| ApiError(error))?;
    }
    let (sender, body) = Channel::<Bytes, DbError>::new(4);
    tokio::spawn(async move {
        let mut sender = sender;
        if let Err(error) = send_events(&daemon, range, &mut sender).await {
            tracing::warn!(%error, "events of primaries could not be read");
            sender.abort(error);
        }
    });
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], HttpBody::new(body)).into_response())
}

/// Sends committed events, from the next one on if nothing else was asked for, until the client
/// or the daemon is gone.
async fn send_events(
    daemon: &Daemon,
    range: Range,
    sender: &mut Sender<Bytes, DbError>,
) -> Result<(), DbError> {
    let mut committed = daemon.primaries().feed().committed();
    let mut closing = daemon.closing();
    let follow = range.follow.unwrap_or(true);
    let mut next = range.from.unwrap_or(*committed.borrow_and_update());
    loop {
        committed.borrow_and_update();
        let events =
            daemon.db().drift_events(range.primary.as_deref(), next, EVENTS_AT_ONCE).await?;
        if events.is_empty() {
            if !follow {
                return Ok(());
            }
            tokio::select! {
                news = committed.changed() => if news.is_err() { return Ok(()) },
                () = async { drop(closing.wait_for(|closing| *closing).await) } => return Ok(()),
                // An empty line means nothing; that it cannot be sent, that nobody is there.
                () = tokio::time::sleep(SIGN_OF_LIFE) => {
                    if sender.send_data(Bytes::from_static(b"\n")).await.is_err() {
                        return Ok(());
                    }
                }
            }
            continue;
        }
        let mut text = String::new();
        for event in events {
            next = event.sequence + 1;
            text.push_str(&event.line);
            text.push('\n');
        }
        if sender.send_data(Bytes::from(text)).await.is_err() {
            return Ok(());
        }
    }
}
