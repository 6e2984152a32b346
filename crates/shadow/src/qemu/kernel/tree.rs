//! A root that may be anybody's: files are read below it, no link leads out of it, and what is
//! no plain file is not opened.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2};
use rustix::io::Errno;

/// No directory is read further.
const NAMES_MAX: usize = 4096;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(super) struct Root<'a>(pub(super) BorrowedFd<'a>);

impl Root<'_> {
    /// The file at a path relative to the root; `None` if nothing is there.
    pub(super) fn read(self, path: &str, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
        let Some(place) = self.locate(path, OFlags::PATH)? else { return Ok(None) };
        if FileType::from_raw_mode(fstat(&place)?.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("it is no plain file"));
        }
        let path = format!("/proc/self/fd/{}", place.as_raw_fd());
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = File::from(open(Path::new(&path), flags, Mode::empty())?);
        let mut bytes = Vec::new();
        file.take(bytes_max + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > bytes_max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(Some(bytes))
    }

    /// The names in a directory that are text, sorted; none if it is not there.
    pub(super) fn names(self, path: &str) -> io::Result<Vec<String>> {
        let Some(dir) = self.locate(path, OFlags::RDONLY | OFlags::DIRECTORY)? else {
            return Ok(Vec::new());
        };
        let mut names = Vec::new();
        for entry in Dir::new(dir)?.take(NAMES_MAX) {
            names.extend(entry?.file_name().to_str().ok().map(str::to_owned));
        }
        names.sort_unstable();
        Ok(names)
    }

    fn locate(self, path: &str, flags: OFlags) -> io::Result<Option<OwnedFd>> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        match openat2(self.0, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Ok(place) => Ok(Some(place)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsFd;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nothing_outside_is_read_and_nothing_but_files() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "inside").expect("written");
        symlink("/file", at("link")).expect("made");
        symlink("/etc/passwd", at("out")).expect("made");
        symlink("../../../../../../etc/passwd", at("up")).expect("made");
        symlink("loop", at("loop")).expect("made");
        let pipe = std::process::Command::new("mkfifo").arg(at("pipe")).status();
        assert!(pipe.expect("mkfifo").success());
        let fd = File::open(dir.path()).expect("opened");
        let root = Root(fd.as_fd());
        assert_eq!(root.read("file", 6).expect("read").as_deref(), Some(b"inside".as_slice()));
        assert_eq!(root.read("link", 6).expect("read").as_deref(), Some(b"inside".as_slice()));
        for absent in ["out", "up", "none", "file/none"] {
            assert_eq!(root.read(absent, 6).expect(absent), None, "{absent}");
        }
        for refused in ["pipe", "loop", "."] {
            root.read(refused, 6).expect_err(refused);
        }
        root.read("file", 5).expect_err("it is longer");
        assert_eq!(root.names("none").expect("none"), [""; 0]);
        assert!(root.names(".").expect("names").contains(&"pipe".to_owned()));
    }
}
