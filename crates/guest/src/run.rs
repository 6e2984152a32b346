//! What a view's first process is asked for, and what it answers.

use serde::{Deserialize, Serialize};
use umbra_state::{Command, Exit};

/// Columns and rows of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Characters in a line.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
}

impl TerminalSize {
    /// As the kernel takes it.
    pub fn winsize(self) -> rustix::termios::Winsize {
        rustix::termios::Winsize {
            ws_col: self.columns,
            ws_row: self.rows,
            ws_xpixel: 0,
            ws_ypixel: 0,
        }
    }
}

/// To an init, with descriptors: the run's own socket, then stdin, stdout and stderr unless a
/// terminal is asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRequest {
    /// What to run.
    pub command: Command,
    /// The size of a new terminal, if it is to have one.
    pub terminal: Option<TerminalSize>,
}

/// On a run's own socket, from the init.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum RunEvent {
    /// The program is running; with the terminal's descriptor where one was asked for.
    Started,
    /// It could not be started.
    NotStarted(String),
    /// It ended.
    Ended(Exit),
}

/// On a run's own socket, to the init. Closing the socket kills as well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum RunControl {
    /// End it.
    Kill,
    /// Its terminal, which is at the other end of a tunnel, has another size now.
    Resize(TerminalSize),
}
