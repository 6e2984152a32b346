//! A fanotify group: one queue for the changes of whole filesystems and for executions.
//!
//! What the kernel offers differs by version, so a group is asked for in rungs, from the
//! best down: `DFID_NAME_TARGET` (5.17) with pidfds (5.15), then `DFID_NAME` (5.9). The
//! rung that held is data ([`Rung`]).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use super::record::{Record, Refused, parse};
use super::who::ProcessRef;

/// Changes of files and directories, but renames.
const CHANGES: u64 = libc::FAN_CREATE
    | libc::FAN_DELETE
    | libc::FAN_CLOSE_WRITE
    | libc::FAN_MODIFY
    | libc::FAN_ATTRIB
    | libc::FAN_ONDIR;

/// Records are small (about 100 bytes): some 600 of them in one read. Each may come with an
/// open descriptor of its process, of which there may be 1,024.
const BUFFER: usize = 64 * 1024;
/// What an ignored directory sends no more: what its files do, but neither renames, since
/// they can lead to where it must not be ignored, nor executions, nor what directories do.
const IGNORED: u64 = libc::FAN_CREATE
    | libc::FAN_DELETE
    | libc::FAN_CLOSE_WRITE
    | libc::FAN_MODIFY
    | libc::FAN_ATTRIB
    | libc::FAN_EVENT_ON_CHILD;

/// What the kernel's group reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rung {
    /// `FAN_REPORT_DFID_NAME_TARGET` rather than `FAN_REPORT_DFID_NAME`.
    pub target: bool,
    /// Events carry a descriptor of the process that caused them.
    pub pidfd: bool,
    /// The kernel's queue has no bound of its own.
    pub unlimited: bool,
}

/// What a mark asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Changes, and executions for the sake of who.
    ChangesAndExecutions,
    /// Executions only.
    Executions,
}

/// An open group.
#[derive(Debug)]
pub struct Group {
    fd: OwnedFd,
    rung: Rung,
}

impl Group {
    /// The best group this kernel and these privileges allow; `unlimited` asks for a
    /// queue without a bound (the reader bounds its own memory).
    ///
    /// # Errors
    /// What the lowest rung was refused with: `EPERM` without `CAP_SYS_ADMIN`, `ENOSYS`
    /// or `EINVAL` on kernels before 5.9.
    pub fn open(unlimited: bool) -> Result<Self, Errno> {
        let mut refused = Errno::INVAL;
        for (target, pidfd) in [(true, true), (false, true), (true, false), (false, false)] {
            let rung = Rung { target, pidfd, unlimited };
            match init(rung) {
                Ok(fd) => return Ok(Self { fd, rung }),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    /// What the group reports.
    pub fn rung(&self) -> Rung {
        self.rung
    }

    /// Deliver events of the whole filesystem that the directory `at` lies on.
    ///
    /// # Errors
    /// `EOPNOTSUPP` (overlayfs, proc, sysfs), `EXDEV` (btrfs subvolumes), `ENODEV` (no
    /// filesystem id), `EPERM`.
    pub fn mark_filesystem(&self, at: BorrowedFd<'_>, interest: Interest) -> Result<(), Errno> {
        let executions = libc::FAN_OPEN_EXEC;
        let whole = libc::FAN_MARK_FILESYSTEM;
        if interest == Interest::Executions {
            return mark(&self.fd, whole, executions, at);
        }
        match mark(&self.fd, whole, CHANGES | executions | libc::FAN_RENAME, at) {
            // Before 5.17 a rename is two events.
            Err(Errno::INVAL) => mark(&self.fd, whole, CHANGES | executions | libc::FAN_MOVE, at),
            result => result,
        }
    }

    /// Deliver what happens in the directory `at`, not below it.
    ///
    /// # Errors
    /// As for the filesystem; `ENOSPC` when the user has too many marks.
    pub fn mark_directory(&self, at: BorrowedFd<'_>) -> Result<(), Errno> {
        let changes = CHANGES | libc::FAN_EVENT_ON_CHILD;
        match mark(&self.fd, 0, changes | libc::FAN_RENAME, at) {
            Err(Errno::INVAL) => mark(&self.fd, 0, changes | libc::FAN_MOVE, at),
            result => result,
        }
    }

    /// Deliver nothing more of what the files of the directory `at` do. The kernel may
    /// forget it when memory is short.
    ///
    /// # Errors
    /// `EINVAL` before Linux 6.0.
    pub fn ignore(&self, at: BorrowedFd<'_>) -> Result<(), Errno> {
        mark(&self.fd, libc::FAN_MARK_IGNORE_SURV | libc::FAN_MARK_EVICTABLE, IGNORED, at)
    }

    /// Ignore no directory any more.
    ///
    /// # Errors
    /// None that are known.
    pub fn ignore_nothing(&self) -> Result<(), Errno> {
        fanotify_mark(&self.fd, libc::FAN_MARK_FLUSH, 0, libc::AT_FDCWD, std::ptr::null())
    }

    /// Read what is queued, at most a `buffer` of it; how many bytes it is.
    ///
    /// # Errors
    /// What reading fails with, but not that there is nothing to read.
    pub fn read(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        read(&self.fd, buffer)
    }

    /// A buffer for [`Self::read`].
    pub fn buffer() -> Vec<u8> {
        vec![0; BUFFER]
    }
}

impl AsFd for Group {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What was read, record by record, with the process of each. Once only: each record owns
/// the descriptors that came with it.
pub(super) fn records(
    read: &[u8],
    mut on: impl FnMut(Result<(Record<'_>, ProcessRef, Option<OwnedFd>), Refused>),
) {
    for record in parse(read) {
        on(record.map(|record| {
            // SAFETY: the kernel opened these descriptors for us with this very record, and
            // the parser yields each record once.
            let own = |fd| unsafe { OwnedFd::from_raw_fd(fd) };
            let (process, file) = (record.pidfd.map(own), record.file.map(own));
            (record, ProcessRef::new(record.pid, process), file)
        }));
    }
}

pub(super) fn read(fd: &OwnedFd, buffer: &mut [u8]) -> Result<usize, Errno> {
    loop {
        match rustix::io::read(fd, &mut *buffer) {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(0),
            result => return result,
        }
    }
}

pub(super) fn mark(
    group: &OwnedFd,
    how: libc::c_uint,
    mask: u64,
    at: BorrowedFd<'_>,
) -> Result<(), Errno> {
    fanotify_mark(group, libc::FAN_MARK_ADD | how, mask, at.as_raw_fd(), c".".as_ptr())
}

fn fanotify_mark(
    group: &OwnedFd,
    how: libc::c_uint,
    mask: u64,
    at: libc::c_int,
    path: *const libc::c_char,
) -> Result<(), Errno> {
    // SAFETY: the group is open, the path null or a string literal with its zero.
    let result = unsafe { libc::fanotify_mark(group.as_raw_fd(), how, mask, at, path) };
    if result == 0 { Ok(()) } else { Err(last_errno()) }
}

fn init(rung: Rung) -> Result<OwnedFd, Errno> {
    let mut flags = 0;
    flags |=
        if rung.target { libc::FAN_REPORT_DFID_NAME_TARGET } else { libc::FAN_REPORT_DFID_NAME };
    if rung.pidfd {
        flags |= libc::FAN_REPORT_PIDFD;
    }
    if rung.unlimited {
        flags |= libc::FAN_UNLIMITED_QUEUE;
    }
    open(flags)
}

/// A group with these flags besides the usual ones.
pub(super) fn open(flags: libc::c_uint) -> Result<OwnedFd, Errno> {
    let flags = flags | libc::FAN_CLASS_NOTIF | libc::FAN_CLOEXEC | libc::FAN_NONBLOCK;
    let mode = (libc::O_RDONLY | libc::O_CLOEXEC | libc::O_LARGEFILE).cast_unsigned();
    // SAFETY: two integers in, a new descriptor or -1 out.
    let fd = unsafe { libc::fanotify_init(flags, mode) };
    if fd < 0 {
        return Err(last_errno());
    }
    // SAFETY: the kernel has just given us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub(super) fn last_errno() -> Errno {
    let error = std::io::Error::last_os_error();
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}
