//! Anything that is written to: the daemon's log, a terminal.

use std::io::Write;
use std::sync::{Mutex, PoisonError};

use super::{Document, Sink, SinkError};

/// Writes the document's body.
#[derive(Debug)]
pub struct Stream<W> {
    name: String,
    to: Mutex<W>,
}

impl<W: Write + Send> Stream<W> {
    /// `name` stands for it in errors.
    pub fn new(name: &str, to: W) -> Self {
        Self { name: name.to_owned(), to: Mutex::new(to) }
    }
}

impl Stream<std::fs::File> {
    /// The terminal this process was started from.
    ///
    /// # Errors
    /// There is none: a service has no terminal.
    pub fn terminal() -> Result<Self, SinkError> {
        let opened = std::fs::OpenOptions::new().write(true).open("/dev/tty");
        let tty = opened.map_err(|_| SinkError::Unavailable {
            what: "the terminal".to_owned(),
            why: "this process has none".to_owned(),
        })?;
        Ok(Self::new("the terminal", tty))
    }
}

impl<W: Write + Send> Sink for Stream<W> {
    fn deliver(&self, document: &Document) -> Result<(), SinkError> {
        let mut to = self.to.lock().unwrap_or_else(PoisonError::into_inner);
        // One write, so that what others write stands before it or behind it.
        let written = to.write_all(&document.body.0).and_then(|()| to.flush());
        written.map_err(|source| SinkError::Unreachable { to: self.name.clone(), source })
    }
}
