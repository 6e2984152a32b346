//! The journal of one rollback: a directory that tells at any instant how far it came, and
//! keeps what it displaces.
//!
//! ```text
//! log           one line per transition: BLAKE3 of the record (16 hex digits), a space, the
//!               record as JSON. A last line that is torn was never acted upon and is ignored.
//! lock          held by whoever is at work
//! displaced/    contents that were displaced, named by the BLAKE3 of their bytes
//! away/         files nobody needs any more, until there is time to remove them
//! ```
//!
//! A record is written before anything is done that it speaks of, so that a killed process
//! leaves it behind. A sync costs as much as all the rest of a small rollback, so it is done only
//! where losing the record in a power cut would cost something; it takes with it all records
//! before it:
//!
//! | record | on the disk before | if a power cut takes it |
//! |---|---|---|
//! | `Begun` | `Prepared` | nothing has been touched, and nothing is undone |
//! | `Prepared` | it returns: nothing lies beside a file that no journal knows of | |
//! | `Staged`, `Armed`, `Committing` | the first rename, with the new versions, by the one `syncfs` | what was staged is removed by its name |
//! | `Committed` | `Verified` or `Confirmed` | it is undone as an interrupted commit, services included |
//! | `Verified`, `Confirmed` | they return: somebody is told, or the old versions go | |
//! | `Reverting`, `Undone` | they return | |
//! | `Told`, `Over` | the kernel's next write | what is left over is removed again; the report's words on validators and services are lost, what was displaced is listed anew from `Prepared` |
//!
//! What somebody else wrote meanwhile and the rollback displaced stands only in the report: that
//! report is synced before the file goes.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, flock, renameat, statat, syncfs};
use serde::{Deserialize, Serialize};
use umbra_api::blob::Blob;
use umbra_state::Digest;

use super::error::{RollbackError, journal};
use super::fault::{Fault, Faults};
use super::machine::Stand;
use super::options::Options;
use super::place::Spot;
use super::plan::Plan;
use super::report::{Outcome, Report};
use super::step::Step;
use super::timer::Armed;

/// One transition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Record {
    /// It begins.
    Begun { plan: Plan, options: Options },
    /// What will be done is known in every step; nothing has been touched.
    Prepared { steps: Vec<Step> },
    /// Every new version lies beside the old one, as these inodes.
    Staged { inodes: Vec<Option<u64>> },
    /// The timer runs.
    Armed { armed: Armed },
    /// It came to a stand.
    Stands(Stand),
    /// What the report says so far.
    Told { report: Report },
}

/// Lines may be this long: a plan holds the contents of files.
const LINE_BYTES_MAX: usize = 256 << 20;

/// The directory of what is not needed any more.
const AWAY: &str = "away";

/// How far from the end the last record of one that is over begins, mostly.
const TAIL_BYTES: u64 = 16 << 10;

/// An open journal; whoever has it is alone with the rollback.
#[derive(Debug)]
pub(super) struct Journal {
    pub(super) dir: PathBuf,
    log: File,
    /// How much of the log is whole records.
    whole: u64,
    /// What this process has kept.
    kept: BTreeSet<Digest>,
    /// Held as long as it is open.
    _lock: File,
    faults: Faults,
}

impl Journal {
    /// A new one.
    pub(super) fn create(dir: &Path, faults: Faults) -> Result<Self, RollbackError> {
        let mut private = fs::DirBuilder::new();
        private.mode(0o700);
        private.create(dir).map_err(journal("make the journal", dir))?;
        for below in ["displaced", AWAY] {
            private.create(dir.join(below)).map_err(journal("make the journal", dir))?;
        }
        Self::open(dir, faults)
    }

    /// One that exists, if nobody is at work on it.
    pub(super) fn open(dir: &Path, faults: Faults) -> Result<Self, RollbackError> {
        let failed = || journal("open the journal", dir);
        let mut options = File::options();
        options.mode(0o600).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32);
        options.append(true).create(true);
        let lock = options.open(dir.join("lock")).map_err(failed())?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(RollbackError::Busy(dir.to_owned())),
            Err(error) => return Err(failed()(error.into())),
        }
        let log = options.read(true).open(dir.join("log")).map_err(failed())?;
        let whole = log.metadata().map_err(failed())?.len();
        Ok(Self { dir: dir.to_owned(), log, whole, kept: BTreeSet::new(), _lock: lock, faults })
    }

    /// Appends and syncs a record.
    pub(super) fn record(&mut self, record: &Record) -> Result<(), RollbackError> {
        self.append(record)?;
        let failed = || journal("sync the journal", &self.dir);
        self.log.sync_data().map_err(failed())?;
        self.faults.hit(Fault::Recorded);
        Ok(())
    }

    /// Appends a record that may be lost in a power cut until the next sync.
    pub(super) fn append(&mut self, record: &Record) -> Result<(), RollbackError> {
        let failed = || journal("write the journal", &self.dir);
        let line = line(record).map_err(failed())?;
        if let Err(error) = self.log.write_all(&line) {
            // Half a line of a full disk must not stand before the next record.
            let _ = self.log.set_len(self.whole);
            return Err(failed()(error));
        }
        self.whole += line.len() as u64;
        self.faults.hit(Fault::Recorded);
        Ok(())
    }

    /// All records, and forgets a torn line so that the next one stands alone.
    pub(super) fn replay(&mut self) -> Result<Vec<Record>, RollbackError> {
        let (records, whole) = read(&self.dir)?;
        let failed = || journal("mend the journal", &self.dir);
        let length = self.log.metadata().map_err(failed())?.len();
        if whole < length {
            self.log.set_len(whole).map_err(failed())?;
        }
        self.whole = whole;
        Ok(records)
    }

    /// Keeps content under its digest.
    pub(super) fn save(&mut self, content: &mut dyn Read) -> Result<Digest, RollbackError> {
        let failed = || journal("keep what is displaced in", &self.dir);
        let folder = self.dir.join("displaced");
        let draft = folder.join("draft");
        let mut file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)
            .map_err(failed())?;
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            let length = content.read(&mut buffer).map_err(failed())?;
            if length == 0 {
                break;
            }
            hasher.update(&buffer[..length]);
            file.write_all(&buffer[..length]).map_err(failed())?;
        }
        let digest = Digest::new(*hasher.finalize().as_bytes());
        // To replace a file makes some filesystems write the new one out at once; what another
        // process kept may be torn.
        if self.kept.insert(digest) {
            fs::rename(&draft, folder.join(digest.to_string())).map_err(failed())?;
        } else {
            fs::remove_file(&draft).map_err(failed())?;
        }
        self.faults.hit(Fault::Saved);
        Ok(digest)
    }

    /// Moves a regular file that nobody needs any more out of the way; whether it could be.
    pub(super) fn put_away(&self, spot: &Spot, name: &Blob) -> bool {
        let is_file = statat(&spot.dir, &*spot.name, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_file());
        let to = self.dir.join(AWAY).join(OsStr::from_bytes(&name.0));
        is_file && renameat(&spot.dir, &*spot.name, CWD, &to).is_ok()
    }

    /// Brings everything kept to the disk.
    pub(super) fn sync(&self) -> Result<(), RollbackError> {
        let failed = || journal("sync the journal", &self.dir);
        let dir = File::open(self.dir.join("displaced")).map_err(failed())?;
        syncfs(dir.as_fd()).map_err(|error| failed()(error.into()))
    }
}

/// Removes what was put away.
pub(super) fn tidy(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir.join(AWAY)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Content a rollback displaced.
pub(super) fn kept(dir: &Path, digest: &Digest) -> io::Result<File> {
    File::open(dir.join("displaced").join(digest.to_string()))
}

/// All whole records of a journal and how long they are.
pub(super) fn read(dir: &Path) -> Result<(Vec<Record>, u64), RollbackError> {
    let failed = || journal("read the journal", dir);
    let file = File::open(dir.join("log")).map_err(failed())?;
    let mut bytes = Vec::new();
    file.take(LINE_BYTES_MAX as u64).read_to_end(&mut bytes).map_err(failed())?;
    let mut records = Vec::new();
    let mut whole = 0;
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    for (index, line) in lines.iter().enumerate() {
        match parse(line) {
            Some(record) => records.push(record),
            None if index + 1 == lines.len() => break,
            None => return Err(RollbackError::Damaged { path: dir.to_owned(), line: index + 1 }),
        }
        whole += line.len() as u64;
    }
    Ok((records, whole))
}

/// Whether a rollback needs nothing more. Journals are kept as long as what they displaced, so
/// that only the last record of most is read.
pub(super) fn is_over(dir: &Path) -> bool {
    let is_end = |record: &Record| match record {
        Record::Stands(Stand::Over { outcome }) => !matches!(outcome, Outcome::Stuck { .. }),
        _ => false,
    };
    if last(dir).ok().flatten().is_some_and(|record| is_end(&record)) {
        return true;
    }
    // One that cannot be read is not over; one that never began has touched nothing.
    read(dir).is_ok_and(|(records, _)| {
        let stand = records.iter().rev().find(|record| matches!(record, Record::Stands(_)));
        records.is_empty() || stand.is_some_and(is_end)
    })
}

/// The last record, where it is whole and short.
fn last(dir: &Path) -> io::Result<Option<Record>> {
    let mut file = File::open(dir.join("log"))?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut tail = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut tail)?;
    Ok(tail.split_inclusive(|byte| *byte == b'\n').next_back().and_then(parse))
}

fn line(record: &Record) -> io::Result<Vec<u8>> {
    let json = serde_json::to_vec(record)?;
    let mut line = checksum(&json).into_bytes();
    line.push(b' ');
    line.extend_from_slice(&json);
    line.push(b'\n');
    if line.len() > LINE_BYTES_MAX {
        return Err(io::Error::other("the plan is too large for a journal"));
    }
    Ok(line)
}

fn parse(line: &[u8]) -> Option<Record> {
    let line = line.strip_suffix(b"\n")?;
    let (sum, json) = line.split_at_checked(16)?;
    let json = json.strip_prefix(b" ")?;
    (checksum(json).as_bytes() == sum).then(|| serde_json::from_slice(json).ok()).flatten()
}

fn checksum(json: &[u8]) -> String {
    blake3::hash(json).to_hex()[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal_with(stands: &[Stand]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("journal");
        let mut journal = Journal::create(&path, Faults::default()).expect("journal");
        for stand in stands {
            journal.record(&Record::Stands(stand.clone())).expect("recorded");
        }
        (dir, path)
    }

    #[test]
    fn a_torn_line_was_never_written() {
        let (_keep, path) = journal_with(&[Stand::Committing, Stand::Committed]);
        let log = path.join("log");
        let whole = fs::read(&log).expect("log");
        let first = whole.iter().position(|byte| *byte == b'\n').expect("line") + 1;
        for cut in first..whole.len() {
            fs::write(&log, &whole[..cut]).expect("written");
            let mut journal = Journal::open(&path, Faults::default()).expect("journal");
            assert_eq!(journal.replay().expect("records"), [Record::Stands(Stand::Committing)]);
            journal.record(&Record::Stands(Stand::Verified)).expect("recorded");
            let records = journal.replay().expect("records");
            assert_eq!(records[1..], [Record::Stands(Stand::Verified)], "cut at {cut}");
        }
    }

    #[test]
    fn damage_in_the_middle_is_said() {
        let (_keep, path) = journal_with(&[Stand::Committing, Stand::Committed]);
        let mut bytes = fs::read(path.join("log")).expect("log");
        bytes[20] ^= 1;
        fs::write(path.join("log"), bytes).expect("written");
        let error = read(&path).expect_err("damaged");
        assert!(matches!(error, RollbackError::Damaged { line: 1, .. }), "{error}");
    }

    #[test]
    fn one_at_a_time() {
        let (_keep, path) = journal_with(&[]);
        let first = Journal::open(&path, Faults::default()).expect("journal");
        let second = Journal::open(&path, Faults::default());
        assert!(matches!(second, Err(RollbackError::Busy(_))));
        drop(first);
        Journal::open(&path, Faults::default()).expect("journal");
    }
}
