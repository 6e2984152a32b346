//! Content objects: files named by the fs-verity digest of their bytes, written once.
//!
//! An object is written without a name and gets it when it is whole, so a name always means
//! complete content. Zero blocks of a file that has holes are holes of its object too; an equal
//! object that was written densely before is punched. See `docs/adr/0001`.

use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use composefs::fsverity::{Sha256HashValue, enable_verity_maybe_copy};
use rustix::fs::{
    AtFlags, CWD, FallocateFlags, Mode, OFlags, RenameFlags, fallocate, fstat, ftruncate, linkat,
    mkdirat, openat, renameat_with, statat, unlinkat,
};
use rustix::io::Errno;
use umbra_state::{Content, Digest};

use crate::bytes::{CHUNK, IngestError, copy_hashed, fill, first_hole, read_whole, runs, write_at};
use crate::error::{StoreError, io_error};
use crate::fault::Fault;
use crate::store::{Inner, Store};
use crate::verity::{Hasher, digest};

/// Files of at most this many bytes are kept in the state itself.
pub const INLINE_MAX: usize = composefs::INLINE_CONTENT_MAX_V0;

/// Up to this size a file is read once, hashed, and written only if it is new. Above it is
/// hashed while it is copied.
const WHOLE_MAX: u64 = 8 << 20;

/// Path of an object below the objects folder.
pub(crate) fn object_name(digest: Digest) -> String {
    let hex = digest.to_string();
    format!("{}/{}", &hex[..2], &hex[2..])
}

impl Store {
    /// Opens the object that is the content of a file at `path`, which an error names. Hold a
    /// [`Store::pin`] meanwhile.
    pub fn open_object(&self, digest: Digest, path: &[u8]) -> Result<fs::File, StoreError> {
        self.inner.open_object(digest, path).map(fs::File::from)
    }
}

impl Inner {
    /// See [`Store::open_object`].
    pub(crate) fn open_object(&self, digest: Digest, path: &[u8]) -> Result<OwnedFd, StoreError> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        openat(&self.objects, object_name(digest), flags, Mode::empty())
            .map_err(|_| StoreError::NoObject { digest, path: path.to_vec() })
    }

    /// Keeps the content of an open regular file of `size` bytes of which `allocated` have
    /// blocks on its disk. `buffer` is scratch that one thread hands in again and again.
    pub(crate) fn ingest_file(
        &self,
        file: &OwnedFd,
        size: u64,
        allocated: u64,
        buffer: &mut Vec<u8>,
    ) -> Result<Content, IngestError> {
        let sparse = allocated < size && first_hole(file, size)? < size;
        if size > WHOLE_MAX || (sparse && size > INLINE_MAX as u64) {
            return self.ingest_stream(file, size, sparse, buffer);
        }
        read_whole(file, size as usize, buffer)?;
        Ok(self.ingest_bytes(buffer)?)
    }

    /// Keeps bytes that are in memory.
    pub(crate) fn ingest_bytes(&self, bytes: &[u8]) -> Result<Content, StoreError> {
        if bytes.len() <= INLINE_MAX {
            return Ok(Content::Inline(bytes.into()));
        }
        let digest = self.put_object(bytes)?;
        Ok(Content::Object { digest, size: bytes.len() as u64 })
    }

    /// Stores bytes as an object, whatever their number.
    pub(crate) fn put_object(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = digest(bytes);
        if !self.has_object(digest, bytes.len() as u64)? {
            let draft = self.draft()?;
            write_at(&draft.file, bytes, 0).map_err(io_error("write an object"))?;
            self.keep(draft, digest, bytes.len() as u64)?;
        }
        Ok(digest)
    }

    /// Whether an object is there with this size.
    pub(crate) fn has_object(&self, digest: Digest, size: u64) -> Result<bool, StoreError> {
        match statat(&self.objects, object_name(digest), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(stat.st_size as u64 == size),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(io_error(format!("look for object {digest}"))(error)),
        }
    }

    fn ingest_stream(
        &self,
        file: &OwnedFd,
        size: u64,
        sparse: bool,
        buffer: &mut Vec<u8>,
    ) -> Result<Content, IngestError> {
        let draft = self.draft()?;
        // A reflink shares the blocks, holes included, and cannot change under our hands.
        let cloned = rustix::fs::ioctl_ficlone(&draft.file, file).is_ok();
        let source = if cloned { &draft.file } else { file };
        let target = (!cloned).then_some(&draft.file);
        let digest = copy_hashed(source, target, size, sparse, buffer)?;
        if !cloned {
            ftruncate(&draft.file, size).map_err(io_error("size an object"))?;
        }
        if self.has_object(digest, size)? {
            if sparse {
                self.punch(digest, size, buffer)?;
            }
        } else {
            self.keep(draft, digest, size)?;
        }
        Ok(Content::Object { digest, size })
    }

    /// Keeps the next `size` bytes of a stream. `buffer` is scratch.
    pub(crate) fn ingest_reader(
        &self,
        from: &mut dyn Read,
        size: u64,
        buffer: &mut Vec<u8>,
    ) -> Result<Content, IngestError> {
        if size <= WHOLE_MAX {
            buffer.resize(size as usize, 0);
            from.read_exact(buffer).map_err(IngestError::Read)?;
            return Ok(self.ingest_bytes(buffer)?);
        }
        let draft = self.draft()?;
        let mut hasher = Hasher::new();
        let mut offset = 0;
        buffer.resize(CHUNK, 0);
        while offset < size {
            let length = CHUNK.min(usize::try_from(size - offset).unwrap_or(CHUNK));
            let chunk = &mut buffer[..length];
            from.read_exact(chunk).map_err(IngestError::Read)?;
            write_at(&draft.file, chunk, offset).map_err(io_error("write an object"))?;
            hasher.add(chunk);
            offset += length as u64;
        }
        let digest = hasher.finish();
        if !self.has_object(digest, size)? {
            self.keep(draft, digest, size)?;
        }
        Ok(Content::Object { digest, size })
    }

    /// A file without its final name.
    fn draft(&self) -> Result<Draft<'_>, StoreError> {
        self.journal.note_write()?;
        let mode = Mode::from_raw_mode(0o644);
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        match openat(&self.objects, ".", flags, mode) {
            Ok(file) => return Ok(Draft { file, named: None }),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {}
            Err(error) => return Err(io_error("make an object")(error)),
        }
        let name = self.journal.fresh_name("tmp");
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
        let file =
            openat(&self.journal.dir, &name, flags, mode).map_err(io_error("make an object"))?;
        Ok(Draft { file, named: Some(Named { journal: &self.journal.dir, name }) })
    }

    /// Gives a draft its name. Losing a race to an equal object is fine.
    fn keep(&self, draft: Draft<'_>, digest: Digest, size: u64) -> Result<(), StoreError> {
        self.faults.hit(Fault::ObjectWritten);
        let draft = self.with_verity(draft)?;
        let name = object_name(digest);
        match mkdirat(&self.objects, &name[..2], Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(io_error("make a folder for objects")(error)),
        }
        match draft.link(&self.objects, &name) {
            Err(Errno::EXIST) if !self.has_object(digest, size)? => {
                // A truncated file of this name survived a power failure.
                unlinkat(&self.objects, &name, AtFlags::empty())
                    .map_err(io_error(format!("replace damaged object {digest}")))?;
                draft.link(&self.objects, &name)
            }
            Err(Errno::EXIST) => Ok(()),
            linked => linked,
        }
        .map_err(io_error(format!("name object {digest}")))?;
        self.faults.hit(Fault::ObjectLinked);
        Ok(())
    }

    /// Turns fs-verity on where the repository demands it.
    fn with_verity<'a>(&self, draft: Draft<'a>) -> Result<Draft<'a>, StoreError> {
        if self.is_insecure() {
            return Ok(draft);
        }
        let path = format!("/proc/self/fd/{}", draft.file.as_raw_fd());
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let read_only = openat(CWD, path, flags, Mode::empty())
            .map_err(io_error("turn fs-verity on for an object"))?;
        let Draft { file, named } = draft;
        drop(file);
        let copy = enable_verity_maybe_copy::<Sha256HashValue>(&self.objects, read_only.as_fd())
            .map_err(std::io::Error::other)
            .map_err(io_error("turn fs-verity on for an object"))?;
        Ok(match copy {
            Some(file) => Draft { file, named: None },
            None => Draft { file: read_only, named },
        })
    }

    /// Makes the zero blocks of a dense object holes. Its bytes stay what they are, so anyone
    /// may read it meanwhile. Where the filesystem cannot, it stays dense.
    fn punch(&self, digest: Digest, size: u64, buffer: &mut Vec<u8>) -> Result<(), StoreError> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(object) = openat(&self.objects, object_name(digest), flags, Mode::empty()) else {
            return Ok(());
        };
        let stat = fstat(&object).map_err(io_error("look at an object"))?;
        if (stat.st_blocks as u64 * 512) < size {
            return Ok(());
        }
        buffer.resize(CHUNK, 0);
        let mut offset = 0;
        while offset < size {
            let length =
                fill(&object, &mut buffer[..CHUNK], offset).map_err(io_error("read an object"))?;
            for (is_zero, start, end) in runs(&buffer[..length]) {
                let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                let (at, bytes) = (offset + start as u64, (end - start) as u64);
                if is_zero && fallocate(&object, flags, at, bytes).is_err() {
                    return Ok(());
                }
            }
            if length == 0 {
                break;
            }
            offset += length as u64;
        }
        Ok(())
    }
}

/// A file without its final name; vanishes if it never gets one.
struct Draft<'a> {
    file: OwnedFd,
    named: Option<Named<'a>>,
}

/// The provisional name of a draft on a filesystem without anonymous files.
struct Named<'a> {
    journal: &'a OwnedFd,
    name: String,
}

impl Draft<'_> {
    fn link(&self, objects: &OwnedFd, name: &str) -> Result<(), Errno> {
        match &self.named {
            Some(Named { journal, name: from }) => {
                renameat_with(*journal, from, objects, name, RenameFlags::NOREPLACE)
            }
            None => {
                let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
                linkat(CWD, path, objects, name, AtFlags::SYMLINK_FOLLOW)
            }
        }
    }
}

impl Drop for Named<'_> {
    fn drop(&mut self) {
        // Gone already if it was renamed; if not, the next open removes it.
        let _ = unlinkat(self.journal, &self.name, AtFlags::empty());
    }
}

/// The digest of an object's file, holes not read. `buffer` is scratch.
pub(crate) fn digest_of_file(
    file: &OwnedFd,
    size: u64,
    buffer: &mut Vec<u8>,
) -> Result<Digest, StoreError> {
    copy_hashed(file, None, size, true, buffer).map_err(|error| match error {
        IngestError::Store(error) => error,
        IngestError::Read(source) => StoreError::Io { doing: "read an object".into(), source },
        IngestError::Changed => {
            StoreError::Corrupt { what: "an object".into(), why: "it changes while read".into() }
        }
    })
}

/// Calls `visit` with the folder-relative name and path of everything in the objects folder.
pub(crate) fn each_object(
    inner: &Inner,
    visit: &mut dyn FnMut(String, &fs::DirEntry) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let folder = inner.root.join("repo/objects");
    let failed = || io_error(format!("list {}", folder.display()));
    for part in fs::read_dir(&folder).map_err(failed())? {
        let part = part.map_err(failed())?;
        if !part.file_type().map_err(failed())?.is_dir() {
            visit(part.file_name().to_string_lossy().into_owned(), &part)?;
            continue;
        }
        for object in fs::read_dir(part.path()).map_err(failed())? {
            let object = object.map_err(failed())?;
            let (part, rest) = (part.file_name(), object.file_name());
            visit(format!("{}/{}", part.to_string_lossy(), rest.to_string_lossy()), &object)?;
        }
    }
    Ok(())
}

/// Verifies objects written at or after `since` (Unix seconds) and removes the damaged: the
/// power failed before they were on the disk. What refers to them is found by the checker.
pub(crate) fn remove_damaged_since(inner: &Inner, since: i64) -> Result<(), StoreError> {
    let mut buffer = Vec::new();
    each_object(inner, &mut |name, entry| {
        let failed = || io_error(format!("verify object {name}"));
        let metadata = entry.metadata().map_err(failed())?;
        if metadata.ctime() < since - 1 || !metadata.is_file() {
            return Ok(());
        }
        let file = OwnedFd::from(fs::File::open(entry.path()).map_err(failed())?);
        if name.replace('/', "") != digest_of_file(&file, metadata.len(), &mut buffer)?.to_string()
        {
            tracing::warn!(object = name, "removed an object that a power failure damaged");
            fs::remove_file(entry.path()).map_err(failed())?;
        }
        Ok(())
    })
}
