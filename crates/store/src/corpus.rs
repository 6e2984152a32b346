//! One tree with every hard case of metadata: what a copy must get right and usually does not.
//!
//! For tests, here and in other crates: whatever captures, mounts or sends states proves itself
//! on it.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chownat, linkat,
    makedev, mkdirat, mknodat, open, openat, setxattr, symlinkat, utimensat,
};
use umbra_state::tree::push_name;

/// Makes the corpus in an existing empty directory. Needs root and a filesystem with extended
/// attributes; the path of `dir` must not need more than a descriptor.
pub fn make(dir: &Path) -> io::Result<()> {
    let top = open(dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let corpus = Corpus { top };
    corpus.contents()?;
    corpus.names()?;
    corpus.types()?;
    corpus.modes_and_owners()?;
    corpus.attributes()?;
    corpus.links()?;
    corpus.deep()?;
    corpus.times()?;
    Ok(())
}

/// Holds /proc paths of everything that is made, so no path is too long.
struct Corpus {
    top: OwnedFd,
}

impl Corpus {
    fn contents(&self) -> io::Result<()> {
        self.dir("contents")?;
        for size in [0, 1, 63, 64, 65, 4095, 4096, 4097, 70_000] {
            let bytes: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
            self.file(&format!("contents/size-{size}"), &bytes)?;
        }
        self.file("contents/twin-a", &[b't'; 5000])?;
        self.file("contents/twin-b", &[b't'; 5000])?;
        self.file("contents/zeros", &[0; 40_960])?;
        // Data at the start, in the middle and at the end of 10 MB of nothing.
        let mut sparse = fs::File::from(self.create("contents/sparse")?);
        for offset in [0, 5_000_000, 10_000_000] {
            sparse.seek(SeekFrom::Start(offset))?;
            sparse.write_all(b"here")?;
        }
        fs::File::from(self.create("contents/only-a-hole")?).set_len(3_000_000)
    }

    fn names(&self) -> io::Result<()> {
        self.dir("names")?;
        let long = [b'n'; 255];
        let names: [&[u8]; 16] = [
            b"caf\xe9",
            b"\xff\xfe",
            b"new\nline",
            b"tab\tand\x1b[31mcolour",
            b"-rf",
            b"--help",
            b" leading and trailing ",
            b"back\\slash",
            b"quote'\"`$(x)",
            b"Case",
            b"case",
            b".wh.gone",
            b".wh..wh..opq",
            b"...",
            b"+before-dot",
            &long,
        ];
        for name in names {
            self.file_at(b"names", name, name)?;
        }
        self.dir("00")?;
        self.file("00/under-a-stub-name", b"x")?;
        self.file("fe", b"also one")?;
        Ok(symlinkat("fe", &self.top, "ff")?)
    }

    fn types(&self) -> io::Result<()> {
        self.dir("types")?;
        self.dir("types/empty")?;
        let node = |name: &str, kind, device| {
            mknodat(&self.top, name, kind, Mode::from_raw_mode(0o640), device)
        };
        node("types/fifo", FileType::Fifo, 0)?;
        node("types/socket", FileType::Socket, 0)?;
        node("types/null", FileType::CharacterDevice, makedev(1, 3))?;
        node("types/wide", FileType::CharacterDevice, makedev(4095, 1_048_575))?;
        node("types/disk", FileType::BlockDevice, makedev(8, 300))?;
        symlinkat("../contents/size-64", &self.top, "types/link")?;
        symlinkat("/nowhere/\n\u{e9}", &self.top, "types/dangling")?;
        Ok(symlinkat("x".repeat(4095), &self.top, "types/long-link")?)
    }

    fn modes_and_owners(&self) -> io::Result<()> {
        self.dir("modes")?;
        for mode in [0o0000, 0o0600, 0o0777, 0o4755, 0o2755, 0o6711, 0o1644, 0o7777] {
            let name = format!("modes/file-{mode:o}");
            self.file(&name, format!("{mode:o} {}", "content ".repeat(20)).as_bytes())?;
            self.chmod(&name, mode)?;
        }
        for mode in [0o0000, 0o1777, 0o2775, 0o0700] {
            let name = format!("modes/dir-{mode:o}");
            self.dir(&name)?;
            self.file(&format!("{name}/inside"), b"reachable by root")?;
            self.chmod(&name, mode)?;
        }
        self.dir("owners")?;
        for (uid, gid) in [(1000, 1000), (65_534, 65_534), (70_000, 80_000), (4_000_000_000, 1)] {
            let name = format!("owners/{uid}-{gid}");
            self.file(&name, b"owned")?;
            self.chown(&name, uid, gid)?;
            let link = format!("owners/link-{uid}-{gid}");
            symlinkat(&name, &self.top, &link)?;
            self.chown(&link, uid, gid)?;
        }
        // The change of owner clears setuid: set it afterwards, as dpkg does.
        self.file("owners/setuid", b"#!/bin/sh\n")?;
        self.chown("owners/setuid", 33, 33)?;
        self.chmod("owners/setuid", 0o4750)
    }

    fn attributes(&self) -> io::Result<()> {
        self.dir("attributes")?;
        for name in ["plain", "capable", "acl", "many"] {
            self.file(&format!("attributes/{name}"), &[b'a'; 200])?;
        }
        let plain: [(&str, &[u8]); 7] = [
            ("user.comment", b"one"),
            ("user.empty", b""),
            ("user.binary", b"\0\x01\xff"),
            ("user.overlay.opaque", b"y"),
            ("trusted.secret", b"two"),
            ("trusted.overlay.redirect", b"/of/a/nested/overlay"),
            ("trusted.overlay.overlay.opaque", b"y"),
        ];
        for (name, value) in plain {
            self.xattr("attributes/plain", name, value)?;
        }
        let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        self.xattr("attributes/capable", "security.capability", &capability)?;
        let acl = |user: u32| {
            let entries: [(u16, u16, u32); 5] = [
                (0x01, 6, u32::MAX),
                (0x02, 4, user),
                (0x04, 4, u32::MAX),
                (0x10, 6, u32::MAX),
                (0x20, 0, u32::MAX),
            ];
            let mut acl = 2u32.to_le_bytes().to_vec();
            for (tag, permissions, id) in entries {
                acl.extend_from_slice(&tag.to_le_bytes());
                acl.extend_from_slice(&permissions.to_le_bytes());
                acl.extend_from_slice(&id.to_le_bytes());
            }
            acl
        };
        self.xattr("attributes/acl", "system.posix_acl_access", &acl(1000))?;
        self.dir("attributes/dir")?;
        self.xattr("attributes/dir", "system.posix_acl_access", &acl(7))?;
        self.xattr("attributes/dir", "system.posix_acl_default", &acl(8))?;
        self.xattr("attributes/dir", "user.on-a-directory", b"three")?;
        self.dir("attributes/opaque")?;
        self.xattr("attributes/opaque", "trusted.overlay.opaque", b"y")?;
        self.xattr("attributes/opaque", "user.overlay.whiteouts", b"")?;
        for number in 0..40 {
            let value = vec![number; 20];
            self.xattr("attributes/many", &format!("user.number-{number}"), &value)?;
        }
        self.xattr("attributes/many", &format!("user.{}", "n".repeat(250)), b"long name")?;
        symlinkat("plain", &self.top, "attributes/link")?;
        self.xattr("attributes/link", "trusted.on-a-link", b"four")?;
        let mode = Mode::from_raw_mode(0o600);
        mknodat(&self.top, "attributes/device", FileType::BlockDevice, mode, makedev(7, 7))?;
        self.xattr("attributes/device", "trusted.on-a-device", b"five")?;
        mknodat(&self.top, "attributes/fifo", FileType::Fifo, mode, 0)?;
        self.xattr("attributes/fifo", "security.on-a-fifo", b"six")
    }

    fn links(&self) -> io::Result<()> {
        self.dir("links")?;
        self.dir("links/a")?;
        self.dir("links/z")?;
        self.file("links/z/first", &[b'l'; 3000])?;
        self.xattr("links/z/first", "user.shared", b"by all names")?;
        self.link("links/z/first", "links/a/second")?;
        self.link("links/z/first", "links/third")?;
        self.file("links/small", b"inline")?;
        self.link("links/small", "links/a/small")?;
        self.file("links/nothing", b"")?;
        self.link("links/nothing", "links/nothing-too")?;
        symlinkat("third", &self.top, "links/symbolic")?;
        self.link("links/symbolic", "links/a/symbolic")?;
        let mode = Mode::from_raw_mode(0o600);
        mknodat(&self.top, "links/device", FileType::CharacterDevice, mode, makedev(5, 1))?;
        self.link("links/device", "links/z/device")?;
        mknodat(&self.top, "links/fifo", FileType::Fifo, mode, 0)?;
        self.link("links/fifo", "links/fifo-too")?;
        mknodat(&self.top, "links/socket", FileType::Socket, mode, 0)?;
        self.link("links/socket", "links/z/socket")
    }

    /// A path of more than 4096 bytes.
    fn deep(&self) -> io::Result<()> {
        let mut dir = self.top.try_clone()?;
        let mut path = Vec::new();
        while path.len() <= 5000 {
            let name = format!("deep-{}-{}", path.len(), "d".repeat(50));
            mkdirat(&dir, &name, Mode::from_raw_mode(0o755))?;
            dir = openat(&dir, &name, DIR, Mode::empty())?;
            push_name(&mut path, name.as_bytes());
        }
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = openat(&dir, "bottom", flags, Mode::from_raw_mode(0o644))?;
        fs::File::from(file).write_all(&[b'b'; 100])
    }

    /// Last, since everything else changes times.
    fn times(&self) -> io::Result<()> {
        self.dir("times")?;
        let mut times = Vec::new();
        for (sec, nsec) in
            [(0, 0), (0, 1), (1_700_000_000, 999_999_999), (-1, 5), (-2_000_000_000, 0)]
        {
            let number = times.len();
            let (file, link, dir) = (
                format!("times/file-{number}"),
                format!("times/link-{number}"),
                format!("times/dir-{number}"),
            );
            self.file(&file, b"when")?;
            symlinkat("when", &self.top, &link)?;
            self.dir(&dir)?;
            times.extend([(file, sec, nsec), (link, sec, nsec), (dir, sec, nsec)]);
        }
        // Beyond 2038 and 2106, as far as ext4 goes.
        self.file("times/future", b"then")?;
        times.push(("times/future".to_owned(), 15_000_000_000, 123_456_789));
        times.push(("times".to_owned(), 1_234_567_890, 123_456_789));
        times.push((".".to_owned(), 1_600_000_000, 42));
        for (name, sec, nsec) in times {
            let times = Timestamps {
                last_access: Timespec { tv_sec: 1, tv_nsec: 1 },
                last_modification: Timespec { tv_sec: sec, tv_nsec: nsec },
            };
            utimensat(&self.top, name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(())
    }

    fn dir(&self, path: &str) -> io::Result<()> {
        mkdirat(&self.top, path, Mode::from_raw_mode(0o755))?;
        self.chmod(path, 0o755)
    }

    fn create(&self, path: &str) -> io::Result<OwnedFd> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        Ok(openat(&self.top, path, flags, Mode::from_raw_mode(0o644))?)
    }

    fn file(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        fs::File::from(self.create(path)?).write_all(bytes)?;
        self.chmod(path, 0o644)
    }

    fn file_at(&self, dir: &[u8], name: &[u8], bytes: &[u8]) -> io::Result<()> {
        let dir = openat(&self.top, dir, DIR, Mode::empty())?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = openat(&dir, OsStr::from_bytes(name), flags, Mode::from_raw_mode(0o644))?;
        fs::File::from(file).write_all(bytes)
    }

    fn chmod(&self, path: &str, mode: u32) -> io::Result<()> {
        let mode = Mode::from_raw_mode(mode);
        Ok(rustix::fs::chmodat(&self.top, path, mode, AtFlags::empty())?)
    }

    fn chown(&self, path: &str, uid: u32, gid: u32) -> io::Result<()> {
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        Ok(chownat(&self.top, path, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(linkat(&self.top, from, &self.top, to, AtFlags::empty())?)
    }

    fn xattr(&self, path: &str, name: &str, value: &[u8]) -> io::Result<()> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&self.top, path, flags, Mode::empty())?;
        let path = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
        Ok(setxattr(path, name, value, XattrFlags::empty())?)
    }
}

const DIR: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
