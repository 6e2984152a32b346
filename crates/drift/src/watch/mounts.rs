//! The mount table, and what of it changed.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// A table larger than this is read as far as that.
const TABLE_MAX: u64 = 16 * 1024 * 1024;

/// Filesystems whose files are views of the kernel: they send no events.
const VIEWS: [&str; 14] = [
    "proc",
    "sysfs",
    "cgroup",
    "cgroup2",
    "debugfs",
    "tracefs",
    "securityfs",
    "bpf",
    "pstore",
    "configfs",
    "efivarfs",
    "mqueue",
    "binfmt_misc",
    "selinuxfs",
];

/// Filesystems that may hang or come alive when they are only asked about.
const REMOTE: [&str; 9] = ["autofs", "nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "afs", "fuse"];

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Its number, unique while it lasts.
    pub id: u64,
    /// Where it is.
    pub point: PathBuf,
    /// The type of its filesystem.
    pub kind: String,
    /// Programs can be executed from it.
    pub executable: bool,
}

impl Mount {
    /// Whether its files are views of the kernel.
    pub fn is_view(&self) -> bool {
        VIEWS.contains(&self.kind.as_str())
    }

    /// Whether another machine or program answers for its files.
    pub fn is_remote(&self) -> bool {
        REMOTE.contains(&self.kind.as_str()) || self.kind.starts_with("fuse.")
    }
}

/// The open table of this process's mounts; the kernel wakes `POLLPRI` when it changes.
#[derive(Debug)]
pub struct Table {
    file: File,
    /// The mounts as last read, in the kernel's order: a later one covers an earlier.
    pub mounts: Vec<Mount>,
}

impl Table {
    /// Open and read it.
    ///
    /// # Errors
    /// Where `/proc` is not mounted.
    pub fn open() -> std::io::Result<Self> {
        let mut table = Self { file: File::open("/proc/self/mountinfo")?, mounts: Vec::new() };
        table.refresh()?;
        Ok(table)
    }

    /// Read it again; the mount points that came or went.
    ///
    /// # Errors
    /// What reading fails with.
    pub fn refresh(&mut self) -> std::io::Result<Vec<PathBuf>> {
        let mut bytes = Vec::new();
        self.file.rewind()?;
        (&self.file).take(TABLE_MAX).read_to_end(&mut bytes)?;
        let before = std::mem::replace(&mut self.mounts, parse(&bytes));
        Ok(difference(&before, &self.mounts))
    }

    /// The mount that `path` lies on.
    pub fn of(&self, path: &Path) -> Option<&Mount> {
        let mut best: Option<&Mount> = None;
        for mount in self.mounts.iter().filter(|mount| path.starts_with(&mount.point)) {
            let deeper = best.is_none_or(|best| mount.point.starts_with(&best.point));
            best = if deeper { Some(mount) } else { best };
        }
        best
    }
}

impl AsFd for Table {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn difference(before: &[Mount], after: &[Mount]) -> Vec<PathBuf> {
    use std::collections::HashSet;
    let ids = |mounts: &[Mount]| mounts.iter().map(|mount| mount.id).collect::<HashSet<_>>();
    let (old, new) = (ids(before), ids(after));
    let went = before.iter().filter(|mount| !new.contains(&mount.id));
    let came = after.iter().filter(|mount| !old.contains(&mount.id));
    let mut points: Vec<_> = went.chain(came).map(|mount| mount.point.clone()).collect();
    points.sort();
    points.dedup();
    points
}

/// The mounts of a `mountinfo` (proc(5)); lines that are none are passed over.
pub fn parse(bytes: &[u8]) -> Vec<Mount> {
    bytes.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut words = line.split(|byte| *byte == b' ');
    let id = std::str::from_utf8(words.next()?).ok()?.parse().ok()?;
    let point = PathBuf::from(OsString::from_vec(unescape(words.nth(3)?)));
    let options = words.next()?;
    let executable = !options.split(|byte| *byte == b',').any(|option| option == b"noexec");
    words.find(|word| *word == b"-")?;
    let kind = String::from_utf8_lossy(words.next()?).into_owned();
    point.is_absolute().then_some(Mount { id, point, kind, executable })
}

/// Space, tab, newline and backslash are written as three octal digits.
fn unescape(word: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let [first, after @ ..] = rest {
        let octal = match after {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] if *first == b'\\' => {
                Some((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'))
            }
            _ => None,
        };
        bytes.push(octal.unwrap_or(*first));
        rest = if octal.is_some() { &after[3..] } else { after };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_of_proc() {
        let text = b"36 35 98:0 / /mnt/a\\040b rw,noexec shared:1 - ext4 /dev/x rw\nbad\n\
            37 35 0:5 / /proc rw - proc proc rw\n";
        let mounts = parse(text);
        assert_eq!(mounts.len(), 2);
        assert_eq!(
            (mounts[0].point.as_path(), mounts[0].executable),
            (Path::new("/mnt/a b"), false)
        );
        assert!(mounts[1].is_view() && mounts[1].executable);
        assert_eq!(difference(&mounts, &mounts[1..]), [PathBuf::from("/mnt/a b")]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(parse(&bytes).iter().all(|mount| mount.point.is_absolute()));
        }
    }
}
