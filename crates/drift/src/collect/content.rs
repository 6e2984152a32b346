//! Contents of files of any size, read in bounded memory and of one moment.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Stat, fstat};
use rustix::io::{Errno, read};
use umbra_api::blob::Blob;
use umbra_state::Digest;

use super::secret::Secrecy;
use crate::file::{ATTEMPTS, Reason, is_racy, is_whole, kind_of, moment};
use crate::reading::Content;

/// Files up to this size are kept, larger ones known by their digest.
pub const KEEP_BYTES_MAX: usize = 1 << 20;

/// Larger files are not read: no configuration is, and reading them takes long.
pub const DIGEST_BYTES_MAX: u64 = 4 << 30;

/// Read at once; small enough to still be in the processor's cache when it is hashed.
const STEP: usize = 128 << 10;

/// Reads one file after the other into the same memory.
#[derive(Debug)]
pub(super) struct Reader {
    buffer: Vec<u8>,
}

/// What was read of a file.
pub(super) struct Read {
    pub(super) content: Content,
    pub(super) file: OwnedFd,
    pub(super) stat: Stat,
}

/// What one attempt has read.
enum Seen {
    /// So many bytes, which are in the buffer.
    Short(usize),
    Long {
        blake3: Digest,
        bytes: u64,
    },
}

impl Seen {
    fn bytes(&self) -> u64 {
        match self {
            Self::Short(count) => *count as u64,
            Self::Long { bytes, .. } => *bytes,
        }
    }
}

impl Reader {
    pub(super) fn new() -> Self {
        Self { buffer: vec![0; KEEP_BYTES_MAX + 1] }
    }

    /// Reads what `open` opens; its bytes are kept if `keep` says so.
    pub(super) fn read(
        &mut self,
        keep: Option<&Secrecy>,
        open: impl Fn() -> Result<OwnedFd, Errno>,
    ) -> Result<Read, Reason> {
        let mut previous = None;
        for _ in 0..ATTEMPTS {
            let file = open().map_err(Reason::Refused)?;
            let before = fstat(&file).map_err(Reason::Refused)?;
            if let Some(kind) = kind_of(&before) {
                return Err(Reason::Kind(kind));
            }
            let seen = self.attempt(&file, &before, keep.is_some())?;
            let stat = fstat(&file).map_err(Reason::Refused)?;
            if moment(&before) != moment(&stat) || !is_whole(&file, &stat, seen.bytes()) {
                continue;
            }
            if is_racy(&stat) {
                let digest = self.digest(&seen);
                if previous.as_ref() != Some(&digest) {
                    previous = Some(digest);
                    continue;
                }
            }
            let content = self.content(seen, keep);
            return Ok(Read { content, file, stat });
        }
        Err(Reason::Changing)
    }

    fn attempt(&mut self, file: &OwnedFd, stat: &Stat, keep: bool) -> Result<Seen, Reason> {
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        if size > DIGEST_BYTES_MAX {
            return Err(Reason::TooLarge { bytes_max: DIGEST_BYTES_MAX });
        }
        // What will not fit, and what is not kept, need not be together in memory.
        let room = if keep && size <= KEEP_BYTES_MAX as u64 { KEEP_BYTES_MAX + 1 } else { STEP };
        let mut filled = 0;
        loop {
            let end = room.min(filled + STEP);
            let count = fill(file, self.buffer.get_mut(filled..end).unwrap_or_default())?;
            filled += count;
            // The kernel's own files do not say how long they are.
            if count == 0 || (size > 0 && filled as u64 == size) {
                return Ok(Seen::Short(filled));
            }
            if filled == room {
                break;
            }
        }
        let mut hasher = blake3::Hasher::new();
        let mut bytes = 0u64;
        let mut count = filled;
        while count > 0 {
            bytes += count as u64;
            if bytes > DIGEST_BYTES_MAX {
                return Err(Reason::TooLarge { bytes_max: DIGEST_BYTES_MAX });
            }
            hasher.update(self.buffer.get(..count).unwrap_or_default());
            if bytes == size {
                break;
            }
            count = fill(file, self.buffer.get_mut(..STEP).unwrap_or_default())?;
        }
        let blake3 = Digest::new(*hasher.finalize().as_bytes());
        Ok(Seen::Long { blake3, bytes })
    }

    fn bytes(&self, count: usize) -> &[u8] {
        self.buffer.get(..count).unwrap_or_default()
    }

    fn digest(&self, seen: &Seen) -> Content {
        match seen {
            Seen::Short(count) => Content::digest_of(self.bytes(*count)),
            Seen::Long { blake3, bytes } => Content::Digest { blake3: *blake3, bytes: *bytes },
        }
    }

    fn content(&self, seen: Seen, keep: Option<&Secrecy>) -> Content {
        match (seen, keep) {
            (Seen::Short(count), Some(secrecy))
                if count <= KEEP_BYTES_MAX && !secrecy.hides_bytes(self.bytes(count)) =>
            {
                Content::Bytes(Blob(self.bytes(count).to_vec()))
            }
            (seen, _) => self.digest(&seen),
        }
    }
}

fn fill(file: &OwnedFd, buffer: &mut [u8]) -> Result<usize, Reason> {
    loop {
        match read(file.as_fd(), &mut *buffer) {
            Err(Errno::INTR) => {}
            result => return result.map_err(Reason::Refused),
        }
    }
}
