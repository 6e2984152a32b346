//! All captures of a gateway: begun, ended and looked at over the control socket.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, Semaphore};
use umbra_api::error::{ErrorCode, WireError};
use umbra_api::exposition::Page;
use umbra_state::chain;

use super::counts::Counted;
use super::in_force::{Capture, Over};
use super::source::new_file;
use super::tape::Tapes;
use super::wanted::{NAME_CHARS_MAX, StartCapture, settings};
use crate::headers::Client;
use crate::mirror::Offered;

const CAPTURES_MAX: usize = 8;

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
    /// What keeps a request: nothing, where nobody wants it.
    pub(crate) fn tapes(&self, offered: &Offered<'_>, client: &Client) -> Tapes {
        let mut tapes = Tapes::default();
        for capture in self.all().iter() {
            capture.tape(offered, client, &mut tapes);
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
        end(&capture).await;
        self.change(|all| all.iter().filter(|one| !Arc::ptr_eq(one, &capture)).cloned().collect());
        Ok(status(&capture))
    }

    /// Ends every file.
    pub async fn stop_all(&self) {
        let all = self.all();
        all.iter().for_each(|capture| capture.close());
        for capture in all.iter() {
            end(capture).await;
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

async fn end(capture: &Arc<Capture>) {
    let capture = Arc::clone(capture);
    // The writer may have to wait for what is under way, and for its disk.
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

/// See [`new_file`].
pub(super) fn create(path: &Path, force: bool) -> Result<File, WireError> {
    new_file(path, force).map_err(|error| {
        let message = format!("make the file {}: {error}", path.display());
        match error.kind() {
            io::ErrorKind::AlreadyExists => {
                WireError::new(ErrorCode::Conflict, message).with_hint("--force replaces a file")
            }
            _ => WireError::new(ErrorCode::Environment, message),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

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
