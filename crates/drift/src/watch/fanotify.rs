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

/// Records are small (about 100 bytes): some 2,500 of them in one read.
const BUFFER: usize = 256 * 1024;

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
        if interest == Interest::Executions {
            return self.mark(at, executions);
        }
        match self.mark(at, CHANGES | executions | libc::FAN_RENAME) {
            // Before 5.17 a rename is two events.
            Err(Errno::INVAL) => self.mark(at, CHANGES | executions | libc::FAN_MOVE),
            result => result,
        }
    }

    fn mark(&self, at: BorrowedFd<'_>, mask: u64) -> Result<(), Errno> {
        // SAFETY: the descriptors are open, the path is a string literal with its zero.
        let result = unsafe {
            libc::fanotify_mark(
                self.fd.as_raw_fd(),
                libc::FAN_MARK_ADD | libc::FAN_MARK_FILESYSTEM,
                mask,
                at.as_raw_fd(),
                c".".as_ptr(),
            )
        };
        if result == 0 { Ok(()) } else { Err(last_errno()) }
    }

    /// Read what is queued, at most a `buffer` of it, and hand each record on with its
    /// process. Whether there was anything.
    ///
    /// # Errors
    /// What reading fails with, but not that there is nothing to read.
    pub fn read(
        &self,
        buffer: &mut [u8],
        mut on: impl FnMut(Result<(Record<'_>, ProcessRef), Refused>),
    ) -> Result<bool, Errno> {
        let length = loop {
            match rustix::io::read(&self.fd, &mut *buffer) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(false),
                result => break result?,
            }
        };
        for record in parse(&buffer[..length]) {
            on(record.map(|record| {
                // SAFETY: the kernel opened this descriptor for us with this very record,
                // and the parser yields each record once.
                let fd = record.pidfd.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
                (record, ProcessRef::new(record.pid, fd))
            }));
        }
        Ok(true)
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

fn init(rung: Rung) -> Result<OwnedFd, Errno> {
    let mut flags = libc::FAN_CLASS_NOTIF | libc::FAN_CLOEXEC | libc::FAN_NONBLOCK;
    flags |=
        if rung.target { libc::FAN_REPORT_DFID_NAME_TARGET } else { libc::FAN_REPORT_DFID_NAME };
    if rung.pidfd {
        flags |= libc::FAN_REPORT_PIDFD;
    }
    if rung.unlimited {
        flags |= libc::FAN_UNLIMITED_QUEUE;
    }
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
