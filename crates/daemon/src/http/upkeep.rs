//! Who the daemon is, how it is, and keeping its store.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use umbra_api::daemon::{API_VERSION, FsckReply, GcReply, GcRequest, Health, VersionInfo};

use super::extract::Body;
use super::reply::Reply;
use crate::daemon::Daemon;
use crate::states::blocking;

pub(super) async fn version(State(daemon): State<Arc<Daemon>>) -> Json<VersionInfo> {
    let capabilities = daemon.registry().providers().usual().capabilities();
    Json(VersionInfo {
        version: env!("CARGO_PKG_VERSION").into(),
        api: API_VERSION,
        pid: std::process::id(),
        state_dir: daemon.config().state_dir.display().to_string(),
        provider: capabilities.provider.clone(),
        missing: capabilities.missing.clone(),
        started_at_ms: daemon.started_at_ms(),
    })
}

pub(super) async fn health(State(daemon): State<Arc<Daemon>>) -> Json<Health> {
    let mut notes = daemon.start_notes().to_vec();
    let failure = daemon.writer().failure();
    let readable = daemon.db().next_build().await.is_ok();
    let ok = failure.is_none() && readable && !daemon.is_closing();
    notes.extend(failure.map(|why| format!("the database writer stopped: failed to {why}")));
    Json(Health {
        ok,
        builds_running: daemon.builds().running_count(),
        shadows: daemon.registry().count(),
        start_notes: notes,
    })
}

pub(super) async fn gc(
    State(daemon): State<Arc<Daemon>>,
    Body(request): Body<GcRequest>,
) -> Reply<GcReply> {
    let runtime = tokio::runtime::Handle::current();
    let reply = blocking(move || {
        let reply = daemon.builds().while_idle(|| daemon.collect(&runtime, request.dry_run))??;
        if !request.dry_run {
            daemon.primaries().sweep()?;
        }
        Ok(reply)
    });
    Ok(Json(reply.await?))
}

pub(super) async fn fsck(State(daemon): State<Arc<Daemon>>) -> Reply<FsckReply> {
    let checked = Arc::clone(&daemon);
    let mut reply = blocking(move || {
        let mut reply = checked.states().fsck()?;
        reply.findings.extend(checked.primaries().fsck()?);
        Ok(reply)
    })
    .await?;
    for state in daemon.db().states_kept().await? {
        if !daemon.states().store().contains(state) {
            reply.findings.push(format!(
                "state {state} is named by an image, a timeline or a build, but the store does \
                 not have it. Build the image again."
            ));
        }
    }
    Ok(Json(reply))
}
