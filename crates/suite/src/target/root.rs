//! Reading files of a shadow from the host, never leaving the shadow's root.
//!
//! Everything goes through `openat2` with `RESOLVE_IN_ROOT`: absolute links and `..` inside
//! a shadow stay inside it, whatever the shadow does meanwhile.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use umbra_state::escape::escape;

use super::ProbeError;

/// How often a resolution that raced with a rename is tried again.
const ATTEMPTS: usize = 16;

/// Opens a path below `root` (with or without a leading slash); `None` where nothing stands.
pub fn open(
    root: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlags,
) -> Result<Option<OwnedFd>, ProbeError> {
    let path = trim(path);
    let name: &[u8] = if path.is_empty() { b"." } else { path };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let mut last = Errno::AGAIN;
    for _ in 0..ATTEMPTS {
        match rustix::fs::openat2(root, name, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Ok(fd) => return Ok(Some(fd)),
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(errno @ (Errno::AGAIN | Errno::INTR)) => last = errno,
            Err(errno) => return Err(file_error(path, errno.into())),
        }
    }
    Err(file_error(path, last.into()))
}

/// What stands at a path, symbolic links at its end not followed.
pub fn stat(root: BorrowedFd<'_>, path: &[u8]) -> Result<Option<Stat>, ProbeError> {
    let Some(fd) = open(root, path, OFlags::PATH | OFlags::NOFOLLOW)? else { return Ok(None) };
    rustix::fs::fstat(&fd).map(Some).map_err(|errno| file_error(path, errno.into()))
}

/// Like [`stat`], links followed inside the root.
pub fn stat_followed(root: BorrowedFd<'_>, path: &[u8]) -> Result<Option<Stat>, ProbeError> {
    let Some(fd) = open(root, path, OFlags::PATH)? else { return Ok(None) };
    rustix::fs::fstat(&fd).map(Some).map_err(|errno| file_error(path, errno.into()))
}

/// The target of a symbolic link; `None` where nothing or something else stands.
pub fn read_link(root: BorrowedFd<'_>, path: &[u8]) -> Result<Option<Vec<u8>>, ProbeError> {
    let Some(fd) = open(root, path, OFlags::PATH | OFlags::NOFOLLOW)? else { return Ok(None) };
    match rustix::fs::readlinkat(&fd, c"", Vec::new()) {
        Ok(target) => Ok(Some(target.into_bytes())),
        Err(Errno::INVAL | Errno::NOENT) => Ok(None),
        Err(errno) => Err(file_error(path, errno.into())),
    }
}

/// Opens a regular file for reading, links followed inside the root; `None` where nothing
/// stands. Anything but a regular file is an error, so that no pipe or device is opened.
pub fn open_file(root: BorrowedFd<'_>, path: &[u8]) -> Result<Option<(File, u64)>, ProbeError> {
    let Some(stat) = stat_followed(root, path)? else { return Ok(None) };
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        let source = io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file");
        return Err(file_error(path, source));
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let Some(fd) = open(root, path, flags)? else { return Ok(None) };
    Ok(Some((File::from(fd), u64::try_from(stat.st_size).unwrap_or(0))))
}

/// A whole file of at most `bytes_max`; `None` where nothing stands.
pub fn read_file(
    root: BorrowedFd<'_>,
    path: &[u8],
    bytes_max: u64,
) -> Result<Option<Vec<u8>>, ProbeError> {
    let Some((file, _)) = open_file(root, path)? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(bytes_max.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|source| file_error(path, source))?;
    if bytes.len() as u64 > bytes_max {
        return Err(ProbeError::FileTooLarge { path: shown(path), bytes_max });
    }
    Ok(Some(bytes))
}

/// The names in a directory, sorted, at most `names_max` of them; `None` where no directory
/// stands.
pub fn read_dir(
    root: BorrowedFd<'_>,
    path: &[u8],
    names_max: usize,
) -> Result<Option<Vec<Vec<u8>>>, ProbeError> {
    let Some(fd) = open(root, path, OFlags::RDONLY | OFlags::DIRECTORY)? else { return Ok(None) };
    let dir = rustix::fs::Dir::read_from(fd.as_fd()).map_err(|e| file_error(path, e.into()))?;
    let mut names = Vec::new();
    for entry in dir.take(names_max.saturating_add(2)) {
        let entry = entry.map_err(|errno| file_error(path, errno.into()))?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    names.sort_unstable();
    names.truncate(names_max);
    Ok(Some(names))
}

fn trim(path: &[u8]) -> &[u8] {
    let start = path.iter().position(|&byte| byte != b'/').unwrap_or(path.len());
    &path[start..]
}

fn shown(path: &[u8]) -> String {
    escape(std::ffi::OsStr::from_bytes(trim(path)).as_bytes()).to_string()
}

fn file_error(path: &[u8], source: io::Error) -> ProbeError {
    ProbeError::File { path: shown(path), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn rooted() -> (tempfile::TempDir, OwnedFd) {
        let dir = tempfile::tempdir().expect("tempdir");
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let fd = rustix::fs::open(dir.path(), flags, Mode::empty()).expect("open");
        (dir, fd)
    }

    #[test]
    fn links_stay_inside_the_root() {
        let (dir, root) = rooted();
        fs::create_dir(dir.path().join("etc")).expect("mkdir");
        fs::write(dir.path().join("etc/hostname"), "shadow\n").expect("write");
        symlink("/etc/hostname", dir.path().join("absolute")).expect("symlink");
        symlink("../../../../../../etc/hostname", dir.path().join("climbing")).expect("symlink");
        for path in [&b"absolute"[..], b"/absolute", b"climbing", b"../../etc/hostname"] {
            let read = read_file(root.as_fd(), path, 100).expect("read");
            assert_eq!(read.as_deref(), Some(&b"shadow\n"[..]), "{}", escape(path));
        }
        let link = read_link(root.as_fd(), b"absolute").expect("link");
        assert_eq!(link.as_deref(), Some(&b"/etc/hostname"[..]));
        assert_eq!(read_link(root.as_fd(), b"etc/hostname").expect("no link"), None);
    }

    #[test]
    fn magic_links_and_what_is_no_file_are_refused() {
        let (dir, root) = rooted();
        symlink("/proc/self/root/etc/passwd", dir.path().join("magic")).expect("symlink");
        assert_eq!(read_file(root.as_fd(), b"magic", 1 << 20).expect("nothing there"), None);
        rustix::fs::mknodat(
            rustix::fs::CWD,
            dir.path().join("pipe"),
            FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )
        .expect("mkfifo");
        assert!(read_file(root.as_fd(), b"pipe", 10).is_err());
    }

    #[test]
    fn reading_is_bounded() {
        let (dir, root) = rooted();
        fs::write(dir.path().join("big"), vec![0u8; 11]).expect("write");
        let error = read_file(root.as_fd(), b"big", 10).expect_err("too large");
        assert_eq!(error.to_string(), "read /big in the shadow, which is larger than 10 bytes");
        assert!(read_file(root.as_fd(), b"big", 11).expect("fits").is_some());
        assert_eq!(read_file(root.as_fd(), b"absent/x", 11).expect("absent"), None);
        assert_eq!(read_dir(root.as_fd(), b"/", 10).expect("dir"), Some(vec![b"big".to_vec()]));
    }
}
