//! A text file, read whole and within bounds.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

/// Why a text file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Nothing stands there.
    #[error("there is no such file")]
    Missing,
    /// It is a directory or something stranger.
    #[error("it is no regular file")]
    NotAFile,
    /// It is too long.
    #[error("it is longer than {bytes_max} bytes")]
    TooLong {
        /// How long it may be.
        bytes_max: u64,
    },
    /// It is not text.
    #[error("it is not UTF-8 from byte {offset} on")]
    NotText {
        /// The first byte that does not belong to a character.
        offset: usize,
    },
    /// The system refused.
    #[error("{0}")]
    Io(std::io::Error),
}

impl From<Errno> for ReadError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT | Errno::NOTDIR => Self::Missing,
            errno => Self::Io(errno.into()),
        }
    }
}

/// How a file that may be anything is opened: not blocking, or a pipe in its place would
/// hold the reader for ever.
pub const OPEN: OFlags =
    OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// A whole text file, at most `bytes_max` long.
pub fn read_text(path: &Path, bytes_max: u64) -> Result<String, ReadError> {
    read_fd(rustix::fs::openat(CWD, path, OPEN, Mode::empty())?, bytes_max)
}

/// The whole text of an open file, at most `bytes_max` long.
pub fn read_fd(fd: OwnedFd, bytes_max: u64) -> Result<String, ReadError> {
    let file = File::from(fd);
    if !file.metadata().map_err(ReadError::Io)?.is_file() {
        return Err(ReadError::NotAFile);
    }
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(ReadError::Io)?;
    if bytes.len() as u64 > bytes_max {
        return Err(ReadError::TooLong { bytes_max });
    }
    String::from_utf8(bytes)
        .map_err(|error| ReadError::NotText { offset: error.utf8_error().valid_up_to() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_short_text_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        assert!(matches!(read_text(&path, 4), Err(ReadError::Missing)));
        assert!(matches!(read_text(directory.path(), 4), Err(ReadError::NotAFile)));
        std::fs::write(&path, "four").unwrap();
        assert_eq!(read_text(&path, 4).unwrap(), "four");
        assert!(matches!(read_text(&path, 3), Err(ReadError::TooLong { bytes_max: 3 })));
        std::fs::write(&path, b"ab\xff").unwrap();
        assert!(matches!(read_text(&path, 4), Err(ReadError::NotText { offset: 2 })));
    }
}
