//! A file that gets a line for each document.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use umbra_state::escape::escape;

use super::{Document, Sink, SinkError};

/// Appends to a file and waits until it is on the disk.
///
/// The file is opened anew each time, so that it may be moved away at any moment. A line that
/// was cut off by a full disk or a crash stays one line: the next begins on one of its own.
#[derive(Debug)]
pub struct JsonLines {
    path: PathBuf,
    /// Two lines at once would mix.
    turn: Mutex<()>,
}

impl JsonLines {
    /// To the file at `path`, which is made if it is not there.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), turn: Mutex::new(()) }
    }

    fn append(&self, line: &[u8]) -> io::Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o600).custom_flags(flags);
        let mut file = options.open(&self.path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
        }
        let mut bytes = Vec::with_capacity(line.len() + 2);
        if !ends_a_line(&mut file)? {
            bytes.push(b'\n');
        }
        bytes.extend_from_slice(line);
        if !line.ends_with(b"\n") {
            bytes.push(b'\n');
        }
        file.write_all(&bytes)?;
        file.sync_data()
    }
}

fn ends_a_line(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

impl Sink for JsonLines {
    fn deliver(&self, document: &Document) -> Result<(), SinkError> {
        use std::os::unix::ffi::OsStrExt;
        self.append(&document.body.0).map_err(|source| SinkError::Unreachable {
            to: escape(self.path.as_os_str().as_bytes()).to_string(),
            source,
        })
    }
}
