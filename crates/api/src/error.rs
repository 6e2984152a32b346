//! What goes wrong, as a client sees it: a stable code, a sentence, its causes and what to do.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A kind of failure. Codes are stable: scripts may match on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The request itself makes no sense: malformed JSON, an unknown field value, a bad header.
    BadRequest,
    /// The recipe has problems; the message holds them, rendered.
    BadRecipe,
    /// A drift configuration or a rollout's document has problems; the message holds them,
    /// rendered.
    BadConfig,
    /// What was named is not there.
    NotFound,
    /// The name fits several things.
    Ambiguous,
    /// It cannot be done in the phase things are in, or the name is taken.
    Conflict,
    /// The request is larger than allowed.
    TooLarge,
    /// The client did not send its request in time.
    Timeout,
    /// This machine lacks what it takes.
    Unsupported,
    /// Something around the image failed: a disk, the kernel, the archive.
    Environment,
    /// The daemon is going down.
    ShuttingDown,
    /// A defect of umbra.
    Internal,
    /// A code this client does not know: the daemon is newer.
    #[serde(other)]
    Unknown,
}

impl ErrorCode {
    /// Every code a daemon may send.
    pub const ALL: [Self; 12] = [
        Self::BadRequest,
        Self::BadRecipe,
        Self::BadConfig,
        Self::NotFound,
        Self::Ambiguous,
        Self::Conflict,
        Self::TooLarge,
        Self::Timeout,
        Self::Unsupported,
        Self::Environment,
        Self::ShuttingDown,
        Self::Internal,
    ];

    /// The HTTP status it travels with.
    pub fn http_status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::BadRecipe | Self::BadConfig | Self::Unsupported => 422,
            Self::NotFound => 404,
            Self::Ambiguous | Self::Conflict => 409,
            Self::TooLarge => 413,
            Self::Timeout => 408,
            Self::ShuttingDown => 503,
            Self::Environment | Self::Internal | Self::Unknown => 500,
        }
    }
}

/// The body of every answer that is no success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct WireError {
    /// What kind of failure.
    pub code: ErrorCode,
    /// A fragment that reads on after "failed to".
    pub message: String,
    /// Why, outermost first.
    #[serde(default)]
    pub causes: Vec<String>,
    /// What to do about it.
    #[serde(default)]
    pub hint: Option<String>,
}

impl WireError {
    /// An error of this kind with this sentence.
    pub fn new(code: ErrorCode, message: impl fmt::Display) -> Self {
        Self { code, message: message.to_string(), causes: Vec::new(), hint: None }
    }

    /// The same error with the sentences of `error` and all that is below it: the error
    /// itself becomes the message.
    pub fn from_chain(code: ErrorCode, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut causes = Vec::new();
        let mut source = error.source();
        while let Some(cause) = source {
            causes.push(cause.to_string());
            source = cause.source();
        }
        Self { causes, ..Self::new(code, error) }
    }

    /// The same error with one more cause below the known ones.
    pub fn caused_by(mut self, cause: impl fmt::Display) -> Self {
        self.causes.push(cause.to_string());
        self
    }

    /// The same error with advice.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_written_as_published() {
        let written: Vec<String> = ErrorCode::ALL
            .iter()
            .map(|code| serde_json::to_string(code).expect("a code is a string"))
            .collect();
        let published = [
            "bad_request",
            "bad_recipe",
            "bad_config",
            "not_found",
            "ambiguous",
            "conflict",
            "too_large",
            "timeout",
            "unsupported",
            "environment",
            "shutting_down",
            "internal",
        ];
        assert_eq!(written, published.map(|code| format!("{code:?}")));
    }

    #[test]
    fn a_newer_code_is_understood_as_unknown() {
        let error: WireError =
            serde_json::from_str(r#"{"code":"from_the_future","message":"x"}"#).expect("readable");
        assert_eq!(error.code, ErrorCode::Unknown);
        assert_eq!((error.causes.len(), error.hint), (0, None));
    }

    #[test]
    fn a_chain_becomes_message_and_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("open the store")]
        struct Outer(#[source] std::io::Error);
        let error = Outer(std::io::Error::other("disk on fire"));
        let wire = WireError::from_chain(ErrorCode::Environment, &error);
        assert_eq!(
            (wire.message.as_str(), wire.causes),
            ("open the store", vec!["disk on fire".to_owned()])
        );
    }
}
