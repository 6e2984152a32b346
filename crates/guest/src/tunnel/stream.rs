//! One stream of a channel: bytes from a descriptor here to one at the other end, and the other
//! way round. What nobody takes stays where it comes from.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::run::TerminalSize;

use super::frame::{Body, DATA_BYTES_MAX, Malformed, WINDOW};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// Its bytes go to the other end.
    from: Option<OwnedFd>,
    /// Gets the other end's bytes.
    to: Option<OwnedFd>,
    /// The other end takes so many more.
    credit: u32,
    /// Came, and was not written yet.
    waiting: VecDeque<u8>,
    /// Nothing comes behind what waits.
    ends: bool,
    /// Was written, and the other end does not know it yet.
    taken: u32,
}

impl Stream {
    pub(super) fn new(from: Option<OwnedFd>, to: Option<OwnedFd>) -> Result<Self, Errno> {
        for fd in [&from, &to].into_iter().flatten() {
            without_waiting(fd)?;
        }
        Ok(Self { from, to, credit: WINDOW, ..Self::default() })
    }

    /// Where something may be read that the other end takes.
    pub(super) fn reads(&self) -> Option<BorrowedFd<'_>> {
        self.from.as_ref().filter(|_| self.credit > 0).map(AsFd::as_fd)
    }

    /// Where something is to be written.
    pub(super) fn writes(&self) -> Option<BorrowedFd<'_>> {
        self.to.as_ref().filter(|_| !self.waiting.is_empty()).map(AsFd::as_fd)
    }

    /// Whether something may be there to be read that the other end does not take now.
    pub(super) fn is_out_of_credit(&self) -> bool {
        self.from.is_some() && self.credit == 0
    }

    /// Whether nothing can go either way any more.
    pub(super) fn is_over(&self) -> bool {
        self.from.is_none() && self.to.is_none()
    }

    /// Whether all that came has been taken.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Reads once; what the other end is to be told, if anything.
    pub(super) fn read(&mut self, number: usize) -> Option<Body> {
        let from = self.from.as_ref()?;
        let mut buffer = vec![0; DATA_BYTES_MAX.min(self.credit as usize)];
        match rustix::io::read(from, &mut buffer) {
            Err(Errno::AGAIN | Errno::INTR) => None,
            // A terminal whose command is gone says `EIO`.
            Ok(0) | Err(_) => {
                self.from = None;
                Some(Body::Eof(number))
            }
            Ok(length) => {
                buffer.truncate(length);
                self.credit -= length as u32;
                Some(Body::Data(number, buffer))
            }
        }
    }

    /// Takes what came.
    ///
    /// # Errors
    /// The other end was not allowed to send as much.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        if self.ends || self.waiting.len() + bytes.len() + self.taken as usize > WINDOW as usize {
            return Err(Malformed);
        }
        self.waiting.extend(bytes);
        self.write();
        Ok(())
    }

    /// Tells a terminal its size. What is none, or has been closed, has none.
    pub(super) fn resize(&self, size: TerminalSize) {
        if let Some(to) = &self.to {
            let _ = rustix::termios::tcsetwinsize(to, size.winsize());
        }
    }

    /// Nothing more comes.
    pub(super) fn end(&mut self) {
        self.ends = true;
        self.write();
    }

    /// The other end takes so many more.
    ///
    /// # Errors
    /// More than can have been taken.
    pub(super) fn credit(&mut self, bytes: u32) -> Result<(), Malformed> {
        let credit = self.credit.checked_add(bytes).filter(|credit| *credit <= WINDOW);
        self.credit = credit.ok_or(Malformed)?;
        Ok(())
    }

    /// Writes what can be written now.
    pub(super) fn write(&mut self) {
        while !self.waiting.is_empty() {
            let Some(to) = &self.to else {
                // Nobody reads it any more: it counts as taken.
                self.taken += self.waiting.len() as u32;
                self.waiting.clear();
                break;
            };
            match rustix::io::write(to, self.waiting.as_slices().0) {
                Ok(length) => {
                    self.waiting.drain(..length);
                    self.taken += length as u32;
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(_) => self.to = None,
            }
        }
        if self.ends
            && let Some(to) = self.to.take()
        {
            // Of a socket that is read as well this is one half; of a pipe the last writer goes.
            let _ = rustix::net::shutdown(&to, rustix::net::Shutdown::Write);
        }
    }

    /// What the other end is to be told of what was taken, once it is worth it.
    pub(super) fn news(&mut self, number: usize) -> Option<Body> {
        if self.taken == 0 || (self.taken < WINDOW / 4 && !self.waiting.is_empty()) {
            return None;
        }
        Some(Body::Credit(number, std::mem::take(&mut self.taken)))
    }
}

/// Makes reads and writes return at once.
fn without_waiting(fd: &OwnedFd) -> Result<(), Errno> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_was_allowed_is_refused() {
        let (_reader, writer) = std::io::pipe().expect("a pipe");
        let mut stream = Stream::new(None, Some(writer.into())).expect("a stream");
        let piece = vec![0; DATA_BYTES_MAX];
        for _ in 0..WINDOW as usize / DATA_BYTES_MAX {
            assert_eq!(stream.put(&piece), Ok(()));
        }
        assert_eq!(stream.put(&[0]), Err(Malformed));
    }

    #[test]
    fn credit_comes_back_once_and_no_more() {
        let (reader, mut feed) = std::io::pipe().expect("a pipe");
        std::io::Write::write_all(&mut feed, b"hello").expect("fed");
        let mut stream = Stream::new(Some(reader.into()), None).expect("a stream");
        assert_eq!(stream.read(1), Some(Body::Data(1, b"hello".to_vec())));
        assert_eq!(stream.read(1), None);
        assert_eq!(stream.credit(6), Err(Malformed));
        assert_eq!(stream.credit(5), Ok(()));
        drop(feed);
        assert_eq!(stream.read(1), Some(Body::Eof(1)));
        assert!(stream.reads().is_none());
    }
}
