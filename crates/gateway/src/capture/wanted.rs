//! A capture as it is asked for, and what it is to do then.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use umbra_api::error::{ErrorCode, WireError};

use super::file::RECORD_BYTES_MAX;
use super::in_force::Settings;
use super::redact::Secrets;
use super::session::Whose;
use crate::fraction::Fraction;
use crate::mirror::Filter;
use crate::routes::setup::is_name;

pub(super) const NAME_CHARS_MAX: usize = 64;
/// Things to redact of one kind.
const SECRETS_MAX: usize = 100;
const BYTES_MAX: u64 = 1 << 30;
const BODY_BYTES_MAX: u64 = 1 << 20;
/// Two bodies and their heads are one record.
const BODY_BYTES_LIMIT: u64 = (RECORD_BYTES_MAX as u64) / 4;

/// A capture to begin.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartCapture {
    /// The file, absolute. It must not exist.
    pub file: String,
    /// Whether a file that is there is replaced.
    #[serde(default)]
    pub force: bool,
    /// How much, in percent; text, so that it is exact.
    pub percent: String,
    /// Only these methods; all, if there are none.
    #[serde(default)]
    pub methods: Vec<String>,
    /// Only paths that begin so.
    #[serde(default)]
    pub path_prefix: String,
    /// After how long it ends by itself.
    #[serde(default)]
    pub duration_ms: Option<u64>,
    /// At which length of the file it ends by itself.
    #[serde(default)]
    pub bytes_max: Option<u64>,
    /// Bytes of a body that are kept.
    #[serde(default)]
    pub body_bytes_max: Option<u64>,
    /// Whether answers are kept, beside their status.
    #[serde(default)]
    pub answers: bool,
    /// Whether the file is packed.
    #[serde(default)]
    pub pack: bool,
    /// What tells clients apart; the connection, if it is not given.
    #[serde(default)]
    pub session: Option<String>,
    /// Headers whose values are not kept.
    #[serde(default)]
    pub redact_headers: Vec<String>,
    /// Places in JSON whose values are not kept.
    #[serde(default)]
    pub redact_json: Vec<String>,
    /// Parameters of queries and forms whose values are not kept.
    #[serde(default)]
    pub redact_query: Vec<String>,
}

/// What a capture of this name is to do.
///
/// # Errors
/// What is wanted makes no sense.
pub fn settings(name: &str, wanted: &StartCapture) -> Result<Settings, WireError> {
    let bad = |message: String| WireError::new(ErrorCode::BadRequest, message);
    if !is_name(name) {
        return Err(bad(format!("name a capture: up to {NAME_CHARS_MAX} letters, digits, - _ .")));
    }
    let secrets = [&wanted.redact_headers, &wanted.redact_json, &wanted.redact_query];
    if secrets.iter().any(|all| all.len() > SECRETS_MAX) {
        return Err(bad(format!("redact: at most {SECRETS_MAX} of each kind")));
    }
    let fraction: Fraction = wanted.percent.parse().map_err(refused)?;
    let session = wanted.session.as_deref().map(|text| text.parse().map_err(refused));
    let json = wanted.redact_json.iter().map(|text| text.parse().map_err(refused));
    let methods = wanted.methods.iter().map(|method| method.parse().map_err(refused));
    let body_bytes_max = wanted.body_bytes_max.unwrap_or(BODY_BYTES_MAX).min(BODY_BYTES_LIMIT);
    Ok(Settings {
        name: name.to_owned(),
        file: absolute(&wanted.file)?,
        fraction,
        filter: Filter {
            methods: methods.collect::<Result<_, _>>()?,
            path_prefix: wanted.path_prefix.clone(),
            ..Filter::default()
        },
        duration: wanted.duration_ms.map(Duration::from_millis),
        bytes_max: wanted.bytes_max.unwrap_or(BYTES_MAX),
        body_bytes_max: usize::try_from(body_bytes_max).unwrap_or(usize::MAX),
        answers: wanted.answers,
        pack: wanted.pack,
        whose: session.transpose()?.unwrap_or(Whose::Connection),
        secrets: Secrets {
            headers: wanted.redact_headers.clone(),
            json: json.collect::<Result<_, _>>()?,
            query: wanted.redact_query.clone(),
        },
    })
}

fn refused(error: impl std::error::Error) -> WireError {
    WireError::new(ErrorCode::BadRequest, error.to_string())
}

fn absolute(file: &str) -> Result<PathBuf, WireError> {
    let path = Path::new(file);
    if path.is_absolute() && path.file_name().is_some() && !file.contains('\0') {
        return Ok(path.to_owned());
    }
    let shown: String = file.chars().take(200).collect();
    Err(WireError::new(ErrorCode::BadRequest, format!("write to {shown:?}: no absolute path")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(file: &Path) -> StartCapture {
        let file = file.display().to_string();
        StartCapture { file, percent: "100".into(), ..StartCapture::default() }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let good = wanted(Path::new("/tmp/a"));
        assert!(settings("a", &good).is_ok());
        #[track_caller]
        fn check(name: &str, change: impl FnOnce(&mut StartCapture)) {
            let mut wanted = wanted(Path::new("/tmp/a"));
            change(&mut wanted);
            let code = settings(name, &wanted).map_err(|error| error.code);
            assert!(matches!(code, Err(ErrorCode::BadRequest)), "{code:?}");
        }
        check("", |_| ());
        check("a/b", |_| ());
        for file in ["", "a", "./a", "/", "/a/..", "/a\0b"] {
            check("a", |wanted| wanted.file = file.into());
        }
        check("a", |wanted| wanted.percent = "101".into());
        check("a", |wanted| wanted.methods = vec!["G T".into()]);
        check("a", |wanted| wanted.session = Some("moon".into()));
        check("a", |wanted| wanted.redact_json = vec!["a..b".into()]);
        check("a", |wanted| wanted.redact_query = vec![String::new(); 101]);
    }
}
