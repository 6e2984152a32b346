//! A watched directory, and mounts that end with the test.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use umbra_drift::watch::{Change, Coverage, Memory, Options, Receipt, Report, Seen, Watcher};

/// As long as anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A watcher and all it has said.
pub(crate) struct Watched {
    pub(crate) watcher: Watcher,
    pub(crate) changes: Vec<Change>,
    pub(crate) receipts: Vec<Receipt>,
    pub(crate) coverage: Vec<Coverage>,
}

impl Watched {
    /// Watches `root` from the moment this returns.
    pub(crate) fn new(root: &Path) -> Self {
        Self::with(Self::options(root), Memory::default())
    }

    pub(crate) fn options(root: &Path) -> Options {
        Options { verify_every: None, ..Options::new(vec![root.to_owned()]) }
    }

    pub(crate) fn with(options: Options, memory: Memory) -> Self {
        let watcher = Watcher::start(options, memory).expect("watcher");
        let (changes, receipts, coverage) = Default::default();
        let mut watched = Self { watcher, changes, receipts, coverage };
        watched.until(|watched| !watched.receipts.is_empty());
        watched
    }

    /// Listen until `done`.
    #[track_caller]
    pub(crate) fn until(&mut self, done: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            let heard = || self.changes.iter().map(|change| (&change.path, change.what));
            assert!(Instant::now() < deadline, "heard of {:#?}", heard().collect::<Vec<_>>());
            self.listen(Duration::from_millis(50));
        }
    }

    /// Listen for one more report.
    pub(crate) fn listen(&mut self, timeout: Duration) -> bool {
        match self.watcher.next(timeout).expect("report") {
            Some(Report::Change(change)) => self.changes.push(change),
            Some(Report::Receipt(receipt)) => self.receipts.push(receipt),
            Some(Report::Coverage(coverage)) => self.coverage.push(coverage),
            None => return false,
        }
        true
    }

    /// Wait for a change of `path`, and forget what came before it.
    #[track_caller]
    pub(crate) fn change(&mut self, path: &Path) -> Change {
        self.until(|watched| watched.changes.iter().any(|change| change.path == path));
        let at = self.changes.iter().position(|change| change.path == path).expect("change");
        self.changes.drain(..=at).next_back().expect("change")
    }
}

/// The writers' programs of a change, by file name.
pub(crate) fn writers(change: &Change) -> Vec<String> {
    let Seen::Events(chain) = &change.seen else { return Vec::new() };
    let exe = |writer: &std::sync::Arc<umbra_drift::watch::who::Writer>| {
        let exe = writer.program.exe.as_deref().and_then(Path::file_name);
        exe.unwrap_or_default().to_string_lossy().into_owned()
    };
    chain.writers.iter().map(exe).collect()
}

/// A temporary directory by its real path.
pub(crate) fn directory() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().canonicalize().expect("path");
    (directory, path)
}

/// A mount that goes when this does, also when a test fails.
pub(crate) struct Mounted(PathBuf);

impl Mounted {
    /// A mount made by a program.
    pub(crate) fn adopt(at: &Path) -> Self {
        Self(at.to_owned())
    }

    pub(crate) fn bind(from: &Path, to: &Path) -> Self {
        rustix::mount::mount_bind(from, to).expect("bind mount");
        Self(to.to_owned())
    }

    pub(crate) fn new(kind: &str, at: &Path, options: &str) -> Result<Self, rustix::io::Errno> {
        let options = std::ffi::CString::new(options).expect("options");
        mount("umbra-test", at, kind, MountFlags::empty(), Some(options.as_c_str()))?;
        Ok(Self(at.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}
