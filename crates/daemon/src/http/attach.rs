//! A terminal in a shadow, over an upgraded connection.

use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;

use axum::body::Body as HttpBody;
use axum::extract::FromRequest;
use axum::extract::State;
use axum::http::header::{CONNECTION, UPGRADE};
use axum::http::{HeaderMap, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use umbra_api::attach::{Frame, PROTOCOL};
use umbra_api::error::{ErrorCode, WireError};
use umbra_api::shadow::AttachRequest;
use umbra_shadow::provider::TerminalSize;

use super::ApiError;
use super::extract::Body;
use super::reply::shadow_error;
use crate::daemon::Daemon;
use crate::enter::{self, Entered};
use crate::states::blocking;
use crate::terminal;

/// Opens the terminal first, so that what can fail is answered as an error, and hands the
/// connection over only then.
pub(super) async fn attach(
    State(daemon): State<Arc<Daemon>>,
    mut request: axum::extract::Request,
) -> Result<Response<HttpBody>, ApiError> {
    check_upgrade(request.headers())?;
    let upgrade = hyper::upgrade::on(&mut request);
    let Body(asked) = Body::<AttachRequest>::from_request(request, &()).await?;
    let target = enter::find(&daemon, &asked.exec.place).await?;
    let (services, provider) = (asked.exec.services, asked.exec.provider.clone());
    let fresh = enter::fresh(&daemon, &target, services, provider).await?;
    let owner = Arc::clone(&daemon);
    let opened = blocking(move || {
        let entered = Entered::new(&owner, &target, &fresh);
        let entered = entered.map_err(|error| error.into_wire(shadow_error))?;
        let size = TerminalSize { columns: asked.size.columns, rows: asked.size.rows };
        let attached = entered.shadow().attach(&asked.exec.command, size);
        let attached = attached.map_err(|error| shadow_error(&error))?;
        Ok((entered, attached))
    });
    let (entered, mut attached) = opened.await?;
    tokio::spawn(async move {
        let stream = match upgrade.await.map(hand_over) {
            Ok(Some(stream)) => stream,
            Ok(None) => return tracing::warn!("a connection could not be taken over"),
            Err(error) => return tracing::warn!(%error, "a connection was not upgraded"),
        };
        let closing = daemon.closing();
        let carry = move || {
            let (stream, early) = stream;
            terminal::carry(&stream, &early, &mut *attached, &closing);
            drop(attached);
            drop(entered);
        };
        if tokio::task::spawn_blocking(carry).await.is_err() {
            tracing::error!("the carrier of a terminal panicked");
        }
    });
    let mut response = Response::new(HttpBody::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, axum::http::HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, axum::http::HeaderValue::from_static(PROTOCOL));
    Ok(response)
}

fn check_upgrade(headers: &HeaderMap) -> Result<(), ApiError> {
    if headers.get(UPGRADE).is_some_and(|value| value == PROTOCOL) {
        return Ok(());
    }
    let message = format!("attach: expected the header Upgrade: {PROTOCOL}");
    Err(WireError::new(ErrorCode::BadRequest, message).into())
}

/// The connection itself, blocking from now on, and what was read of it already.
fn hand_over(upgraded: hyper::upgrade::Upgraded) -> Option<(StdStream, Vec<u8>)> {
    let parts = upgraded.downcast::<TokioIo<UnixStream>>().ok()?;
    let stream = parts.io.into_inner().into_std().ok()?;
    stream.set_nonblocking(false).ok()?;
    Some((stream, parts.read_buf.to_vec()))
}

/// The last frame of a terminal that failed.
pub(crate) fn error_frame(error: &umbra_shadow::ShadowError) -> Frame {
    let wire = shadow_error(error);
    let mut text = wire.message;
    for cause in wire.causes {
        text.push_str(": ");
        text.push_str(&cause);
    }
    Frame::Error(text)
}
