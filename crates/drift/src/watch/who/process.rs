//! What `/proc` says of a living process.

use std::ffi::OsString;
use std::io::Read;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use super::origin::{self, Origin};

/// As much of a command line as is kept.
const ARGV_MAX: u64 = 4096;
/// The kernel's other files are shorter than this.
const FILE_MAX: u64 = 64 * 1024;

/// A process by number, and by descriptor where there is one.
#[derive(Debug)]
pub struct ProcessRef {
    pid: i32,
    fd: Option<OwnedFd>,
}

/// A process as it showed itself.
#[derive(Debug, Default)]
pub(super) struct Shown {
    pub(super) exe: Option<PathBuf>,
    pub(super) argv: Vec<OsString>,
    pub(super) parent: Option<i32>,
    pub(super) uid: Option<u32>,
    pub(super) login_uid: Option<u32>,
    pub(super) origin: Origin,
}

impl ProcessRef {
    /// The process of an event: its number, and the descriptor delivered with it.
    pub fn new(pid: i32, fd: Option<OwnedFd>) -> Self {
        Self { pid, fd }
    }

    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// A number no later process will have (pidfs, Linux 6.9); before, one for all.
    pub(super) fn identity(&self) -> Option<u64> {
        rustix::fs::fstat(self.fd.as_ref()?).ok().map(|status| status.st_ino)
    }

    /// What it shows, unless it has ended meanwhile: its number may be another's then.
    pub(super) fn look(&self) -> Option<Shown> {
        let fd = self.fd.as_ref()?;
        let shown = look(self.pid)?;
        lives(std::os::fd::AsFd::as_fd(fd)).then_some(shown)
    }
}

/// Whether the process has not been reaped.
fn lives(fd: BorrowedFd<'_>) -> bool {
    // SAFETY: signal 0 only asks; the descriptor is open and the information pointer null.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            fd.as_raw_fd(),
            0,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    // EPERM is said of living processes only.
    result == 0 || super::super::fanotify::last_errno() == rustix::io::Errno::PERM
}

/// What the process numbered `pid` shows; `None` if there is none.
pub(super) fn look(pid: i32) -> Option<Shown> {
    let status = String::from_utf8_lossy(&read(pid, "status", FILE_MAX)?).into_owned();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim_start_matches(':').split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    };
    let parent = field("PPid").and_then(|words| words.first()?.parse().ok());
    // Real, effective, saved, filesystem.
    let uid = field("Uid").and_then(|words| words.get(1)?.parse().ok());
    let cgroup = read(pid, "cgroup", FILE_MAX).unwrap_or_default();
    Some(Shown {
        exe: exe(pid),
        argv: argv(pid),
        parent: parent.filter(|parent| *parent > 0),
        uid,
        login_uid: login_uid(pid),
        origin: origin::parse(&String::from_utf8_lossy(&cgroup)),
    })
}

/// The numbers of all processes.
pub(super) fn all() -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The file it runs, by a path that leads there. Whoever makes a mount namespace of its own
/// can have any file at `/usr/bin/dpkg` in it; what is another file here is named as one that
/// lies below the process's own root.
fn exe(pid: i32) -> Option<PathBuf> {
    let link = PathBuf::from(format!("/proc/{pid}/exe"));
    let path = std::fs::read_link(&link).ok()?;
    let bytes = path.as_os_str().as_bytes();
    let kept = bytes.strip_suffix(b" (deleted)").unwrap_or(bytes);
    let path = PathBuf::from(OsString::from_vec(kept.to_vec()));
    if sees_what_we_see(pid) || is_same_file(&link, &path) {
        return Some(path);
    }
    let below = path.strip_prefix("/").unwrap_or(&path);
    Some(PathBuf::from(format!("/proc/{pid}/root")).join(below))
}

fn sees_what_we_see(pid: i32) -> bool {
    static OWN: LazyLock<Option<PathBuf>> = LazyLock::new(|| mounts_of("self"));
    let its = mounts_of(&pid.to_string());
    its.is_some() && its == *OWN
}

/// A process's mount namespace, by the name the kernel gives it.
fn mounts_of(process: &str) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{process}/ns/mnt")).ok()
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    let file = |path: &Path| {
        let status = std::fs::metadata(path).ok()?;
        Some((status.dev(), status.ino()))
    };
    file(one).is_some_and(|one| file(other) == Some(one))
}

fn argv(pid: i32) -> Vec<OsString> {
    let mut bytes = read(pid, "cmdline", ARGV_MAX).unwrap_or_default();
    if bytes.last() == Some(&0) {
        bytes.pop();
    }
    if bytes.is_empty() {
        return Vec::new();
    }
    bytes.split(|byte| *byte == 0).map(|word| OsString::from_vec(word.to_vec())).collect()
}

fn login_uid(pid: i32) -> Option<u32> {
    let bytes = read(pid, "loginuid", 64)?;
    let uid = std::str::from_utf8(&bytes).ok()?.trim().parse().ok()?;
    // -1: nobody ever logged in.
    (uid != u32::MAX).then_some(uid)
}

fn read(pid: i32, name: &str, most: u64) -> Option<Vec<u8>> {
    let file = std::fs::File::open(format!("/proc/{pid}/{name}")).ok()?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// The program of a child that `unshare` put into a mount namespace of its own, where
    /// `mounts` were made.
    fn exe_beyond(mounts: &str) -> Option<PathBuf> {
        let line = format!("{mounts} echo there; exec /bin/sleep 60");
        let mut child = Command::new("unshare")
            .args(["--mount", "sh", "-c", &line])
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare");
        let mut said = [0; 6];
        let mut out = child.stdout.take().expect("standard output");
        out.read_exact(&mut said).expect("its mounts are made");
        let pid = child.id().cast_signed();
        // It says so before it becomes what it is asked for.
        let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
        let found = loop {
            let found = exe(pid);
            let sleeps = found.as_ref().is_some_and(|exe| exe.ends_with("sleep"));
            if sleeps || std::time::Instant::now() > until {
                break found.filter(|_| sleeps);
            }
            std::thread::yield_now();
        };
        child.kill().expect("it runs");
        child.wait().expect("it ends");
        found
    }

    #[test]
    fn a_file_of_another_mount_namespace_is_none_of_ours() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: mount namespaces need root");
            return;
        }
        let real = std::fs::canonicalize("/bin/sleep").expect("sleep");
        assert_eq!(exe_beyond(""), Some(real.clone()), "the same file in both");
        // A copy of it at the same path, which we do not see.
        let mounts = format!(
            "mount -t tmpfs none /mnt; cp {0} /mnt/sleep; mount --bind /mnt/sleep {0};",
            real.display()
        );
        let found = exe_beyond(&mounts).expect("it runs");
        assert!(found.starts_with("/proc"), "{}", found.display());
    }
}
