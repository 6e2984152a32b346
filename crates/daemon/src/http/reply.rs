//! Errors as answers.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use umbra_api::error::{ErrorCode, WireError};
use umbra_shadow::ShadowError;

use crate::db::DbError;

/// A failure on its way to a client.
#[derive(Debug)]
pub(crate) struct ApiError(pub(crate) WireError);

/// What handlers return.
pub(crate) type Reply<T> = Result<Json<T>, ApiError>;

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.code.http_status())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if status.is_server_error() {
            tracing::warn!(code = ?self.0.code, message = %self.0.message, causes = ?self.0.causes,
                "a request failed");
        }
        (status, Json(self.0)).into_response()
    }
}

impl From<WireError> for ApiError {
    fn from(error: WireError) -> Self {
        Self(error)
    }
}

impl From<DbError> for ApiError {
    fn from(error: DbError) -> Self {
        Self(error.into())
    }
}

impl From<DbError> for WireError {
    fn from(error: DbError) -> Self {
        Self::from_chain(ErrorCode::Environment, &error)
    }
}

/// A shadow's failure with the code a client can act on.
pub(crate) fn shadow_error(error: &ShadowError) -> WireError {
    let code = match error {
        ShadowError::Name(_) | ShadowError::Start { .. } => ErrorCode::BadRequest,
        ShadowError::Taken(_) => ErrorCode::Conflict,
        ShadowError::Gone(_) => ErrorCode::NotFound,
        ShadowError::Unsupported(_) => ErrorCode::Unsupported,
        _ => ErrorCode::Environment,
    };
    let wire = WireError::from_chain(code, error);
    match code {
        ErrorCode::NotFound => wire.with_hint("`umbra shadow ls` lists the shadows there are"),
        ErrorCode::Unsupported => wire.with_hint("`umbra doctor` says what this machine lacks"),
        _ => wire,
    }
}
