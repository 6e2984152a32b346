//! The thread that writes lines, and the queue in front of it.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use super::{LogStatus, Place};

/// So many lines wait,
const LINES_MAX: usize = 16_384;
/// of so many bytes.
const BYTES_MAX: u64 = 8 << 20;
/// Lines are gathered up to this before they are written.
const GATHERED_MAX: usize = 64 << 10;

/// A log cannot be begun.
#[derive(Debug, thiserror::Error)]
#[error("write an access log to {at}")]
pub struct OpenError {
    at: String,
    #[source]
    source: io::Error,
}

/// Lines that wait to be written.
#[derive(Debug)]
pub(super) struct Queue {
    to: SyncSender<Told>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    waiting: AtomicU64,
    written: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
    /// The file was moved away.
    moved: AtomicBool,
}

enum Told {
    Line(String),
    Look,
    Flush(SyncSender<()>),
}

impl Queue {
    pub(super) fn open(place: Place) -> Result<Self, OpenError> {
        let at = match &place {
            Place::Stdout => "standard output".to_owned(),
            Place::File(path) => path.display().to_string(),
        };
        let failed = |source| OpenError { at, source };
        let counts = Arc::new(Counts::default());
        let begun = || {
            let to = place.open()?;
            let (send, told) = sync_channel(LINES_MAX);
            let counts = Arc::clone(&counts);
            let writer = Writer { place, to, counts, gathered: String::new(), lines: 0 };
            thread::Builder::new().name("umbra-log".to_owned()).spawn(|| writer.run(told))?;
            Ok(send)
        };
        let to = begun().map_err(failed)?;
        Ok(Self { to, counts })
    }

    /// Never waits.
    pub(super) fn put(&self, line: String) {
        let bytes = line.len() as u64;
        let waiting = self.counts.waiting.fetch_add(bytes, Ordering::Relaxed);
        let put = waiting + bytes <= BYTES_MAX && self.to.try_send(Told::Line(line)).is_ok();
        if !put {
            self.counts.waiting.fetch_sub(bytes, Ordering::Relaxed);
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn reopen(&self) {
        self.counts.moved.store(true, Ordering::Release);
        // A writer with a full queue looks by itself.
        let _ = self.to.try_send(Told::Look);
    }

    pub(super) fn flush(&self, time: Duration) {
        let (done, is_done) = sync_channel(1);
        if self.to.try_send(Told::Flush(done)).is_ok() {
            // Whoever cannot wait any longer goes.
            let _ = is_done.recv_timeout(time);
        }
    }

    pub(super) fn status(&self) -> LogStatus {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LogStatus {
            written: read(&self.counts.written),
            dropped: read(&self.counts.dropped),
            failed: read(&self.counts.failed),
        }
    }
}

impl Place {
    fn open(&self) -> io::Result<Box<dyn Write + Send>> {
        Ok(match self {
            Self::Stdout => Box::new(io::stdout()),
            Self::File(path) => Box::new(append(path)?),
        })
    }
}

/// Whoever reads a log may be another of its group.
fn append(path: &Path) -> io::Result<std::fs::File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

struct Writer {
    place: Place,
    to: Box<dyn Write + Send>,
    counts: Arc<Counts>,
    /// Lines that are written together,
    gathered: String,
    /// and how many they are.
    lines: u64,
}

impl Writer {
    /// Until nobody has anything to say.
    fn run(mut self, told: Receiver<Told>) {
        while let Ok(first) = told.recv() {
            let mut next = Some(first);
            while let Some(one) = next {
                match one {
                    Told::Line(line) => {
                        self.gathered.push_str(&line);
                        self.lines += 1;
                    }
                    Told::Look => {}
                    Told::Flush(done) => {
                        self.settle();
                        // Whoever asked may be gone.
                        let _ = done.try_send(());
                    }
                }
                if self.gathered.len() >= GATHERED_MAX {
                    break;
                }
                next = told.try_recv().ok();
            }
            self.settle();
        }
    }

    /// Writes what is there, and goes on in a new file if there is to be one.
    fn settle(&mut self) {
        self.write();
        if self.counts.moved.swap(false, Ordering::Acquire) {
            self.reopen();
        }
    }

    fn write(&mut self) {
        if self.gathered.is_empty() {
            return;
        }
        let written = self.to.write_all(self.gathered.as_bytes()).and_then(|()| self.to.flush());
        let counter = match &written {
            Ok(()) => &self.counts.written,
            Err(_) => &self.counts.failed,
        };
        let before = counter.fetch_add(self.lines, Ordering::Relaxed);
        if let Err(error) = written
            && before == 0
        {
            tracing::error!(%error, "the access log cannot be written; lines are counted");
        }
        self.counts.waiting.fetch_sub(self.gathered.len() as u64, Ordering::Relaxed);
        self.gathered.clear();
        self.lines = 0;
    }

    fn reopen(&mut self) {
        match self.place.open() {
            Ok(to) => self.to = to,
            Err(error) => {
                tracing::error!(%error, "the access log cannot be opened anew; the old one is used");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_counted_and_never_waited_for() {
        // Nobody reads this.
        let (reader, pipe) = io::pipe().unwrap();
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&pipe));
        let queue = Queue::open(Place::File(path.into())).unwrap();
        let line = "x".repeat(1_000) + "\n";
        let asked = 2 * BYTES_MAX / 1_000;
        for _ in 0..asked {
            queue.put(line.clone());
        }
        assert!(queue.status().dropped >= asked / 3, "{:?}", queue.status());
        let mut reader = reader;
        let read = thread::spawn(move || io::copy(&mut reader, &mut io::sink()).unwrap());
        queue.flush(Duration::from_secs(20));
        let status = queue.status();
        assert_eq!(status.written + status.dropped, asked, "{status:?}");
        drop((queue, pipe));
        assert_eq!(read.join().unwrap(), status.written * 1_001);
    }

    #[test]
    fn a_file_that_was_moved_away_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let queue = Queue::open(Place::File(path.clone())).unwrap();
        queue.put("one\n".to_owned());
        queue.flush(Duration::from_secs(20));
        std::fs::rename(&path, dir.path().join("old")).unwrap();
        queue.put("two\n".to_owned());
        queue.flush(Duration::from_secs(20));
        queue.reopen();
        queue.flush(Duration::from_secs(20));
        queue.put("three\n".to_owned());
        queue.flush(Duration::from_secs(20));
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!((read("old"), read("log")), ("one\ntwo\n".to_owned(), "three\n".to_owned()));
        assert!(Queue::open(Place::File(dir.path().join("no/log"))).is_err());
    }
}
