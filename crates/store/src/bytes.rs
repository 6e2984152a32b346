//! Moving a file's bytes: whole or in chunks, hashed on the way, holes neither read nor written.

use std::os::fd::OwnedFd;

use rustix::fs::{SeekFrom, seek};
use rustix::io::{Errno, pread, pwrite};
use umbra_state::Digest;

use crate::error::{StoreError, io_error};
use crate::verity::{BLOCK, Hasher};

/// Bytes per read of a large file; a multiple of [`BLOCK`].
pub(crate) const CHUNK: usize = 1 << 20;

/// Why a file's content could not be kept.
#[derive(Debug)]
pub(crate) enum IngestError {
    /// It is shorter or longer than it was said to be: somebody writes to it.
    Changed,
    /// It could not be read.
    Read(std::io::Error),
    /// The store could not take it.
    Store(StoreError),
}

impl From<StoreError> for IngestError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Reads exactly `size` bytes into `buffer`.
pub(crate) fn read_whole(
    file: &OwnedFd,
    size: usize,
    buffer: &mut Vec<u8>,
) -> Result<(), IngestError> {
    // A file that grows meanwhile has another size and time afterwards: the caller looks.
    buffer.resize(size, 0);
    let length = fill(file, buffer, 0).map_err(|error| IngestError::Read(error.into()))?;
    if length == size { Ok(()) } else { Err(IngestError::Changed) }
}

/// Hashes `size` bytes of `source` and copies them to `target` on the way; the zero blocks of a
/// sparse file are counted and neither read nor written.
pub(crate) fn copy_hashed(
    source: &OwnedFd,
    target: Option<&OwnedFd>,
    size: u64,
    sparse: bool,
    buffer: &mut Vec<u8>,
) -> Result<Digest, IngestError> {
    let mut hasher = Hasher::new();
    let mut offset = 0;
    buffer.resize(CHUNK, 0);
    while offset < size {
        if sparse {
            let data = next_data(source, offset, size)?;
            hasher.add_zeros(data - offset);
            offset = data;
        }
        let want = CHUNK.min(usize::try_from(size - offset).unwrap_or(CHUNK));
        let length = fill(source, &mut buffer[..want], offset)
            .map_err(|error| IngestError::Read(error.into()))?;
        if length < want {
            return Err(IngestError::Changed);
        }
        let written = match target {
            Some(target) if sparse => write_data_runs(target, &buffer[..length], offset),
            Some(target) => write_at(target, &buffer[..length], offset),
            None => Ok(()),
        };
        written.map_err(io_error("write an object"))?;
        hasher.add(&buffer[..length]);
        offset += length as u64;
    }
    Ok(hasher.finish())
}

/// Start of the block in which data goes on at or after `offset`; `size` if there is none.
fn next_data(file: &OwnedFd, offset: u64, size: u64) -> Result<u64, IngestError> {
    match seek(file, SeekFrom::Data(offset)) {
        Ok(data) => Ok((data - data % BLOCK as u64).clamp(offset, size)),
        Err(Errno::NXIO) => Ok(size),
        Err(Errno::INVAL) => Ok(offset),
        Err(error) => Err(IngestError::Read(error.into())),
    }
}

/// Where the first hole begins; `size` or more if the file has none.
pub(crate) fn first_hole(file: &OwnedFd, size: u64) -> Result<u64, IngestError> {
    match seek(file, SeekFrom::Hole(0)) {
        Ok(hole) => Ok(hole),
        Err(Errno::NXIO | Errno::INVAL) => Ok(size),
        Err(error) => Err(IngestError::Read(error.into())),
    }
}

fn write_data_runs(target: &OwnedFd, bytes: &[u8], offset: u64) -> Result<(), Errno> {
    for (is_zero, start, end) in runs(bytes) {
        if !is_zero {
            write_at(target, &bytes[start..end], offset + start as u64)?;
        }
    }
    Ok(())
}

/// Maximal runs of zero and of other blocks: (all zero, start, end).
pub(crate) fn runs(bytes: &[u8]) -> Vec<(bool, usize, usize)> {
    let mut runs: Vec<(bool, usize, usize)> = Vec::new();
    let mut start = 0;
    for block in bytes.chunks(BLOCK) {
        let (is_zero, end) = (block.iter().all(|&byte| byte == 0), start + block.len());
        match runs.last_mut() {
            Some(run) if run.0 == is_zero => run.2 = end,
            _ => runs.push((is_zero, start, end)),
        }
        start = end;
    }
    runs
}

/// Reads until `buffer` is full or the file ends.
pub(crate) fn fill(file: &OwnedFd, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
    let mut length = 0;
    while length < buffer.len() {
        match pread(file, &mut buffer[length..], offset + length as u64) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

pub(crate) fn write_at(file: &OwnedFd, bytes: &[u8], offset: u64) -> Result<(), Errno> {
    let mut written = 0;
    while written < bytes.len() {
        match pwrite(file, &bytes[written..], offset + written as u64) {
            Ok(count) => written += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
