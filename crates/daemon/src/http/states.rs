//! States: their files, differences, exports and tests.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use umbra_api::error::{ErrorCode, WireError};
use umbra_api::state::{
    DiffReply, ExportReply, ExportRequest, FileList, StateInfo, TestReply, TestRequest,
};
use umbra_state::Verdict;

use super::extract::{Body, Named, Params};
use super::reply::Reply;
use crate::daemon::Daemon;
use crate::exports::Written;
use crate::rerun;
use crate::states::blocking;

const FILES_MAX: usize = 200_000;

pub(super) async fn one(State(daemon): State<Arc<Daemon>>, name: Named) -> Reply<StateInfo> {
    let state = daemon.states().resolve(&name.0).await?;
    Ok(Json(blocking(move || daemon.states().info(state)).await?))
}

/// Which files.
#[derive(Deserialize)]
pub(super) struct FilesQuery {
    prefix: Option<String>,
    limit: Option<usize>,
}

pub(super) async fn files(
    State(daemon): State<Arc<Daemon>>,
    name: Named,
    Params(query): Params<FilesQuery>,
) -> Reply<FileList> {
    let state = daemon.states().resolve(&name.0).await?;
    let limit = query.limit.unwrap_or(1000).min(FILES_MAX);
    let prefix = query.prefix.unwrap_or_default();
    Ok(Json(blocking(move || daemon.states().files(state, prefix.as_bytes(), limit)).await?))
}

/// Which states, and how much of the difference.
#[derive(Deserialize)]
pub(super) struct DiffQuery {
    a: String,
    b: String,
    content: Option<bool>,
    limit: Option<usize>,
}

pub(super) async fn diff(
    State(daemon): State<Arc<Daemon>>,
    Params(query): Params<DiffQuery>,
) -> Reply<DiffReply> {
    let a = daemon.states().resolve(&query.a).await?;
    let b = daemon.states().resolve(&query.b).await?;
    let limit = query.limit.unwrap_or(FILES_MAX).min(FILES_MAX);
    let content = query.content.unwrap_or(false);
    Ok(Json(blocking(move || daemon.states().diff(a, b, content, limit)).await?))
}

pub(super) async fn export(
    State(daemon): State<Arc<Daemon>>,
    Body(request): Body<ExportRequest>,
) -> Reply<ExportReply> {
    let state = daemon.states().resolve(&request.state).await?;
    let path = PathBuf::from(&request.path);
    if !path.is_absolute() {
        let message = format!("export to {:?}: the path must be absolute", request.path);
        return Err(WireError::new(ErrorCode::BadRequest, message).into());
    }
    let began = Instant::now();
    let lineage = daemon.states().lineage(state).await?;
    let ExportRequest { format, size, path: shown, .. } = request;
    let written = blocking(move || daemon.states().export(&lineage, &format, &path, size)).await?;
    let Written { left_out, warnings } = written;
    let took_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    Ok(Json(ExportReply { state, path: shown, left_out, warnings, took_us }))
}

pub(super) async fn test(
    State(daemon): State<Arc<Daemon>>,
    Body(request): Body<TestRequest>,
) -> Reply<TestReply> {
    let state = daemon.states().resolve(&request.state).await?;
    let baseline = match &request.baseline {
        Some(name) => Some(daemon.states().resolve(name).await?),
        None => None,
    };
    let subject = rerun::Subject { state, baseline };
    let results =
        blocking(move || rerun::test(daemon.states(), daemon.registry(), subject, &request))
            .await?;
    let verdict = Verdict::combine(results.iter().map(|result| result.verdict));
    Ok(Json(TestReply { state, verdict, results }))
}
