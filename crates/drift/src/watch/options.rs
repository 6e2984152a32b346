//! What to watch, and how patiently.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::debounce::Patience;

/// What to watch, and how patiently.
#[derive(Debug, Clone)]
pub struct Options {
    /// Files, and directories with all below them; absolute.
    pub roots: Vec<PathBuf>,
    /// A path rests after this long without events.
    pub quiet: Duration,
    /// Paths with another patience, and all below them; the longest that fits counts.
    pub quiet_of: Vec<(PathBuf, Duration)>,
    /// A path that never rests is looked at this long after its first event.
    pub longest: Duration,
    /// Paths at unrest beyond which events are not followed up singly but scanned for.
    pub backlog_max: usize,
    /// Compare everything with what is remembered this often: events are verified, not
    /// trusted (writes through memory maps and through other hard links are found so).
    pub verify_every: Option<Duration>,
    /// Let the kernel's queue grow without a bound.
    pub unlimited_queue: bool,
    /// The root of a system beside this machine's: its package manager is one as well.
    pub system: Option<PathBuf>,
}

impl Options {
    /// The usual patience for `roots`.
    pub fn new(roots: Vec<PathBuf>) -> Self {
        Self {
            roots,
            quiet: Duration::from_millis(50),
            quiet_of: Vec::new(),
            longest: Duration::from_secs(1),
            backlog_max: 100_000,
            verify_every: Some(Duration::from_secs(30)),
            unlimited_queue: true,
            system: None,
        }
    }

    pub(super) fn patience(&self) -> Patience {
        Patience { quiet: self.quiet, quiet_of: self.quiet_of.clone(), longest: self.longest }
    }

    /// Roots as events name them, none of them below another.
    pub(super) fn real_roots(&self) -> io::Result<Vec<PathBuf>> {
        let mut roots = self.roots.iter().map(|root| real(root)).collect::<Result<Vec<_>, _>>()?;
        roots.sort();
        roots.dedup();
        let all = roots.clone();
        roots.retain(|root| !all.iter().any(|other| root != other && root.starts_with(other)));
        Ok(roots)
    }
}

/// `root` without links on the way to it: events name what is really there.
fn real(root: &Path) -> io::Result<PathBuf> {
    match (root.parent(), root.file_name()) {
        (Some(parent), Some(name)) => Ok(parent.canonicalize()?.join(name)),
        _ => root.canonicalize(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_real_and_apart() {
        let directory = tempfile::tempdir().expect("directory");
        let top = directory.path().canonicalize().expect("path");
        std::fs::create_dir(top.join("a")).expect("directory");
        std::os::unix::fs::symlink(top.join("a"), top.join("link")).expect("link");
        let roots = ["a", "link/f", "a/not-there", "link"].map(|name| top.join(name));
        let options = Options::new(roots.to_vec());
        assert_eq!(options.real_roots().expect("roots"), [top.join("a"), top.join("link")]);
        assert!(Options::new(vec!["/nowhere/at/all".into()]).real_roots().is_err());
    }
}
