//! The file that keeps every outcome, as `umbra_judge::journal` writes it.
//!
//! It is made where nothing is, for its owner only, and locked by whoever judges: of a gateway and
//! its successor the one waits until the other has let go. What a crash left of a last batch is cut
//! off. Where it cannot be written any more judging goes on without it, and says so.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use umbra_judge::journal::BATCH_RECORDS_MAX;
use umbra_judge::journal::read::Reader;
use umbra_judge::journal::write::Writer;
use umbra_judge::outcome::Record;
use umbra_judge::settings::Settings;
use umbra_state::chain;

use super::wire::JournalStatus;

/// A journal is no longer: some 250 million outcomes.
const BYTES_MAX: u64 = 4 << 30;
/// What is told is in the file at the latest then, decisions at once.
const WRITE_TIME: Duration = Duration::from_millis(50);
const PIECE_BYTES: usize = 256 << 10;

/// A journal, which may be somebody else's at the moment.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: Option<(File, Writer)>,
    pending: Vec<Record>,
    is_urgent: bool,
    bytes: u64,
    written: Instant,
    problem: Option<String>,
}

impl Journal {
    /// A new one.
    ///
    /// # Errors
    /// Something is there already, or the kernel refuses.
    pub(super) fn create(path: &Path, settings: &Settings) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(path)?;
        let mut header = Vec::new();
        let writer = Writer::begin(settings, &mut header);
        let begun = file.try_lock().map_err(io::Error::from).and_then(|()| file.write_all(&header));
        if let Err(error) = begun {
            // Nobody else knows of it.
            let _ = std::fs::remove_file(path);
            return Err(error);
        }
        let bytes = header.len() as u64;
        Ok(Self { file: Some((file, writer)), bytes, ..Self::at(path.to_owned()) })
    }

    /// One that is somebody else's so far.
    pub(super) fn at(path: PathBuf) -> Self {
        let (pending, written) = (Vec::new(), Instant::now());
        Self { path, file: None, pending, is_urgent: false, bytes: 0, written, problem: None }
    }

    /// Reads what it has and goes on behind that; `false` while it is somebody else's. Where it
    /// cannot be read there is a problem, and nothing more is kept.
    pub(super) fn take(&mut self, settings: &Settings, each: impl FnMut(&Record)) -> bool {
        match self.open(settings, each) {
            Ok(false) => return false,
            Ok(true) => self.problem = None,
            Err(error) => self.fail(chain(&*error)),
        }
        true
    }

    fn open(
        &mut self,
        settings: &Settings,
        mut each: impl FnMut(&Record),
    ) -> Result<bool, Box<dyn std::error::Error>> {
        let mut options = OpenOptions::new();
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
        let mut file = options.read(true).write(true).custom_flags(flags).open(&self.path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        if !file.metadata()?.is_file() {
            return Err("it is no file".into());
        }
        let mut reader = Reader::new();
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let read = match file.read(&mut piece) {
                Ok(0) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            reader.push(&piece[..read], |_, record| each(record))?;
        }
        if reader.settings() != Some(settings) {
            return Err("it is another rollout's".into());
        }
        let end = reader.finish()?;
        if let Some((broken, bytes)) = end.broken {
            let (path, broken) = (self.path.display().to_string(), broken.words());
            tracing::warn!(path, bytes, broken, "the end of a journal is cut off");
            file.set_len(end.whole_bytes)?;
        }
        file.seek(SeekFrom::Start(end.whole_bytes))?;
        (self.file, self.bytes) = (Some((file, end.writer)), end.whole_bytes);
        Ok(true)
    }

    /// One more, which is written soon.
    pub(super) fn put(&mut self, record: &Record) {
        if self.file.is_some() {
            self.is_urgent |= matches!(record, Record::Decision(_));
            self.pending.push(*record);
        }
    }

    /// Writes what is due.
    pub(super) fn write(&mut self, now: Instant) {
        let is_due = self.is_urgent
            || self.pending.len() >= BATCH_RECORDS_MAX
            || now.saturating_duration_since(self.written) >= WRITE_TIME;
        if is_due && !self.pending.is_empty() {
            self.written = now;
            if let Err(why) = self.write_all() {
                self.fail(why);
            }
        }
    }

    fn write_all(&mut self) -> Result<(), String> {
        let Some((file, writer)) = &mut self.file else { return Ok(()) };
        let mut batch = Vec::new();
        writer.batch(&self.pending, &mut batch);
        self.pending.clear();
        self.is_urgent = false;
        if self.bytes + batch.len() as u64 > BYTES_MAX {
            return Err("it is full".to_owned());
        }
        file.write_all(&batch).map_err(|error| error.to_string())?;
        self.bytes += batch.len() as u64;
        Ok(())
    }

    /// It is nobody's, with all there is.
    pub(super) fn close(&mut self) {
        let closed = self.write_all().and_then(|()| match self.file.take() {
            Some((file, _)) => file.sync_data().map_err(|error| error.to_string()),
            None => Ok(()),
        });
        if let Err(why) = closed {
            self.fail(why);
        }
    }

    /// How it stands.
    pub(super) fn status(&self) -> JournalStatus {
        JournalStatus { path: self.path.clone(), bytes: self.bytes, problem: self.problem.clone() }
    }

    fn fail(&mut self, why: String) {
        let path = self.path.display().to_string();
        tracing::error!(path, why, "a journal is not written any more");
        (self.file, self.problem) = (None, Some(why));
        self.pending.clear();
    }
}
