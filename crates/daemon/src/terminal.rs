//! Carrying bytes between a terminal in a shadow and a client's connection.
//!
//! One thread polls both. What is typed waits in a bounded buffer while the program does not
//! read it, and then the connection is not read either; a client that does not read what is
//! printed for [`WRITE_WAIT`] is taken for gone.

use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use tokio::sync::watch;
use umbra_api::attach::{Decoder, FRAME_BYTES_MAX, Frame};
use umbra_shadow::ShadowError;
use umbra_shadow::provider::{Attached, TerminalSize};

use crate::http::attach::error_frame;

const WRITE_WAIT: Duration = Duration::from_secs(30);
const TYPED_BYTES_MAX: usize = 64 * 1024;

/// How often to look whether the daemon goes down.
const CLOSING_LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// End-of-transmission: what a terminal makes of Ctrl-D.
const EOT: u8 = 4;

/// Carries until the command ends, the client hangs up or the daemon goes down, and tells the
/// client how it ended. `early` is what was already read from the client.
pub(crate) fn carry(
    client: &UnixStream,
    early: &[u8],
    attached: &mut dyn Attached,
    closing: &watch::Receiver<bool>,
) {
    let mut carrier = Carrier { client, decoder: Decoder::default(), typed: Vec::new() };
    carrier.decoder.push(early);
    let last = match carrier.run(attached, closing) {
        Ok(Over::ClientGone) => return,
        Ok(Over::Closing) => Frame::Error("keep the terminal: the daemon is going down".into()),
        Ok(Over::Ended) => match attached.wait() {
            Ok(exit) => Frame::Exit(exit),
            Err(error) => error_frame(&error),
        },
        Err(error) => error_frame(&error),
    };
    // A client that is gone does not miss it.
    let _ = carrier.tell(&last);
}

enum Over {
    Ended,
    ClientGone,
    Closing,
}

struct Carrier<'a> {
    client: &'a UnixStream,
    decoder: Decoder,
    typed: Vec<u8>,
}

impl Carrier<'_> {
    fn run(
        &mut self,
        attached: &dyn Attached,
        closing: &watch::Receiver<bool>,
    ) -> Result<Over, ShadowError> {
        let terminal = attached.terminal();
        set_nonblocking(terminal).map_err(system("prepare the terminal"))?;
        let waiting = self.client.set_write_timeout(Some(WRITE_WAIT));
        waiting.map_err(|source| ShadowError::System {
            doing: "prepare the connection".into(),
            source,
        })?;
        if !self.take_frames(attached)? {
            return Ok(Over::ClientGone);
        }
        loop {
            let (from_terminal, from_client) = self.poll(terminal)?;
            if from_terminal.contains(PollFlags::OUT) && !self.typed.is_empty() {
                self.type_on(terminal)?;
            }
            if from_terminal.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                match self.print(terminal)? {
                    Printed::Some => {}
                    Printed::End => return Ok(Over::Ended),
                    Printed::ClientGone => return Ok(Over::ClientGone),
                }
            }
            if from_client.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR)
                && !self.hear(attached)?
            {
                return Ok(Over::ClientGone);
            }
            if *closing.borrow() {
                return Ok(Over::Closing);
            }
        }
    }

    fn poll(&self, terminal: BorrowedFd<'_>) -> Result<(PollFlags, PollFlags), ShadowError> {
        let mut wanted = PollFlags::IN;
        if !self.typed.is_empty() {
            wanted |= PollFlags::OUT;
        }
        let hear =
            if self.typed.len() < TYPED_BYTES_MAX { PollFlags::IN } else { PollFlags::empty() };
        let mut fds = [
            PollFd::from_borrowed_fd(terminal, wanted),
            PollFd::from_borrowed_fd(self.client.as_fd(), hear),
        ];
        match poll(&mut fds, Some(&CLOSING_LOOK)) {
            Ok(_) | Err(Errno::INTR) => Ok((fds[0].revents(), fds[1].revents())),
            Err(error) => Err(system("wait for the terminal")(error)),
        }
    }

    /// Passes on what was printed.
    fn print(&mut self, terminal: BorrowedFd<'_>) -> Result<Printed, ShadowError> {
        let mut buffer = [0u8; FRAME_BYTES_MAX];
        match rustix::io::read(terminal, &mut buffer) {
            // A terminal whose last program is gone reads as an error.
            Ok(0) | Err(Errno::IO) => Ok(Printed::End),
            Err(Errno::AGAIN | Errno::INTR) => Ok(Printed::Some),
            Err(error) => Err(system("read the terminal")(error)),
            Ok(count) => match self.tell(&Frame::Stdout(buffer[..count].to_vec())) {
                Ok(()) => Ok(Printed::Some),
                Err(_) => Ok(Printed::ClientGone),
            },
        }
    }

    fn tell(&mut self, frame: &Frame) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        self.client.write_all(&bytes)
    }

    /// Types what waits, as much as the terminal takes.
    fn type_on(&mut self, terminal: BorrowedFd<'_>) -> Result<(), ShadowError> {
        match rustix::io::write(terminal, &self.typed) {
            Ok(count) => {
                self.typed.drain(..count);
                Ok(())
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            // Its end is seen by reading.
            Err(Errno::IO) => {
                self.typed.clear();
                Ok(())
            }
            Err(error) => Err(system("type on the terminal")(error)),
        }
    }

    /// Takes what the client sent; false where it is gone or sends nonsense.
    fn hear(&mut self, attached: &dyn Attached) -> Result<bool, ShadowError> {
        let mut buffer = [0u8; FRAME_BYTES_MAX];
        match self.client.read(&mut buffer) {
            Ok(0) => Ok(false),
            Ok(count) => {
                self.decoder.push(&buffer[..count]);
                self.take_frames(attached)
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => Ok(true),
            Err(_) => Ok(false),
        }
    }

    fn take_frames(&mut self, attached: &dyn Attached) -> Result<bool, ShadowError> {
        loop {
            match self.decoder.next_frame() {
                Ok(None) => return Ok(true),
                Ok(Some(Frame::Stdin(bytes))) => self.typed.extend_from_slice(&bytes),
                Ok(Some(Frame::Eof)) => self.typed.push(EOT),
                Ok(Some(Frame::Resize(size))) => {
                    attached.resize(TerminalSize { columns: size.columns, rows: size.rows })?;
                }
                Ok(Some(Frame::Stdout(_) | Frame::Exit(_) | Frame::Error(_))) => return Ok(false),
                Err(error) => {
                    tracing::warn!(%error, "a client sent something that is no frame");
                    return Ok(false);
                }
            }
        }
    }
}

enum Printed {
    Some,
    End,
    ClientGone,
}

fn set_nonblocking(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = fcntl_getfl(fd)?;
    fcntl_setfl(fd, flags | OFlags::NONBLOCK)
}

fn system(doing: &'static str) -> impl FnOnce(Errno) -> ShadowError {
    move |error| ShadowError::System { doing: doing.into(), source: error.into() }
}
