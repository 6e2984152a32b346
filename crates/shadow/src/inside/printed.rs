//! The end of what somebody prints, read as it comes so that nobody waits for a reader.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use rustix::event::{PollFd, PollFlags};

use super::exchange;

/// How much is remembered.
const LOG_BYTES_MAX: usize = 1 << 20;

/// See the module. Dropping it stops the reading.
pub(crate) struct Printed {
    log: Arc<Mutex<Log>>,
    stop: Option<io::PipeWriter>,
    reader: Option<JoinHandle<()>>,
}

impl Printed {
    /// Reads `source`, a pipe or terminal, until it ends.
    pub(crate) fn read(source: OwnedFd) -> io::Result<Self> {
        exchange::without_waiting(&source)?;
        let (stopped, stop) = io::pipe()?;
        let watched = source.try_clone()?;
        let log = Arc::new(Mutex::new(Log { source: Some(source.into()), tail: VecDeque::new() }));
        let shared = Arc::clone(&log);
        let reader = thread::Builder::new()
            .name("umbra-printed".to_owned())
            .spawn(move || read_until_stopped(&shared, &watched, &stopped))?;
        Ok(Self { log, stop: Some(stop), reader: Some(reader) })
    }

    /// The last bytes, at most `bytes_max`.
    pub(crate) fn tail(&self, bytes_max: u64) -> Vec<u8> {
        let mut log = lock(&self.log);
        log.take_in();
        let wanted = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        let start = log.tail.len().saturating_sub(wanted);
        log.tail.range(start..).copied().collect()
    }
}

impl Drop for Printed {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(reader) = self.reader.take() {
            // A panic in it has been reported by its thread.
            let _ = reader.join();
        }
    }
}

struct Log {
    /// Until the last writer is gone.
    source: Option<File>,
    tail: VecDeque<u8>,
}

impl Log {
    /// Takes in all that has been printed so far.
    fn take_in(&mut self) {
        let mut buffer = [0u8; 16 << 10];
        while let Some(source) = &mut self.source {
            match source.read(&mut buffer) {
                Ok(0) => self.source = None,
                Ok(length) => self.append(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.source = None,
            }
        }
    }

    fn append(&mut self, bytes: &[u8]) {
        let excess = (self.tail.len() + bytes.len()).saturating_sub(LOG_BYTES_MAX);
        self.tail.drain(..excess.min(self.tail.len()));
        self.tail.extend(bytes);
    }
}

fn read_until_stopped(log: &Mutex<Log>, watched: &OwnedFd, stopped: &io::PipeReader) {
    loop {
        let mut fds = [PollFd::new(watched, PollFlags::IN), PollFd::new(stopped, PollFlags::IN)];
        let polled = exchange::poll_until(&mut fds, None);
        if polled.is_err() || !fds[1].revents().is_empty() {
            return;
        }
        let mut log = lock(log);
        log.take_in();
        if log.source.is_none() {
            return;
        }
    }
}

fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    // A log that lost its last few bytes to a panic is still a log.
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_keeps_its_end_only() {
        let mut log = Log { source: None, tail: VecDeque::new() };
        log.append(&vec![b'a'; LOG_BYTES_MAX - 1]);
        log.append(b"bcd");
        assert_eq!(log.tail.len(), LOG_BYTES_MAX);
        assert!(log.tail.iter().rev().take(4).eq(b"dcba"));
    }
}
