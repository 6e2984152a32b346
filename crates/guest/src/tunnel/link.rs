//! A tunnel's way: frames in and out of a descriptor that never waits.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::frame::{Body, Decoder, Frame};
use super::stream::Stream;

/// See the module.
pub(super) struct Link {
    port: OwnedFd,
    decoder: Decoder,
    out: VecDeque<u8>,
}

impl Link {
    pub(super) fn new(port: OwnedFd) -> io::Result<Self> {
        let flags = rustix::fs::fcntl_getfl(&port)?;
        rustix::fs::fcntl_setfl(&port, flags | rustix::fs::OFlags::NONBLOCK)?;
        Ok(Self { port, decoder: Decoder::default(), out: VecDeque::new() })
    }

    pub(super) fn port(&self) -> BorrowedFd<'_> {
        self.port.as_fd()
    }

    /// Whether something waits to be written.
    pub(super) fn is_full(&self) -> bool {
        !self.out.is_empty()
    }

    pub(super) fn say(&mut self, channel: u32, body: Body) {
        Frame { channel, body }.write(&mut self.out);
    }

    pub(super) fn send(&mut self, frame: &Frame) {
        frame.write(&mut self.out);
    }

    /// Writes what can be written now.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while !self.out.is_empty() {
            match rustix::io::write(&self.port, self.out.as_slices().0) {
                Ok(0) | Err(Errno::AGAIN) => break,
                Ok(length) => drop(self.out.drain(..length)),
                Err(Errno::INTR) => {}
                // Its end shows where it is read, behind what came before.
                Err(Errno::PIPE | Errno::CONNRESET) => self.out.clear(),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The frames that came; `None` once nothing can come any more.
    pub(super) fn receive(&mut self) -> io::Result<Option<Vec<Frame>>> {
        let mut buffer = [0; 64 << 10];
        match rustix::io::read(&self.port, &mut buffer) {
            Ok(0) => return Ok(None),
            Ok(length) => self.decoder.push(&buffer[..length]),
            Err(Errno::AGAIN | Errno::INTR) => {}
            // A machine that is switched off leaves what it was told unread.
            Err(Errno::CONNRESET) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let mut frames = Vec::new();
        while let Some(frame) = self.decoder.next_frame().map_err(|_| malformed())? {
            frames.push(frame);
        }
        Ok(Some(frames))
    }

    /// Tells what a stream has to say: that bytes of it were taken.
    pub(super) fn tell_news(&mut self, channel: u32, number: usize, stream: &mut Stream) {
        if let Some(news) = stream.news(number) {
            self.say(channel, news);
        }
    }
}

pub(super) fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "what came through the tunnel is none of ours")
}
