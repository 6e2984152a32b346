//! Bytes of regular files: where they are not only zeros, and from where they are copied.
//!
//! Blocks of zeros are holes, wherever they come from. An object's own holes depend on how it
//! came into the store, and the same state must make the same bytes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use super::{BLOCK, BLOCK_BYTES, Run};

/// Up to this size a file is read once, as a whole; and counted as if it had no zeros.
pub(super) const WHOLE_MAX: u64 = 8 << 20;

const CHUNK: u64 = 1 << 20;

/// The runs of blocks of a file's bytes in which there is something else than zeros.
pub(super) fn runs(bytes: &[u8]) -> Vec<Run> {
    let mut runs = Vec::new();
    add_runs(bytes, 0, &mut runs);
    runs
}

/// The same of an open file of `size` bytes, holes not read.
pub(super) fn scan(file: &File, size: u64) -> io::Result<Vec<Run>> {
    let mut runs = Vec::new();
    let mut buffer = vec![0; CHUNK as usize];
    let mut offset = 0;
    while offset < size {
        match seek(file, SeekFrom::Data(offset)) {
            Ok(data) => offset = data - data % BLOCK,
            Err(Errno::NXIO) => break,
            // A filesystem that knows no holes.
            Err(_) => {}
        }
        let length = CHUNK.min(size.saturating_sub(offset)) as usize;
        file.read_exact_at(&mut buffer[..length], offset)?;
        add_runs(&buffer[..length], offset / BLOCK, &mut runs);
        offset += CHUNK;
    }
    Ok(runs)
}

/// Calls `write` with the bytes of a run of blocks, in pieces, and the offset of each within it.
pub(super) fn copy(
    file: &File,
    size: u64,
    run: Run,
    write: &mut dyn FnMut(&[u8], u64) -> io::Result<()>,
) -> io::Result<()> {
    let (start, end) = (run.start * BLOCK, size.min((run.start + run.blocks) * BLOCK));
    let mut buffer = vec![0; CHUNK.min(end - start) as usize];
    let mut offset = start;
    while offset < end {
        let length = CHUNK.min(end - offset) as usize;
        file.read_exact_at(&mut buffer[..length], offset)?;
        write(&buffer[..length], offset - start)?;
        offset += length as u64;
    }
    Ok(())
}

fn add_runs(bytes: &[u8], first: u64, runs: &mut Vec<Run>) {
    for (index, block) in bytes.chunks(BLOCK_BYTES).enumerate() {
        if block.iter().all(|&byte| byte == 0) {
            continue;
        }
        let here = first + index as u64;
        match runs.last_mut() {
            Some(run) if run.start + run.blocks == here => run.blocks += 1,
            _ => runs.push(Run { start: here, blocks: 1 }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, Write as _};

    use super::*;

    #[test]
    fn zeros_are_left_out() {
        let mut bytes = vec![0; 5 * BLOCK_BYTES + 10];
        bytes[BLOCK_BYTES] = 1;
        bytes[3 * BLOCK_BYTES - 1] = 1;
        bytes[5 * BLOCK_BYTES + 9] = 1;
        let expected = [Run { start: 1, blocks: 2 }, Run { start: 5, blocks: 1 }];
        assert_eq!(runs(&bytes), expected);
        assert!(runs(b"").is_empty());
    }

    #[test]
    fn holes_and_zeros_are_the_same() {
        let mut file = tempfile::tempfile().unwrap();
        let size = 40 << 20;
        file.set_len(size).unwrap();
        for offset in [0, 5_000_000, 30_000_001] {
            file.seek(io::SeekFrom::Start(offset)).unwrap();
            file.write_all(b"here").unwrap();
        }
        let sparse = scan(&file, size).unwrap();
        let mut dense = vec![0; size as usize];
        file.read_exact_at(&mut dense, 0).unwrap();
        assert_eq!(sparse, runs(&dense));
        assert_eq!(sparse.len(), 3);
    }

    #[test]
    fn the_last_block_is_copied_as_far_as_it_goes() {
        let mut file = tempfile::tempfile().unwrap();
        let size = BLOCK + 10;
        file.write_all(&vec![7; size as usize]).unwrap();
        let mut copied = 0;
        let mut write = |bytes: &[u8], offset| {
            assert_eq!(offset, copied);
            copied += bytes.len() as u64;
            Ok(())
        };
        copy(&file, size, Run { start: 0, blocks: 2 }, &mut write).unwrap();
        assert_eq!(copied, size);
    }
}
