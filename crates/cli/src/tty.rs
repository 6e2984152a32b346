//! This process's terminal while one in a shadow has it.

use std::io::{IsTerminal, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use umbra_api::attach::Frame;
use umbra_api::client::{Attachment, AttachmentWriter, ClientError};
use umbra_api::shadow::TerminalSize;
use umbra_state::Exit;

/// How an attachment ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum AttachEnd {
    /// The command ended.
    Exit(Exit),
    /// The terminal was lost; the daemon's words.
    Lost(String),
}

/// The size of this process's terminal, or what one has that is none.
pub(crate) fn size() -> TerminalSize {
    let size = tcgetwinsize(std::io::stdout()).or_else(|_| tcgetwinsize(std::io::stdin()));
    match size {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
            TerminalSize { columns: size.ws_col, rows: size.ws_row }
        }
        _ => TerminalSize { columns: 80, rows: 24 },
    }
}

/// Carries this terminal's input and output until the command in the shadow ends. The
/// terminal is what it was before afterwards, also after a panic.
pub(crate) fn carry(attachment: Attachment) -> Result<AttachEnd, ClientError> {
    let (mut reader, writer) = attachment.split();
    let raw = Raw::enter();
    let writer = Arc::new(Mutex::new(writer));
    let typing = Typing::start(Arc::clone(&writer)).map_err(ClientError::Io)?;
    let resizing = Resizing::start(Arc::clone(&writer));
    let end = loop {
        match reader.next_frame() {
            Ok(Some(Frame::Stdout(bytes))) => {
                let mut out = std::io::stdout().lock();
                if let Err(error) = out.write_all(&bytes).and_then(|()| out.flush()) {
                    break Err(ClientError::Io(error));
                }
            }
            Ok(Some(Frame::Exit(exit))) => break Ok(AttachEnd::Exit(exit)),
            Ok(Some(Frame::Error(text))) => break Ok(AttachEnd::Lost(text)),
            // Frames that only clients send mean nothing from a daemon.
            Ok(Some(Frame::Stdin(_) | Frame::Resize(_) | Frame::Eof)) => {}
            Ok(None) => break Ok(AttachEnd::Lost("the daemon hung up".into())),
            Err(error) => break Err(error),
        }
    };
    drop(typing);
    drop(resizing);
    send(&writer, None);
    drop(raw);
    end
}

/// Sends a frame, or hangs up. A connection that is gone is noticed by the reader.
fn send(writer: &Mutex<AttachmentWriter>, frame: Option<&Frame>) {
    let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
    match frame {
        Some(frame) => drop(writer.send(frame)),
        None => writer.close(),
    }
}

/// A thread that passes on what is typed; dropping it ends it without eating a key more.
struct Typing {
    wake: Option<OwnedFd>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Typing {
    fn start(writer: Arc<Mutex<AttachmentWriter>>) -> std::io::Result<Self> {
        let (woken, wake) = pipe_with(PipeFlags::CLOEXEC)?;
        let thread = std::thread::Builder::new()
            .name("umbra-typing".into())
            .spawn(move || type_on(&writer, &woken))?;
        Ok(Self { wake: Some(wake), thread: Some(thread) })
    }
}

impl Drop for Typing {
    fn drop(&mut self) {
        // Closing the pipe wakes the thread.
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            // It has nothing to report.
            let _ = thread.join();
        }
    }
}

fn type_on(writer: &Mutex<AttachmentWriter>, woken: &OwnedFd) {
    let stdin = std::io::stdin();
    let mut buffer = [0u8; 4096];
    loop {
        let mut fds = [
            PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(woken.as_fd(), PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(_) => return,
        }
        if !fds[1].revents().is_empty() {
            return;
        }
        match rustix::io::read(stdin.as_fd(), &mut buffer) {
            Ok(0) => {
                send(writer, Some(&Frame::Eof));
                return;
            }
            Ok(count) => send(writer, Some(&Frame::Stdin(buffer[..count].to_vec()))),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => return,
        }
    }
}

/// A thread that passes on the window's new size.
struct Resizing {
    stop: Option<tokio::sync::oneshot::Sender<()>>,
}

impl Resizing {
    fn start(writer: Arc<Mutex<AttachmentWriter>>) -> Self {
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        // Without the thread the size stays what it was: worth no failure.
        let _ = std::thread::Builder::new().name("umbra-size".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
            let Ok(runtime) = runtime else { return };
            runtime.block_on(async {
                let kind = tokio::signal::unix::SignalKind::window_change();
                let Ok(mut changes) = tokio::signal::unix::signal(kind) else { return };
                loop {
                    tokio::select! {
                        _ = changes.recv() => send(&writer, Some(&Frame::Resize(size()))),
                        _ = &mut stopped => return,
                    }
                }
            });
        });
        Self { stop: Some(stop) }
    }
}

impl Drop for Resizing {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // A thread that is gone needs no message.
            let _ = stop.send(());
        }
    }
}

/// Raw mode; leaving it restores what was.
struct Raw {
    before: Option<Termios>,
}

impl Raw {
    /// Standard input in raw mode where it is a terminal.
    fn enter() -> Self {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return Self { before: None };
        }
        let Ok(before) = tcgetattr(&stdin) else { return Self { before: None } };
        let mut raw = before.clone();
        raw.make_raw();
        let set = tcsetattr(&stdin, OptionalActions::Drain, &raw);
        Self { before: set.is_ok().then_some(before) }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // Nothing more can be done for a terminal that refuses.
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Drain, before);
        }
    }
}
