//! Captures in any format, told apart by how they begin.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::str::FromStr;

use super::file::{self, Ending, MAGIC, Tally};
use super::{Exchange, ReadError, WriteError, gor, har};

/// A format of captures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// umbra's own (`docs/capture-format.md`).
    Umbra,
    /// GoReplay's.
    Gor,
    /// HAR 1.2.
    Har,
}

/// It names no format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read {text:?} as a format: expected umbra, gor or har")]
pub struct NoFormat {
    text: String,
}

impl FromStr for Format {
    type Err = NoFormat;

    fn from_str(text: &str) -> Result<Self, NoFormat> {
        Ok(match text {
            "umbra" => Self::Umbra,
            "gor" => Self::Gor,
            "har" => Self::Har,
            _ => return Err(NoFormat { text: text.chars().take(40).collect() }),
        })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Umbra => "umbra",
            Self::Gor => "gor",
            Self::Har => "har",
        })
    }
}

impl Format {
    /// What begins like this.
    pub fn of(beginning: &[u8]) -> Option<Self> {
        let text = beginning.strip_prefix(b"\xef\xbb\xbf").unwrap_or(beginning);
        match text.trim_ascii_start() {
            _ if beginning.starts_with(&MAGIC) => Some(Self::Umbra),
            [b'{', ..] => Some(Self::Har),
            [b'1'..=b'3', b' ', ..] => Some(Self::Gor),
            _ => None,
        }
    }

    /// What a file of this name is to be.
    pub fn of_name(path: &Path) -> Self {
        match path.extension().and_then(|end| end.to_str()) {
            Some("gor") => Self::Gor,
            Some("har") => Self::Har,
            _ => Self::Umbra,
        }
    }
}

/// What a capture is read from.
#[derive(Debug)]
pub struct Source<R> {
    from: Inner<R>,
    read: u64,
}

#[derive(Debug)]
enum Inner<R> {
    Umbra(file::Reader<R>),
    Gor(gor::Reader<R>),
    Har(har::Reader),
}

/// What is known of a capture besides its exchanges, once they are read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Notes {
    /// Where it breaks off, if it does.
    pub cut: Option<u64>,
    /// What it says of itself.
    pub tally: Option<Tally>,
    /// What was not taken, by cause.
    pub refused: BTreeMap<String, u64>,
}

impl Source<BufReader<File>> {
    /// Of a file.
    ///
    /// # Errors
    /// It cannot be opened, or is no capture.
    pub fn open(path: &Path, format: Option<Format>) -> Result<Self, ReadError> {
        Self::new(BufReader::with_capacity(256 << 10, File::open(path)?), format)
    }
}

impl<R: BufRead> Source<R> {
    /// Of what begins with a capture's first byte.
    ///
    /// # Errors
    /// It is none.
    pub fn new(mut from: R, format: Option<Format>) -> Result<Self, ReadError> {
        let format = match format {
            Some(format) => format,
            None => Format::of(from.fill_buf()?)
                .ok_or(ReadError::Format("it begins like none; `--format` says what it is"))?,
        };
        let from = match format {
            Format::Umbra => Inner::Umbra(file::Reader::new(from)?),
            Format::Gor => Inner::Gor(gor::Reader::new(from)),
            Format::Har => Inner::Har(har::Reader::new(from)?),
        };
        Ok(Self { from, read: 0 })
    }

    /// Which format it has.
    pub fn format(&self) -> Format {
        match self.from {
            Inner::Umbra(_) => Format::Umbra,
            Inner::Gor(_) => Format::Gor,
            Inner::Har(_) => Format::Har,
        }
    }

    /// How many exchanges were read.
    pub fn read(&self) -> u64 {
        self.read
    }

    /// The next exchange.
    ///
    /// # Errors
    /// The capture is damaged, or the kernel refuses.
    pub fn next_exchange(&mut self) -> Result<Option<Exchange>, ReadError> {
        let next = match &mut self.from {
            Inner::Umbra(from) => from.next_exchange()?,
            Inner::Gor(from) => from.next_exchange()?,
            Inner::Har(from) => from.next_exchange(),
        };
        self.read += u64::from(next.is_some());
        Ok(next)
    }

    /// What is known besides, once there is no next one.
    pub fn notes(&self) -> Notes {
        match &self.from {
            Inner::Umbra(from) => match from.ending() {
                Ending::Unknown => Notes::default(),
                Ending::Whole(tally) => Notes { tally: Some(tally), ..Notes::default() },
                Ending::Cut { at } => Notes { cut: Some(at), ..Notes::default() },
            },
            Inner::Gor(from) => {
                Notes { cut: from.cut(), refused: from.refused().clone(), ..Notes::default() }
            }
            Inner::Har(from) => Notes { refused: from.refused().clone(), ..Notes::default() },
        }
    }
}

/// A file of this name that was not there, for its owner only. What was there goes only if it is
/// a file and that is wanted; nothing is followed or opened.
///
/// # Errors
/// There is something of this name, or the kernel refuses.
pub fn new_file(path: &Path, force: bool) -> io::Result<File> {
    if force && fs::symlink_metadata(path).is_ok_and(|there| there.is_file()) {
        fs::remove_file(path)?;
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// What a capture is written to.
#[derive(Debug)]
pub enum Sink<W> {
    /// umbra's own format.
    Umbra(file::Writer<W>),
    /// GoReplay's.
    Gor(gor::Writer<W>),
    /// HAR 1.2.
    Har(har::Writer<W>),
}

impl<W: Write> Sink<W> {
    /// Begins one.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn new(to: W, format: Format, pack: bool) -> Result<Self, WriteError> {
        Ok(match format {
            Format::Umbra => Self::Umbra(file::Writer::new(to, pack)?),
            Format::Gor => Self::Gor(gor::Writer::new(to)),
            Format::Har => Self::Har(har::Writer::new(to)?),
        })
    }

    /// Appends an exchange.
    ///
    /// # Errors
    /// It cannot stand there, or the kernel refuses.
    pub fn put(&mut self, exchange: &Exchange) -> Result<(), WriteError> {
        match self {
            Self::Umbra(to) => to.put(exchange),
            Self::Gor(to) => to.put(exchange),
            Self::Har(to) => to.put(exchange),
        }
    }

    /// Ends it.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn finish(self, tally: Tally) -> Result<W, WriteError> {
        match self {
            Self::Umbra(to) => to.finish(tally),
            Self::Gor(to) => to.finish(),
            Self::Har(to) => to.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_how_they_begin() {
        #[track_caller]
        fn check(beginning: &[u8], format: Option<Format>) {
            assert_eq!(Format::of(beginning), format, "{beginning:?}");
        }
        check(&MAGIC, Some(Format::Umbra));
        check(b"\xef\xbb\xbf \n{\"log\"", Some(Format::Har));
        check(b"1 a 1 0\n", Some(Format::Gor));
        for bad in [&b""[..], b"4 a", b"GET", b"\x8fUMBRA", b"[]"] {
            check(bad, None);
        }
    }
}
