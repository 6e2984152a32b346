//! Builds, images and timelines.

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
use umbra_api::build::{Answer, BuildInfo, BuildRequest};
use umbra_api::error::{ErrorCode, WireError};
use umbra_api::image::{ImageInfo, MetricPoint, TimelineEntry};

use super::ApiError;
use super::extract::{Body, EVENTS_AT_ONCE, Limit, Named, Params};
use super::reply::Reply;
use crate::daemon::Daemon;
use crate::db::DbError;
use crate::states::blocking;

const LIST_MAX: u32 = 1000;
const METRICS_MAX: u32 = 10_000;

pub(super) async fn list(
    State(daemon): State<Arc<Daemon>>,
    Params(limit): Params<Limit>,
) -> Reply<Vec<BuildInfo>> {
    let mut builds = daemon.db().builds(limit.or(20).min(LIST_MAX)).await?;
    for build in &mut builds {
        if let Some(live) = daemon.builds().live(build.id) {
            *build = live;
        }
    }
    Ok(Json(builds))
}

pub(super) async fn start(
    State(daemon): State<Arc<Daemon>>,
    Body(request): Body<BuildRequest>,
) -> Result<(StatusCode, Json<BuildInfo>), ApiError> {
    if !request.recipe.starts_with('/') {
        let message = format!("find the recipe {:?}: its path must be absolute", request.recipe);
        return Err(WireError::new(ErrorCode::BadRequest, message).into());
    }
    let info = blocking(move || daemon.builds().start(request)).await?;
    Ok((StatusCode::CREATED, Json(info)))
}

pub(super) async fn one(State(daemon): State<Arc<Daemon>>, id: Named) -> Reply<BuildInfo> {
    Ok(Json(find(&daemon, id.build()?).await?))
}

async fn find(daemon: &Daemon, id: u64) -> Result<BuildInfo, ApiError> {
    if let Some(live) = daemon.builds().live(id) {
        return Ok(live);
    }
    let unknown = || {
        WireError::new(ErrorCode::NotFound, format!("find build {id}"))
            .with_hint("`umbra ls` lists the builds there are")
    };
    Ok(daemon.db().build(id).await?.ok_or_else(unknown)?)
}

pub(super) async fn cancel(State(daemon): State<Arc<Daemon>>, id: Named) -> Reply<BuildInfo> {
    let id = id.build()?;
    let info = find(&daemon, id).await?;
    let asked = Arc::clone(&daemon);
    if !blocking(move || Ok(asked.builds().cancel(id))).await? {
        let message = format!("cancel build {id}: it has ended ({:?})", info.phase).to_lowercase();
        return Err(WireError::new(ErrorCode::Conflict, message).into());
    }
    Ok(Json(info))
}

pub(super) async fn answer(
    State(daemon): State<Arc<Daemon>>,
    id: Named,
    Body(answer): Body<Answer>,
) -> Reply<BuildInfo> {
    let id = id.build()?;
    find(&daemon, id).await?;
    let asked = Arc::clone(&daemon);
    let taken = blocking(move || Ok(asked.builds().answer(id, answer))).await?;
    let why = match taken {
        Some(true) => return Ok(Json(find(&daemon, id).await?)),
        Some(false) => "it asked nothing",
        None => "it has ended",
    };
    Err(WireError::new(ErrorCode::Conflict, format!("answer build {id}: {why}")).into())
}

/// Where to begin, and whether to wait for more.
#[derive(Deserialize)]
pub(super) struct Range {
    from: Option<u64>,
    follow: Option<bool>,
}

pub(super) async fn events(
    State(daemon): State<Arc<Daemon>>,
    id: Named,
    Params(range): Params<Range>,
) -> Result<Response, ApiError> {
    let id = id.build()?;
    find(&daemon, id).await?;
    let (sender, body) = Channel::<Bytes, DbError>::new(4);
    let follow = range.follow.unwrap_or(true);
    tokio::spawn(async move {
        let mut sender = sender;
        if let Err(error) =
            send_events(&daemon, id, range.from.unwrap_or(0), follow, &mut sender).await
        {
            tracing::warn!(build = id, %error, "a build's events could not be read");
            sender.abort(error);
        }
    });
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], HttpBody::new(body)).into_response())
}

/// Sends committed events until the build has ended or the client is gone; a daemon that goes
/// down ends its builds first. Each round looks whether the build still runs *before* it reads, so that nothing
/// committed in between is missed.
async fn send_events(
    daemon: &Daemon,
    build: u64,
    mut next: u64,
    follow: bool,
    sender: &mut Sender<Bytes, DbError>,
) -> Result<(), DbError> {
    loop {
        let news = daemon.builds().committed(build);
        let events = daemon.db().events(build, next, EVENTS_AT_ONCE).await?;
        if events.is_empty() {
            match news {
                // It changes once more when the build has ended.
                Some(mut news) if follow => drop(news.changed().await),
                _ => return Ok(()),
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

pub(super) async fn images(State(daemon): State<Arc<Daemon>>) -> Reply<Vec<ImageInfo>> {
    Ok(Json(daemon.db().images().await?))
}

pub(super) async fn metrics(
    State(daemon): State<Arc<Daemon>>,
    name: Named,
    Params(limit): Params<Limit>,
) -> Reply<Vec<MetricPoint>> {
    let limit = limit.or(100).min(METRICS_MAX);
    Ok(Json(daemon.db().metrics(&name.0, limit).await?))
}

pub(super) async fn timeline(
    State(daemon): State<Arc<Daemon>>,
    name: Named,
) -> Reply<Vec<TimelineEntry>> {
    let entries = daemon.db().timeline(&name.0).await?;
    if entries.is_empty() {
        let name: String = name.0.chars().take(80).collect();
        return Err(WireError::new(ErrorCode::NotFound, format!("find a timeline {name:?}"))
            .with_hint("`umbra ls` lists the images there are")
            .into());
    }
    Ok(Json(entries))
}
