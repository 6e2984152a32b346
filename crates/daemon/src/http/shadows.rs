//! Shadows, and commands in them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use umbra_api::blob::Blob;
use umbra_api::error::{ErrorCode, WireError};
use umbra_api::shadow::{ExecReply, ExecRequest, ShadowInfo, ShadowRequest};

use super::ApiError;
use super::extract::{Body, Named};
use super::reply::{Reply, shadow_error};
use crate::clock::now_ms;
use crate::daemon::Daemon;
use crate::enter::{self, Entered, Target};
use crate::shadows::Owner;
use crate::states::blocking;

/// A year: longer than any shadow is wanted, short enough to add to a date.
const TTL_S_MAX: u64 = 366 * 24 * 3600;

/// The most of each stream a command's answer holds.
const OUTPUT_BYTES_MAX: u64 = 16 << 20;

pub(super) async fn list(State(daemon): State<Arc<Daemon>>) -> Json<Vec<ShadowInfo>> {
    Json(daemon.registry().list())
}

pub(super) async fn create(
    State(daemon): State<Arc<Daemon>>,
    Body(request): Body<ShadowRequest>,
) -> Result<(StatusCode, Json<ShadowInfo>), ApiError> {
    let state = daemon.states().resolve(&request.from).await?;
    let ttl_s = request.ttl_s.map(|ttl| ttl.min(TTL_S_MAX));
    let expires_at_ms = ttl_s.map(|ttl| now_ms() + i64::try_from(ttl * 1000).unwrap_or(0));
    let owner = request.owner.unwrap_or_else(|| "somebody".into());
    let owner = Owner::Person(owner.chars().take(80).collect());
    let target = Target::State(state);
    let fresh = enter::fresh(&daemon, &target, request.services, request.provider).await?;
    let info = blocking(move || {
        let name = enter::create(&daemon, request.name, state, owner, expires_at_ms, &fresh)
            .map_err(|error| error.into_wire(shadow_error))?;
        daemon.expiry_changed();
        let gone =
            || WireError::new(ErrorCode::Conflict, "keep the shadow: it was removed at once");
        daemon.registry().find(&name).map(|(info, _)| info).ok_or_else(gone)
    });
    Ok((StatusCode::CREATED, Json(info.await?)))
}

pub(super) async fn remove(
    State(daemon): State<Arc<Daemon>>,
    name: Named,
) -> Reply<serde_json::Value> {
    let name = name.0;
    let gone = || {
        let name: String = name.chars().take(80).collect();
        WireError::new(ErrorCode::NotFound, format!("find shadow {name:?}"))
            .with_hint("`umbra shadow ls` lists the shadows there are")
    };
    let (_, owner) = daemon.registry().find(&name).ok_or_else(gone)?;
    if let Owner::Build(id) = owner
        && daemon.builds().live(id).is_some()
    {
        let message = format!("remove shadow {name:?}: build {id} uses it");
        return Err(WireError::new(ErrorCode::Conflict, message)
            .with_hint(format!("`umbra cancel {id}` ends the build"))
            .into());
    }
    blocking(move || {
        daemon.registry().remove(&name).map_err(|error| shadow_error(&error))?;
        if let Owner::Build(id) = owner {
            daemon.builds().release(id);
        }
        Ok(())
    })
    .await?;
    Ok(Json(serde_json::Value::Null))
}

pub(super) async fn exec(
    State(daemon): State<Arc<Daemon>>,
    Body(mut request): Body<ExecRequest>,
) -> Reply<ExecReply> {
    request.command.output_bytes_max = request.command.output_bytes_max.min(OUTPUT_BYTES_MAX);
    let target = enter::find(&daemon, &request.place).await?;
    let provider = request.provider.take();
    let fresh = enter::fresh(&daemon, &target, request.services, provider).await?;
    let reply = blocking(move || {
        let wire = |error: enter::EnterError| error.into_wire(shadow_error);
        let entered = Entered::new(&daemon, &target, &fresh).map_err(wire)?;
        let output =
            entered.shadow().run(&request.command).map_err(|error| shadow_error(&error))?;
        Ok(ExecReply {
            shadow: entered.name().to_owned(),
            exit: output.exit,
            stdout: Blob(output.stdout),
            stderr: Blob(output.stderr),
            dropped_bytes: output.dropped_bytes,
            took_us: u64::try_from(output.duration.as_micros()).unwrap_or(u64::MAX),
        })
    });
    Ok(Json(reply.await?))
}
