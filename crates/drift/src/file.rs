//! A file's content, read without harm.
//!
//! Whatever lies at the path, reading it ends, takes bounded memory, waits for nobody, wakes
//! nobody and speaks of one moment. A file that is missing, one that cannot be read and one that
//! is empty are three different answers.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat, fstat, fstatfs, open, openat2};
use rustix::io::Errno;

/// The most that is read of one file if nothing else is said.
pub const BYTES_MAX: u64 = 4 << 20;

/// Longer than the steps in which any kernel's file times advance.
const RACY_NS: i64 = 20_000_000;

/// How often a file that changes while it is read is read again.
pub(crate) const ATTEMPTS: u32 = 3;

/// Why nobody knows what a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It is no regular file.
    Kind(Kind),
    /// It has more bytes than may be read.
    TooLarge {
        /// The limit.
        bytes_max: u64,
    },
    /// It was another each time it was read.
    Changing,
    /// Its links lead in a circle.
    Circle,
    /// The kernel refused.
    Refused(Errno),
}

/// What something is that is no regular file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A pipe with a name.
    Fifo,
    /// A socket.
    Socket,
    /// A block or character device.
    Device,
    /// Anything else.
    Other,
}

/// Reads the file at `path` below `root`, out of which no link leads, and at most `bytes_max`
/// of it; `None` if nothing is there.
///
/// # Errors
/// Something is there, and nobody knows what it says.
pub fn read(root: BorrowedFd<'_>, path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>, Reason> {
    let Some(place) = locate(root, path)? else { return Ok(None) };
    content(&place, bytes_max).map(Some)
}

/// What `path` leads to below `root`, out of which no link leads; `None` if nothing is there.
///
/// It is found first and opened when it is known what it is: opening a pipe or a device has
/// effects.
pub(crate) fn locate(root: BorrowedFd<'_>, path: &Path) -> Result<Option<OwnedFd>, Reason> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    match openat2(root, relative(path), flags, Mode::empty(), resolve) {
        Ok(place) => Ok(Some(place)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(Errno::LOOP) => Err(Reason::Circle),
        Err(error) => Err(Reason::Refused(error)),
    }
}

/// The top of the root is `.` to the kernel.
fn relative(path: &Path) -> &Path {
    match path.strip_prefix("/").unwrap_or(path) {
        top if top.as_os_str().is_empty() => Path::new("."),
        below => below,
    }
}

fn content(place: &OwnedFd, bytes_max: u64) -> Result<Vec<u8>, Reason> {
    let found = fstat(place).map_err(Reason::Refused)?;
    if let Some(kind) = kind_of(&found) {
        return Err(Reason::Kind(kind));
    }
    let path = format!("/proc/self/fd/{}", place.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let mut previous = None;
    for _ in 0..ATTEMPTS {
        let file = open(&*path, flags, Mode::empty()).map_err(Reason::Refused)?;
        let before = fstat(&file).map_err(Reason::Refused)?;
        if u64::try_from(before.st_size).unwrap_or(0) > bytes_max {
            return Err(Reason::TooLarge { bytes_max });
        }
        let mut file = File::from(file);
        let bytes = take(&mut file, bytes_max)?;
        let file = OwnedFd::from(file);
        let after = fstat(&file).map_err(Reason::Refused)?;
        let steady =
            moment(&before) == moment(&after) && is_whole(&file, &after, bytes.len() as u64);
        if steady && (!is_racy(&after) || previous.as_ref() == Some(&bytes)) {
            return Ok(bytes);
        }
        previous = Some(bytes);
    }
    Err(Reason::Changing)
}

/// The kernel's own files do not say how long they are.
fn take(file: &mut File, bytes_max: u64) -> Result<Vec<u8>, Reason> {
    let mut bytes = Vec::new();
    match file.take(bytes_max + 1).read_to_end(&mut bytes) {
        Ok(_) if bytes.len() as u64 > bytes_max => Err(Reason::TooLarge { bytes_max }),
        Ok(_) => Ok(bytes),
        Err(error) => Err(Reason::Refused(Errno::from_io_error(&error).unwrap_or(Errno::IO))),
    }
}

/// What is another as soon as somebody has written.
pub(crate) fn moment(stat: &Stat) -> impl PartialEq + use<> {
    (stat.st_size, stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec)
}

/// Whether a write right now might leave the times as they are: until Linux 6.13 they advance in
/// steps. The kernel's own files have no length and are whole at each reading.
pub(crate) fn is_racy(stat: &Stat) -> bool {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    let age_ns = (now.tv_sec - stat.st_ctime)
        .saturating_mul(1_000_000_000)
        .saturating_add(now.tv_nsec - stat.st_ctime_nsec as i64);
    stat.st_size > 0 && age_ns < RACY_NS
}

/// Whether this is all of a file: somebody may have cut it between two readings of its bytes,
/// and its times be told only after.
pub(crate) fn is_whole(file: &OwnedFd, stat: &Stat, bytes: u64) -> bool {
    u64::try_from(stat.st_size) == Ok(bytes) || is_view(file)
}

/// Whether this filesystem shows what the kernel or another machine knows: sizes need not be
/// true there, and looking can take for ever.
pub(crate) fn is_view(fd: &OwnedFd) -> bool {
    /// `statfs(2)`, and `linux/magic.h` for the rest.
    const VIEWS: &[u32] = &[
        0x9fa0,      // proc
        0x6265_6572, // sysfs
        0x0027_e0eb, // cgroup
        0x6367_7270, // cgroup2
        0x1cd1,      // devpts
        0x6462_6720, // debugfs
        0x7472_6163, // tracefs
        0x7363_6673, // securityfs
        0xcafe_4a11, // bpf
        0x6165_676c, // pstore
        0x1980_0202, // mqueue
        0xde5e_81e4, // efivarfs
        0x6265_6570, // configfs
        0x0187,      // autofs
        0x4249_4e4d, // binfmt_misc
        0x6e73_6673, // nsfs
        0x958458f6,  // hugetlbfs
        0x6969,      // nfs
        0xff53_4d42, // cifs
        0xfe53_4d42, // smb2
        0x00c3_6400, // ceph
        0x6573_5546, // fuse
        0x0102_1997, // 9p
    ];
    // The kernel's numbers are 32 bits wide, whatever type holds them.
    fstatfs(fd).is_ok_and(|found| VIEWS.contains(&(found.f_type as u32)))
}

pub(crate) fn kind_of(stat: &Stat) -> Option<Kind> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => None,
        FileType::Directory => Some(Kind::Directory),
        FileType::Fifo => Some(Kind::Fifo),
        FileType::Socket => Some(Kind::Socket),
        FileType::BlockDevice | FileType::CharacterDevice => Some(Kind::Device),
        _ => Some(Kind::Other),
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(Kind::Directory) => f.write_str("it is a directory"),
            Self::Kind(Kind::Fifo) => f.write_str("it is a pipe"),
            Self::Kind(Kind::Socket) => f.write_str("it is a socket"),
            Self::Kind(Kind::Device) => f.write_str("it is a device"),
            Self::Kind(Kind::Other) => f.write_str("it is no file"),
            Self::TooLarge { bytes_max } => write!(f, "it has more than {bytes_max} bytes"),
            Self::Changing => write!(f, "it changed during each of {ATTEMPTS} readings"),
            Self::Circle => f.write_str("its links lead in a circle"),
            Self::Refused(error) => io::Error::from(*error).fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;
    use std::os::fd::AsFd;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, Instant};

    use super::*;

    type Found = Result<Option<Vec<u8>>, Reason>;

    struct Root {
        dir: tempfile::TempDir,
        fd: OwnedFd,
    }

    impl Root {
        fn new() -> Self {
            Self::at(tempfile::tempdir().expect("a directory"))
        }

        fn in_memory() -> Self {
            Self::at(tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("it"))
        }

        fn at(dir: tempfile::TempDir) -> Self {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let fd = open(dir.path(), flags, Mode::empty()).expect("opened");
            Self { dir, fd }
        }

        fn read(&self, path: &str) -> Found {
            read(self.fd.as_fd(), Path::new(path), 1000)
        }
    }

    fn content(text: &str) -> Found {
        Ok(Some(text.as_bytes().to_vec()))
    }

    #[test]
    fn missing_unreadable_and_empty_are_three() {
        let root = Root::new();
        let dir = root.dir.path();
        fs::write(dir.join("empty"), "").expect("written");
        fs::create_dir(dir.join("dir")).expect("made");
        symlink("nowhere", dir.join("dangling")).expect("linked");
        symlink("circle", dir.join("circle")).expect("linked");
        assert_eq!(root.read("/missing"), Ok(None));
        assert_eq!(root.read("/empty/below"), Ok(None));
        assert_eq!(root.read("/dangling"), Ok(None));
        assert_eq!(root.read("/empty"), content(""));
        assert_eq!(root.read("/dir"), Err(Reason::Kind(Kind::Directory)));
        assert_eq!(root.read("/"), Err(Reason::Kind(Kind::Directory)));
        assert_eq!(root.read("/circle"), Err(Reason::Circle));
    }

    #[test]
    fn no_link_leads_out() {
        let root = Root::new();
        let dir = root.dir.path();
        fs::create_dir(dir.join("etc")).expect("made");
        fs::write(dir.join("etc/hostname"), "inside\n").expect("written");
        for (name, target) in [
            ("absolute", "/etc/hostname"),
            ("climbing", "../../../../../../etc/hostname"),
            ("plain", "etc/hostname"),
        ] {
            symlink(target, dir.join(name)).expect("linked");
            assert_eq!(root.read(name), content("inside\n"), "{name}");
        }
        symlink("/proc/self/root/etc/hostname", dir.join("magic")).expect("linked");
        assert_eq!(root.read("/magic"), Ok(None), "there is no /proc in the root");
    }

    #[test]
    fn nothing_is_waited_for_and_nobody_woken() {
        let root = Root::new();
        let pipe = root.dir.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, Mode::RWXU).expect("made");
        let _socket =
            std::os::unix::net::UnixListener::bind(root.dir.path().join("socket")).expect("bound");
        let began = Instant::now();
        assert_eq!(root.read("/pipe"), Err(Reason::Kind(Kind::Fifo)));
        assert_eq!(root.read("/socket"), Err(Reason::Kind(Kind::Socket)));
        assert!(began.elapsed() < Duration::from_secs(5));
        let flags = OFlags::WRONLY | OFlags::NONBLOCK;
        let writer = open(&pipe, flags, Mode::empty());
        assert_eq!(writer.err(), Some(Errno::NXIO), "nobody ever opened its other end");
    }

    #[test]
    fn no_more_than_the_limit_is_read() {
        let root = Root::new();
        fs::write(root.dir.path().join("fits"), [b'x'; 1000]).expect("written");
        fs::File::create(root.dir.path().join("huge"))
            .and_then(|file| file.set_len(1 << 40))
            .expect("a hole");
        assert_eq!(root.read("/fits"), Ok(Some(vec![b'x'; 1000])));
        let too_large = Err(Reason::TooLarge { bytes_max: 1000 });
        assert_eq!(root.read("/huge"), too_large);
    }

    #[test]
    fn the_kernels_own_files_are_read() {
        let root = open("/", OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).expect("opened");
        let said = read(root.as_fd(), Path::new("/proc/sys/kernel/ostype"), BYTES_MAX);
        assert_eq!(said, content("Linux\n"));
        let long = read(root.as_fd(), Path::new("/proc/self/mounts"), 10);
        assert_eq!(long, Err(Reason::TooLarge { bytes_max: 10 }));
    }

    #[test]
    fn any_name_is_read() {
        let root = Root::new();
        for name in [&b"new\nline"[..], b"\xff\xfe", b" ", b"-rf", &[b'n'; 255]] {
            let name = OsStr::from_bytes(name);
            fs::write(root.dir.path().join(name), "there").expect("written");
            assert_eq!(read(root.fd.as_fd(), Path::new(name), 10), content("there"), "{name:?}");
        }
        let long = "n/".repeat(3000);
        assert_eq!(
            read(root.fd.as_fd(), Path::new(&long), 10),
            Err(Reason::Refused(Errno::NAMETOOLONG))
        );
    }

    /// Half of one version and half of another is what nobody ever wrote.
    #[test]
    fn a_reading_is_of_one_moment() {
        // In memory: a disk makes whoever rewrites a file wait for it.
        let root = Root::in_memory();
        let path = root.dir.path().join("busy");
        let version = |letter: u8| vec![letter; 900];
        fs::write(&path, version(b'a')).expect("written");
        let (stop, rest) = (AtomicBool::new(false), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let _stop = Set(&stop);
            scope.spawn(|| {
                for letter in (b'a'..=b'z').cycle() {
                    while rest.load(Ordering::Relaxed) && !stop.load(Ordering::Relaxed) {
                        std::thread::yield_now();
                    }
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    fs::write(&path, version(letter)).expect("written");
                }
            });
            let is_whole = || match root.read("/busy") {
                Ok(Some(bytes)) if bytes.len() == 900 => {
                    assert!(bytes.iter().all(|byte| *byte == bytes[0]), "a mixture");
                    true
                }
                // Truncated and not yet written again is a moment too.
                Ok(Some(bytes)) if bytes.is_empty() => false,
                Err(Reason::Changing) => false,
                other => panic!("{other:?}"),
            };
            for _ in 0..20 {
                // How many of these succeed is the scheduler's affair.
                for _ in 0..10 {
                    is_whole();
                }
                rest.store(true, Ordering::Relaxed);
                let deadline = Instant::now() + Duration::from_secs(30);
                while !is_whole() {
                    assert!(Instant::now() < deadline, "what is at rest is read");
                }
                rest.store(false, Ordering::Relaxed);
            }
        });
    }

    /// Set when this goes, also if a test fails.
    struct Set<'a>(&'a AtomicBool);

    impl Drop for Set<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_reason_is_a_sentence() {
        let reason = Reason::Refused(Errno::ACCESS).to_string();
        assert!(reason.starts_with("Permission denied"), "{reason}");
        let reason = Reason::TooLarge { bytes_max: 7 }.to_string();
        assert_eq!(reason, "it has more than 7 bytes");
    }
}
