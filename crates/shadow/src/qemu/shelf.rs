//! Directories of things that are named by what they are made of and made once, whoever needs
//! them: kernels, initrds.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};
use sha2::{Digest as _, Sha256};
use umbra_state::Digest;

/// What nobody used for so long is removed when something else is made.
const UNUSED_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// Name of the file whose lock lets one process make things.
const LOCK: &str = ".lock";

/// Where what is being made is.
const UNFINISHED: &str = ".unfinished";

/// One such directory. Its entries can be read by everyone, as QEMU runs as nobody.
#[derive(Debug, Clone)]
pub(crate) struct Shelf {
    dir: PathBuf,
}

impl Shelf {
    /// The shelf in this directory, which is made if need be.
    pub(crate) fn open(dir: impl Into<PathBuf>) -> io::Result<Self> {
        let dir = dir.into();
        DirBuilder::new().recursive(true).mode(0o755).create(&dir)?;
        Ok(Self { dir })
    }

    /// The entry of this name. Where there is none, `make` makes it at the path it is given, a
    /// file or a directory; two processes that need the same wait for the one that is first.
    /// An entry is there whole or not at all.
    pub(crate) fn entry<E: From<io::Error>>(
        &self,
        name: &str,
        make: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<PathBuf, E> {
        let path = self.dir.join(name);
        if self.is_used(&path)? {
            return Ok(path);
        }
        let _lock = self.lock()?;
        if self.is_used(&path)? {
            return Ok(path);
        }
        let unfinished = self.dir.join(UNFINISHED);
        remove(&unfinished)?;
        let made = make(&unfinished);
        if made.is_err() {
            // What is left is removed by the next one at the latest.
            let _ = remove(&unfinished);
        }
        made?;
        fs::rename(&unfinished, &path)?;
        File::open(&self.dir)?.sync_all()?;
        self.forget_unused()?;
        Ok(path)
    }

    /// Whether it is there; if so it has been used now.
    fn is_used(&self, path: &Path) -> io::Result<bool> {
        match File::open(path) {
            Ok(file) => {
                // A shelf of another account's serves as well; it only forgets sooner.
                let _ = file.set_modified(SystemTime::now());
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Waits for whoever has it; making is bounded in time.
    fn lock(&self) -> io::Result<File> {
        let path = self.dir.join(LOCK);
        let lock = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        rustix::io::retry_on_intr(|| flock(&lock, FlockOperation::LockExclusive))?;
        Ok(lock)
    }

    fn forget_unused(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let used = entry.metadata()?.modified()?;
            let unused = SystemTime::now().duration_since(used).unwrap_or_default();
            if entry.file_name() != LOCK && unused > UNUSED_MAX {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }
}

/// Writes a file for everyone to read, on disk when this returns.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A name for what is made of these parts.
pub(crate) fn name<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Digest {
    let mut hash = Sha256::new();
    for part in parts {
        // With its length, so that no part can pass for two.
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    Digest::new(hash.finalize().into())
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn shelf() -> (tempfile::TempDir, Shelf) {
        let dir = tempfile::tempdir().expect("a directory");
        let shelf = Shelf::open(dir.path().join("shelf")).expect("a shelf");
        (dir, shelf)
    }

    #[test]
    fn an_entry_is_made_once_however_many_need_it() {
        let (_dir, shelf) = shelf();
        let made = AtomicUsize::new(0);
        let make = |path: &Path| {
            made.fetch_add(1, Ordering::SeqCst);
            write(path, b"x")
        };
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| shelf.entry::<io::Error>("a", make).expect("an entry"));
            }
        });
        assert_eq!(made.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn what_was_not_finished_is_not_there() {
        let (_dir, shelf) = shelf();
        let fails = |path: &Path| {
            fs::create_dir(path)?;
            write(&path.join("half"), b"x")?;
            Err(io::Error::other("no more"))
        };
        shelf.entry::<io::Error>("a", fails).expect_err("it fails");
        assert!(!shelf.dir.join("a").exists());
        // As a killed process leaves it.
        fs::create_dir(shelf.dir.join(UNFINISHED)).expect("made");
        let path = shelf.entry::<io::Error>("a", |path| write(path, b"y")).expect("made");
        assert_eq!(fs::read(path).expect("read"), b"y");
    }

    #[test]
    fn what_nobody_uses_is_forgotten_when_something_is_made() {
        let (_dir, shelf) = shelf();
        let make = |path: &Path| write(path, b"x");
        let old = shelf.entry::<io::Error>("old", make).expect("made");
        let used = shelf.entry::<io::Error>("used", make).expect("made");
        let long_ago = SystemTime::now() - UNUSED_MAX - Duration::from_secs(60);
        for path in [&old, &used] {
            File::open(path).expect("opened").set_modified(long_ago).expect("set");
        }
        shelf.entry::<io::Error>("used", make).expect("there");
        shelf.entry::<io::Error>("new", make).expect("made");
        assert!(!old.exists() && used.exists());
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(name([b"ab".as_slice(), b"c"]), name([b"a".as_slice(), b"bc"]));
    }
}
