//! A memory on disk: written whole or not at all, believed only if every byte is as written.
//!
//! ```text
//! magic, version | boot id | covered, complete | head of the receipts | roots: length, path ... 0
//! directory: path length, path, pages: length, page ... 0
//! ...
//! 0 | BLAKE3 of all before
//! ```
//! Numbers are little endian. A reader that meets anything else forgets all of it: what is
//! not remembered is looked at again, what is remembered wrongly would be a silent loss.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use umbra_state::Digest;

use super::{Listing, Memory, Origin, listing};

const MAGIC: [u8; 8] = *b"umbramem";
const VERSION: u32 = 1;
/// A file longer than this is not one of ours: some fifty million entries.
const FILE_MAX: u64 = 4 << 30;
const PATH_MAX: usize = 4096;
const ROOTS_MAX: usize = 100_000;
/// A listing's pages are never longer.
const PAGE_MAX: usize = 16 * 1024;

/// What a file held.
#[derive(Debug)]
pub struct Loaded {
    /// The memory, empty if there is none to be had.
    pub memory: Memory,
    /// Why there is none although there is a file.
    pub refused: Option<Refused>,
}

/// Why a file is no memory.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It could not be read.
    #[error("it cannot be read")]
    Io(#[source] io::Error),
    /// It is too long, or no ordinary file.
    #[error("it is not a file of a possible size")]
    Kind,
    /// It is something else, or of another version.
    #[error("it is not of this format")]
    Format,
    /// What it says is impossible.
    #[error("its contents contradict themselves")]
    Contents,
    /// Its bytes are not those that were written.
    #[error("its checksum is wrong")]
    Checksum,
}

impl Memory {
    /// Read what [`Watcher::save`](crate::watch::Watcher::save) wrote. A file that is not
    /// there is an empty memory; one that is not to be believed too, and the watcher that
    /// starts with it says so in its first receipt.
    pub fn load(path: &Path) -> Loaded {
        match load(path) {
            Ok(memory) => Loaded { memory, refused: None },
            Err(Refused::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                Loaded { memory: Memory::default(), refused: None }
            }
            Err(refused) => {
                let origin = Origin::Refused(refused.to_string());
                let memory = Memory { origin, ..Memory::default() };
                Loaded { memory, refused: Some(refused) }
            }
        }
    }

    /// Write to a file beside `path`, make it durable and give it that name.
    pub(in crate::watch) fn save(
        &self,
        path: &Path,
        covered: Option<SystemTime>,
        head: &Digest,
    ) -> io::Result<()> {
        let mut new = path.as_os_str().to_owned();
        new.push(".new");
        let new = PathBuf::from(new);
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&new)?;
        let written = self.write(&file, covered, head).and_then(|()| {
            file.sync_all()?;
            std::fs::rename(&new, path)
        });
        if let Err(error) = written {
            let _ = std::fs::remove_file(&new);
            return Err(error);
        }
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    }

    fn write(&self, file: &File, covered: Option<SystemTime>, head: &Digest) -> io::Result<()> {
        let mut to = Hashing { inner: BufWriter::new(file), hasher: blake3::Hasher::new() };
        to.write_all(&MAGIC)?;
        to.write_all(&VERSION.to_le_bytes())?;
        to.write_all(&boot_id())?;
        to.write_all(&pack_time(covered))?;
        to.write_all(&pack_time(self.complete))?;
        to.write_all(head.as_bytes())?;
        for root in &self.roots {
            write_counted(&mut to, root.as_os_str().as_bytes(), 0)?;
        }
        to.write_all(&0u32.to_le_bytes())?;
        for (directory, listing) in &self.directories {
            // Shifted by one, since the root directory's own directory has no name.
            write_counted(&mut to, directory, 1)?;
            for page in listing.pages() {
                write_counted(&mut to, page, 0)?;
            }
            to.write_all(&0u32.to_le_bytes())?;
        }
        to.write_all(&0u32.to_le_bytes())?;
        let Hashing { mut inner, hasher } = to;
        inner.write_all(hasher.finalize().as_bytes())?;
        inner.flush()
    }
}

fn write_counted(to: &mut impl Write, bytes: &[u8], shift: u32) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    to.write_all(&(length + shift).to_le_bytes())?;
    to.write_all(bytes)
}

fn load(path: &Path) -> Result<Memory, Refused> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = file.map_err(Refused::Io)?;
    let metadata = file.metadata().map_err(Refused::Io)?;
    if !metadata.is_file() || metadata.len() > FILE_MAX {
        return Err(Refused::Kind);
    }
    let reader = BufReader::new(file.take(FILE_MAX));
    let mut from = Hashing { inner: reader, hasher: blake3::Hasher::new() };
    let memory = read(&mut from)?;
    match from.inner.read(&mut [0]) {
        Ok(0) => Ok(memory),
        Ok(_) => Err(Refused::Contents),
        Err(error) => Err(Refused::Io(error)),
    }
}

fn read(from: &mut Hashing<impl Read>) -> Result<Memory, Refused> {
    let known = from.array()? == MAGIC && from.number()? == VERSION;
    if !known {
        return Err(Refused::Format);
    }
    let boot: [u8; BOOT_ID] = from.array()?;
    let covered = unpack_time(from.array()?)?;
    let complete = unpack_time(from.array()?)?;
    let head = Digest::new(from.array()?);
    let mut memory = Memory::default();
    while let Some(root) = from.counted(0, PATH_MAX)? {
        if root.first() != Some(&b'/') || root.contains(&0) || memory.roots.len() == ROOTS_MAX {
            return Err(Refused::Contents);
        }
        memory.roots.push(OsString::from_vec(root).into());
    }
    let mut before: Option<Box<[u8]>> = None;
    while let Some(directory) = from.counted(1, PATH_MAX)? {
        let ordered = before.as_deref().is_none_or(|before| before < &directory[..]);
        let absolute = directory.is_empty() || directory[0] == b'/';
        if !ordered || !absolute || directory.contains(&0) {
            return Err(Refused::Contents);
        }
        let mut listing = Listing::default();
        while let Some(page) = from.counted(0, PAGE_MAX)? {
            listing.push_page(page).map_err(|_: listing::BadPage| Refused::Contents)?;
        }
        let directory: Box<[u8]> = directory.into();
        memory.entries += listing.len();
        memory.directories.insert(directory.clone(), listing);
        before = Some(directory);
    }
    let sum = from.hasher.finalize();
    if sum != blake3::Hash::from(from.array::<32>()?) {
        return Err(Refused::Checksum);
    }
    let now = boot_id();
    memory.complete = complete;
    // Without a number for this boot, nothing says that it is still the same.
    let rebooted = now != boot || now == [0; BOOT_ID];
    memory.origin = Origin::Saved { covered, rebooted };
    memory.head = Some(head);
    Ok(memory)
}

/// Hashes what passes.
struct Hashing<T> {
    inner: T,
    hasher: blake3::Hasher,
}

impl<T: Write> Write for Hashing<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Hashing<T> {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Refused> {
        match self.inner.read_exact(bytes) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(Refused::Contents);
            }
            result => result.map_err(Refused::Io)?,
        }
        self.hasher.update(bytes);
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Refused> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn number(&mut self) -> Result<u32, Refused> {
        self.array().map(u32::from_le_bytes)
    }

    /// Bytes after their length, which was shifted so that 0 ends the list.
    fn counted(&mut self, shift: usize, most: usize) -> Result<Option<Vec<u8>>, Refused> {
        let length = self.number()? as usize;
        if length == 0 {
            return Ok(None);
        }
        let length = length - shift;
        if length > most {
            return Err(Refused::Contents);
        }
        let mut bytes = vec![0; length];
        self.fill(&mut bytes)?;
        Ok(Some(bytes))
    }
}

const BOOT_ID: usize = 36;

/// This boot's number; zeros where the kernel does not say.
fn boot_id() -> [u8; BOOT_ID] {
    let mut id = [0; BOOT_ID];
    let file = File::open("/proc/sys/kernel/random/boot_id");
    match file.and_then(|mut file| file.read_exact(&mut id)) {
        Ok(()) => id,
        Err(_) => [0; BOOT_ID],
    }
}

const TIME: usize = 12;

/// Seconds and nanoseconds; all ones is no time.
fn pack_time(time: Option<SystemTime>) -> [u8; TIME] {
    let mut bytes = [0xff; TIME];
    if let Some(time) = time {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        bytes[..8].copy_from_slice(&since.as_secs().to_le_bytes());
        bytes[8..].copy_from_slice(&since.subsec_nanos().to_le_bytes());
    }
    bytes
}

fn unpack_time(bytes: [u8; TIME]) -> Result<Option<SystemTime>, Refused> {
    if bytes == [0xff; TIME] {
        return Ok(None);
    }
    let seconds = u64::from_le_bytes(std::array::from_fn(|at| bytes[at]));
    let nanoseconds = u32::from_le_bytes(std::array::from_fn(|at| bytes[8 + at]));
    if nanoseconds >= 1_000_000_000 {
        return Err(Refused::Contents);
    }
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanoseconds));
    time.map(Some).ok_or(Refused::Contents)
}

#[cfg(test)]
mod tests {
    use super::super::tests::stamp;
    use super::*;

    fn memory() -> Memory {
        let mut memory = Memory::default();
        memory.completed(SystemTime::now(), &["/etc".into(), "/".into()]);
        for path in ["/", "/etc", "/etc/hosts", "/etc/ssh/sshd_config"] {
            memory.set(Path::new(path), Some(stamp()));
        }
        for number in 0..1000 {
            memory.set(&Path::new("/etc/many").join(number.to_string()), Some(stamp()));
        }
        memory
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("memory");
        let (memory, head) = (memory(), Digest::new([7; 32]));
        for _ in 0..2 {
            memory.save(&path, memory.complete, &head).expect("saved");
        }
        let Loaded { memory: loaded, refused } = Memory::load(&path);
        assert!(refused.is_none() && loaded.iter().eq(memory.iter()));
        assert_eq!((loaded.len(), loaded.complete), (memory.len(), memory.complete));
        assert_eq!(loaded.roots(), memory.roots());
        let Origin::Saved { covered, rebooted } = loaded.origin else { panic!() };
        assert_eq!((covered, rebooted, loaded.head), (memory.complete, false, Some(head)));
        assert_eq!(std::fs::read_dir(directory.path()).expect("entries").count(), 1);
    }

    #[test]
    fn a_missing_file_is_an_empty_memory_and_nothing_to_complain_of() {
        let loaded = Memory::load(Path::new("/nowhere/memory"));
        assert!(loaded.refused.is_none() && loaded.memory.is_empty());
        assert!(matches!(loaded.memory.origin, Origin::Own));
    }

    #[test]
    fn a_file_with_any_byte_changed_or_missing_is_refused() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("memory");
        let mut small = Memory::default();
        small.set(Path::new("/etc/hosts"), Some(stamp()));
        small.save(&path, None, &Digest::new([0; 32])).expect("saved");
        let good = std::fs::read(&path).expect("bytes");
        let check = |bytes: &[u8], at: usize| {
            std::fs::write(&path, bytes).expect("written");
            let loaded = Memory::load(&path);
            assert!(loaded.refused.is_some() && loaded.memory.is_empty(), "byte {at}");
            assert!(matches!(loaded.memory.origin, Origin::Refused(_)));
        };
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            check(&bad, at);
            check(&good[..at], at);
        }
        check(&[&good[..], b"x"].concat(), good.len());
    }

    #[test]
    fn no_link_or_pipe_is_followed() {
        let directory = tempfile::tempdir().expect("directory");
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("/dev/zero", &link).expect("link");
        assert!(matches!(Memory::load(&link).refused, Some(Refused::Io(_))));
        assert!(matches!(Memory::load(Path::new("/dev/zero")).refused, Some(Refused::Kind)));
    }
}
