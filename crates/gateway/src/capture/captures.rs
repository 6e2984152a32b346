//! All captures of a gateway: begun, ended and looked at over the control socket.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use hyper::http::request::Parts;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, Semaphore};
use umbra_api::error::{ErrorCode, WireError};
use umbra_api::exposition::Page;
use umbra_state::chain;

use super::counts::Counted;
use super::file::RECORD_BYTES_MAX;
use super::in_force::{Capture, Over, Settings};
use super::redact::Secrets;
use super::session::Whose;
use super::tape::Tapes;
use super::writing::UNDER_WAY_TIME;
use crate::fraction::Fraction;
use crate::headers::Client;
use crate::routes::setup::is_name;

const CAPTURES_MAX: usize = 8;
const NAME_CHARS_MAX: usize = 64;
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

/// How a capture stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaptureStatus {
    /// Its name.
    pub name: String,
    /// Its file.
    pub file: String,
    /// How much is captured, in percent.
    pub percent: f64,
    /// Whether answers are kept, beside their status.
    pub answers: bool,
    /// What tells clients apart.
    pub session: String,
    /// Requests its filter let through.
    pub seen: u64,
    /// What became of those that were chosen.
    pub counted: Counted,
    /// Chosen, and neither captured nor dropped so far.
    pub under_way: u64,
    /// How long the file is, in bytes.
    pub written: u64,
    /// Why it is over; `None` while it is not.
    pub over: Option<Over>,
}

/// The captures of a gateway.
#[derive(Debug, Default)]
pub struct Captures {
    all: RwLock<Arc<[Arc<Capture>]>>,
    /// Whoever begins one: requests do not wait for its file.
    starting: Mutex<()>,
}

impl Captures {
    /// What keeps a request with this head: nothing, where nobody wants it.
    pub fn tapes(&self, head: &Parts, client: &Client) -> Tapes {
        let mut tapes = Tapes::default();
        for capture in self.all().iter() {
            capture.tape(head, client, &mut tapes);
        }
        tapes
    }

    fn all(&self) -> Arc<[Arc<Capture>]> {
        Arc::clone(&self.all.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, change: impl FnOnce(&[Arc<Capture>]) -> Vec<Arc<Capture>>) {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        *all = change(&all).into();
    }

    fn find(&self, name: &str) -> Result<Arc<Capture>, WireError> {
        let all = self.all();
        let found = all.iter().find(|one| one.settings().name == name).cloned();
        found.ok_or_else(|| {
            let name: String = name.chars().take(NAME_CHARS_MAX).collect();
            WireError::new(ErrorCode::NotFound, format!("find a capture {name:?}"))
                .with_hint("`umbra capture status` lists captures")
        })
    }

    /// How all stand.
    pub fn status(&self) -> Vec<CaptureStatus> {
        self.all().iter().map(|capture| status(capture)).collect()
    }

    /// Begins to capture. One of this name that is over gives way.
    ///
    /// # Errors
    /// What is wanted makes no sense, or the file cannot be made.
    pub async fn start(
        &self,
        name: &str,
        wanted: &StartCapture,
        memory: &Arc<Semaphore>,
        seed: u64,
    ) -> Result<CaptureStatus, WireError> {
        let settings = settings(name, wanted)?;
        let _starting = self.starting.lock().await;
        let all = self.all();
        if all.iter().any(|one| one.settings().name == name && one.over().is_none()) {
            let message = format!("capture as {name:?}: a capture of this name is in force");
            return Err(WireError::new(ErrorCode::Conflict, message)
                .with_hint("`umbra capture stop` ends it; `--name` gives another name"));
        }
        if all.iter().filter(|one| one.settings().name != name).count() >= CAPTURES_MAX {
            let message = format!("capture as {name:?}: there are {CAPTURES_MAX} captures");
            return Err(WireError::new(ErrorCode::Conflict, message));
        }
        let (path, force) = (settings.file.clone(), wanted.force);
        let file = tokio::task::spawn_blocking(move || create(&path, force)).await;
        let file = file.map_err(|_| WireError::new(ErrorCode::Internal, "make the file"))?;
        let file = file.map_err(|error| match error.code {
            ErrorCode::Environment => {
                error.with_hint("the gateway's process makes the file, as its own user")
            }
            _ => error,
        })?;
        let capture = Capture::begin(settings, file, Arc::clone(memory), seed)
            .map_err(|error| WireError::new(ErrorCode::Environment, chain(&error)))?;
        let status = status(&capture);
        self.change(|all| {
            let others = all.iter().filter(|one| one.settings().name != name).cloned();
            others.chain([capture]).collect()
        });
        Ok(status)
    }

    /// Captures no more under this name, once what is under way is written or has had its time.
    ///
    /// # Errors
    /// There is no such capture.
    pub async fn stop(&self, name: &str) -> Result<CaptureStatus, WireError> {
        let capture = self.find(name)?;
        end(&capture, Instant::now() + UNDER_WAY_TIME).await;
        self.change(|all| all.iter().filter(|one| !Arc::ptr_eq(one, &capture)).cloned().collect());
        Ok(status(&capture))
    }

    /// Ends every file.
    pub async fn stop_all(&self) {
        let (all, until) = (self.all(), Instant::now() + UNDER_WAY_TIME);
        all.iter().for_each(|capture| capture.close());
        for capture in all.iter() {
            end(capture, until).await;
        }
    }

    /// As Prometheus reads it.
    pub fn exposed(&self) -> String {
        let all = self.status();
        let mut page = Page::default();
        page.family("umbra_capture_eligible_total", "counter", "Requests chosen to be captured.");
        for one in &all {
            page.sample(&[("capture", &one.name)], one.counted.eligible);
        }
        page.family("umbra_capture_captured_total", "counter", "Requests captured.");
        for one in &all {
            page.sample(&[("capture", &one.name)], one.counted.captured);
        }
        page.family("umbra_capture_dropped_total", "counter", "Requests chosen and not captured.");
        for one in &all {
            for (cause, count) in one.counted.causes() {
                page.sample(&[("capture", &one.name), ("cause", cause)], count);
            }
        }
        page.family("umbra_capture_bytes", "gauge", "Length of the file.");
        for one in &all {
            page.sample(&[("capture", &one.name)], one.written);
        }
        page.into_text()
    }
}

/// What is still under way then is not waited for.
async fn end(capture: &Arc<Capture>, until: Instant) {
    capture.close();
    while capture.counted().under_way() > 0 && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let capture = Arc::clone(capture);
    // The writer may have to wait for its disk.
    let _ = tokio::task::spawn_blocking(move || capture.finish()).await;
}

pub(super) fn status(capture: &Capture) -> CaptureStatus {
    let settings = capture.settings();
    let counted = capture.counted();
    CaptureStatus {
        name: settings.name.clone(),
        file: settings.file.display().to_string(),
        percent: settings.fraction.percent(),
        answers: settings.answers,
        session: settings.whose.to_string(),
        seen: capture.seen(),
        counted,
        under_way: counted.under_way(),
        written: capture.written(),
        over: capture.over(),
    }
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
        methods: methods.collect::<Result<_, _>>()?,
        path_prefix: wanted.path_prefix.clone(),
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

/// A file of this name that was not there, for its owner only. What was there goes only if it is
/// a file and that is wanted; nothing is followed or opened.
pub(super) fn create(path: &Path, force: bool) -> Result<File, WireError> {
    let shown = path.display();
    let failed = |error: io::Error| {
        let failure = |code| WireError::new(code, format!("make the file {shown}: {error}"));
        match error.kind() {
            io::ErrorKind::AlreadyExists => {
                failure(ErrorCode::Conflict).with_hint("--force replaces a file")
            }
            _ => failure(ErrorCode::Environment),
        }
    };
    if force && fs::symlink_metadata(path).is_ok_and(|there| there.is_file()) {
        fs::remove_file(path).map_err(failed)?;
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

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

    #[test]
    fn a_file_is_its_owners_and_replaces_only_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a");
        let made = create(&file, false).unwrap();
        assert_eq!(made.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(create(&file, false).unwrap_err().code, ErrorCode::Conflict);
        create(&file, true).unwrap();
        let (link, secret) = (dir.path().join("link"), dir.path().join("secret"));
        fs::write(&secret, "s").unwrap();
        symlink(&secret, &link).unwrap();
        assert_eq!(create(&link, true).unwrap_err().code, ErrorCode::Conflict);
        assert_eq!(fs::read(&secret).unwrap(), b"s");
        let nowhere = dir.path().join("no/a");
        assert_eq!(create(&nowhere, false).unwrap_err().code, ErrorCode::Environment);
    }
}
