//! Copies a root directory's own metadata onto another directory.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};

/// The most that is read of one attribute's value or of the list of names (the kernel's limit).
const XATTR_BYTES_MAX: usize = 64 << 10;

/// Copies owner, mode, extended attributes and, last, modification time of the mount's root.
pub(super) fn copy(from: &OwnedFd, to: &OwnedFd) -> io::Result<()> {
    // Both may be open as paths only.
    let to = &*format!("/proc/self/fd/{}", to.as_raw_fd());
    let stat = rustix::fs::statat(from, "", AtFlags::EMPTY_PATH)?;
    rustix::fs::chown(to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    rustix::fs::chmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    copy_xattrs(&format!("/proc/self/fd/{}", from.as_raw_fd()), to)?;
    let mtime = Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ };
    let times = Timestamps { last_access: mtime, last_modification: mtime };
    Ok(rustix::fs::utimensat(rustix::fs::CWD, to, &times, AtFlags::empty())?)
}

fn copy_xattrs(from: &str, to: &str) -> io::Result<()> {
    let mut names = vec![0u8; XATTR_BYTES_MAX];
    let length = rustix::fs::listxattr(from, &mut names[..])?;
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        // overlayfs writes its own marks itself.
        if name.starts_with(b"trusted.overlay.") {
            continue;
        }
        let mut value = vec![0u8; XATTR_BYTES_MAX];
        let length = rustix::fs::getxattr(from, name, &mut value[..])?;
        rustix::fs::setxattr(to, name, &value[..length], XattrFlags::empty())?;
    }
    Ok(())
}
