//! Reading requests, with errors that are JSON like everything else.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_LENGTH;
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use umbra_api::error::{ErrorCode, WireError};

use super::reply::ApiError;

/// How long a client may take to send a body.
const BODY_WAIT: Duration = Duration::from_secs(30);

/// A JSON body.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        if announced_length(&request).is_some_and(|length| length > super::BODY_BYTES_MAX as u64) {
            return Err(too_large());
        }
        let read = tokio::time::timeout(BODY_WAIT, Bytes::from_request(request, state));
        let bytes = match read.await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(rejection)) => return Err(body_error(&rejection)),
            Err(_) => {
                let message = format!("read the request within {} s", BODY_WAIT.as_secs());
                return Err(WireError::new(ErrorCode::Timeout, message).into());
            }
        };
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            WireError::new(ErrorCode::BadRequest, "read the request's JSON").caused_by(error).into()
        })
    }
}

fn body_error(rejection: &BytesRejection) -> ApiError {
    let beyond = matches!(
        rejection,
        BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_))
    ) || rejection.status() == StatusCode::PAYLOAD_TOO_LARGE;
    if beyond {
        return too_large();
    }
    WireError::new(ErrorCode::BadRequest, "read the request")
        .caused_by(rejection.body_text())
        .into()
}

/// What the client says it will send: refused before it has to.
fn announced_length(request: &Request) -> Option<u64> {
    request.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn too_large() -> ApiError {
    let message = format!("read the request: it is larger than {} bytes", super::BODY_BYTES_MAX);
    WireError::new(ErrorCode::TooLarge, message).into()
}

/// The query part of a target.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        Query::try_from_uri(&parts.uri).map(|Query(params)| Self(params)).map_err(|error| {
            WireError::new(ErrorCode::BadRequest, "read the request's parameters")
                .caused_by(error.body_text())
                .into()
        })
    }
}

/// How many items a list is to have.
#[derive(Deserialize)]
pub(super) struct Limit {
    limit: Option<u32>,
}

impl Limit {
    /// So many if nothing is said.
    pub(super) fn or(&self, usual: u32) -> u32 {
        self.limit.unwrap_or(usual)
    }
}

/// So many events are read at once for somebody who follows.
pub(super) const EVENTS_AT_ONCE: u32 = 256;

/// The one name in a route's path.
pub(crate) struct Named(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = axum::extract::Path::<String>::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(name)| Self(name)).map_err(|error| {
            WireError::new(ErrorCode::BadRequest, "read the name in the request's path")
                .caused_by(error.body_text())
                .into()
        })
    }
}

impl Named {
    /// The name as a build's number.
    pub(super) fn build(&self) -> Result<u64, ApiError> {
        self.0.parse().map_err(|_| {
            let name: String = self.0.chars().take(40).collect();
            let message = format!("read {name:?} as a build: builds have numbers");
            WireError::new(ErrorCode::BadRequest, message).into()
        })
    }
}
