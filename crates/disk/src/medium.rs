//! Where a disk's bytes go: what is never written reads as zeros, and takes no room.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// A disk, or a part of one, that is written in any order.
pub(crate) trait Medium {
    /// Writes bytes at an offset.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
}

/// A file whose bytes are the disk's.
pub(crate) struct Raw<'a> {
    file: &'a File,
}

impl<'a> Raw<'a> {
    /// A disk of `bytes` zeros in an empty file.
    pub(crate) fn new(file: &'a File, bytes: u64) -> io::Result<Self> {
        file.set_len(bytes)?;
        Ok(Self { file })
    }
}

impl Medium for Raw<'_> {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }
}

/// A partition of a disk.
pub(crate) struct Part<'a> {
    pub(crate) disk: &'a mut dyn Medium,
    pub(crate) start: u64,
}

impl Medium for Part<'_> {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.write_at(bytes, self.start + offset)
    }
}

/// Little-endian numbers at fixed places, as all formats here have them.
pub(crate) struct Bytes<'a>(pub(crate) &'a mut [u8]);

impl Bytes<'_> {
    pub(crate) fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    pub(crate) fn u16(&mut self, at: usize, value: u16) {
        self.put(at, &value.to_le_bytes());
    }

    pub(crate) fn u32(&mut self, at: usize, value: u32) {
        self.put(at, &value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, at: usize, value: u64) {
        self.put(at, &value.to_le_bytes());
    }
}
