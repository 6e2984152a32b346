//! How much room a filesystem has, asked for on a thread of its own: one whose other end is gone
//! never answers, and who asked it cannot be called back.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};
use std::time::Duration;

use rustix::fs::{AtFlags, StatVfs, StatxAttributes, StatxFlags, fstatvfs, statx};
use rustix::io::Errno;

use super::place::Place;
use crate::config::MountFact;
use crate::file::{Reason, locate};
use crate::reading::Reading;

/// How long an answer is waited for; a local filesystem needs microseconds.
const PATIENCE: Duration = Duration::from_secs(1);

/// One path, and the question nobody has answered yet: no second one is asked meanwhile, so that
/// at most one thread waits.
#[derive(Debug)]
pub(super) struct Room {
    path: PathBuf,
    unanswered: Option<Receiver<Answer>>,
}

/// `None` where nothing is mounted.
type Answer = Result<Option<StatVfs>, Reason>;

impl Room {
    pub(super) fn new(path: &str) -> Self {
        Self { path: path.into(), unanswered: None }
    }

    /// What a fact of the filesystem that is mounted at the path says.
    pub(super) fn read(&mut self, place: &Place, fact: MountFact) -> Reading {
        let unreadable = |why: String| Reading::Unreadable { why };
        let late = || unreadable("its filesystem does not answer".to_owned());
        if let Some(before) = self.unanswered.take()
            && matches!(before.try_recv(), Err(TryRecvError::Empty))
        {
            self.unanswered = Some(before);
            return late();
        }
        let asked = match ask(place, &self.path) {
            Ok(asked) => asked,
            Err(error) => return unreadable(format!("it cannot be asked for: {error}")),
        };
        match asked.recv_timeout(PATIENCE) {
            Ok(Ok(Some(found))) => Reading::text(format!("{}\n", value(&found, fact))),
            Ok(Ok(None)) => Reading::Absent,
            Ok(Err(reason)) => unreadable(reason.to_string()),
            Err(RecvTimeoutError::Timeout) => {
                self.unanswered = Some(asked);
                late()
            }
            Err(RecvTimeoutError::Disconnected) => unreadable("who asked is gone".to_owned()),
        }
    }
}

fn ask(place: &Place, path: &Path) -> std::io::Result<Receiver<Answer>> {
    let root = place.root().try_clone_to_owned()?;
    let path = path.to_owned();
    // With room for the answer: nobody may wait for it any more.
    let (to, asked) = sync_channel(1);
    let thread = std::thread::Builder::new().name("room".into());
    thread.spawn(move || drop(to.send(found(&root, &path))))?;
    Ok(asked)
}

fn found(root: &OwnedFd, path: &Path) -> Answer {
    let Some(there) = locate(root.as_fd(), path)? else { return Ok(None) };
    let found = || -> Result<Option<StatVfs>, Errno> {
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        let of = statx(&there, "", flags, StatxFlags::TYPE)?;
        let mounted = of.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
        if mounted { fstatvfs(&there).map(Some) } else { Ok(None) }
    };
    found().map_err(Reason::Refused)
}

fn value(found: &StatVfs, fact: MountFact) -> String {
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize).to_string();
    match fact {
        // As df(1): what only root may use is neither used nor there for others.
        MountFact::Used => {
            let used = found.f_blocks.saturating_sub(found.f_bfree);
            percent(used, used.saturating_add(found.f_bavail))
        }
        MountFact::InodesUsed => {
            percent(found.f_files.saturating_sub(found.f_ffree), found.f_files)
        }
        MountFact::Available => bytes(found.f_bavail),
        MountFact::Size => bytes(found.f_blocks),
        // The table of mounts says it, and no filesystem is asked.
        MountFact::Options => String::new(),
    }
}

/// A part of a whole; of nothing, nothing. A line is only seen in what moves between readings,
/// therefore the digits: the last one is 100 kB of 100 GB.
pub(super) fn percent(part: u64, whole: u64) -> String {
    let part = if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
    format!("{:.4}", part.min(1.0) * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents_are_bounded() {
        for (part, whole, expected) in [
            (0, 0, "0.0000"),
            (1, 0, "0.0000"),
            (1, 3, "33.3333"),
            (3, 3, "100.0000"),
            (u64::MAX, 1, "100.0000"),
            (u64::MAX, u64::MAX, "100.0000"),
        ] {
            assert_eq!(percent(part, whole), expected, "{part} of {whole}");
        }
    }

    #[test]
    fn who_does_not_answer_is_waited_for_once_and_asked_again_when_it_has() {
        let place = Place::machine().expect("a machine");
        let (to, unanswered) = sync_channel(1);
        let mut room = Room { path: "/proc".into(), unanswered: Some(unanswered) };
        let why = Reading::Unreadable { why: "its filesystem does not answer".to_owned() };
        let began = std::time::Instant::now();
        for _ in 0..3 {
            assert_eq!(room.read(&place, MountFact::Used), why);
        }
        assert!(began.elapsed() < PATIENCE, "nobody waits for what is known to be late");
        to.send(Ok(None)).expect("received");
        assert_eq!(room.read(&place, MountFact::Used), Reading::text("0.0000\n"));
    }
}
