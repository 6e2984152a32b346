//! Removes directories off the hot path: they are renamed out of the way at once, and emptied
//! by a thread.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// The directory that takes what is to be removed. No shadow can have this name.
pub(super) const TRASH: &str = ".trash";

/// A thread that removes directories. Dropping it waits until all are gone.
pub(super) struct Sweeper {
    trash: PathBuf,
    number: AtomicU64,
    thread: Mutex<Option<(Sender<PathBuf>, JoinHandle<()>)>>,
}

impl Sweeper {
    /// With a trash directory in `dir`, where what it removes must lie too.
    pub(super) fn start(dir: &Path) -> io::Result<Self> {
        let (sender, receiver) = channel::<PathBuf>();
        let thread = thread::Builder::new().name("umbra-sweeper".to_owned()).spawn(move || {
            for path in receiver {
                if let Err(error) = remove(&path) {
                    tracing::warn!(path = %path.display(), %error, "could not remove a directory");
                }
            }
        })?;
        let trash = dir.join(TRASH);
        Ok(Self { trash, number: AtomicU64::new(0), thread: Mutex::new(Some((sender, thread))) })
    }

    /// Takes a directory away; its absence is fine. Afterwards the name is free.
    pub(super) fn take(&self, dir: &Path) -> io::Result<()> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        fs::create_dir_all(&self.trash)?;
        let away = self.trash.join(number.to_string());
        match fs::rename(dir, &away) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        }
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        match &*thread {
            Some((sender, _)) if sender.send(away.clone()).is_ok() => Ok(()),
            _ => remove(&away),
        }
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((sender, thread)) = thread {
            drop(sender);
            // A panic in it has been reported by its thread.
            let _ = thread.join();
        }
        // Only empty if everything could be removed; else the next start removes it.
        let _ = fs::remove_dir(&self.trash);
    }
}

/// Removes a directory with all in it; its absence is fine.
pub(super) fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_directory_is_gone_and_its_name_free() {
        let dir = tempfile::tempdir().expect("a directory");
        let sweeper = Sweeper::start(dir.path()).expect("a thread");
        let path = dir.path().join("a");
        for _ in 0..2 {
            fs::create_dir_all(path.join("deep/er")).expect("made");
            sweeper.take(&path).expect("taken");
            assert!(!path.exists());
        }
        sweeper.take(&path).expect("absence is fine");
        drop(sweeper);
        assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 0);
    }
}
