//! What a place has that a configuration can name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rustix::fs::{Dir, Mode, OFlags, openat, statvfs};
use serde::{Deserialize, Serialize};

use super::SETTINGS;
use super::certificates;
use super::files::FILES;
use crate::collect::Place;
use crate::file::{self, locate};

/// Interfaces, mounts and certificates named at most; more are not set up by hand.
pub(super) const NAMED_MAX: usize = 32;

/// Filesystems that hold a machine's own files.
const LOCAL: [&str; 9] =
    ["ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "vfat", "zfs", "bcachefs"];

/// What was found at a place. What is not known here is left alone, whoever found it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Survey {
    /// Whether a kernel runs there.
    pub machine: bool,
    /// Network interfaces of its own.
    pub interfaces: Vec<String>,
    /// Which of the files that have a meaning there are.
    pub files: BTreeSet<String>,
    /// Those among them that a program writes.
    pub managed: BTreeSet<String>,
    /// Where local filesystems are mounted.
    pub mounts: Vec<String>,
    /// Those among them that can become full: what is read-only may be.
    pub filling: BTreeSet<String>,
    /// Those among these that can hold so many files only.
    pub counting: BTreeSet<String>,
    /// Files with a certificate of the machine's own.
    pub certificates: Vec<String>,
    /// Which of the kernel settings that matter there are.
    pub settings: BTreeSet<String>,
}

impl Survey {
    /// Looks at a place. What cannot be seen is not there.
    pub fn of(place: &Place) -> Self {
        let exists =
            |path: &str| locate(place.root(), Path::new(path)).is_ok_and(|found| found.is_some());
        let found = FILES.iter().map(|entry| entry.path).filter(|path| exists(path));
        let files: BTreeSet<String> = found.map(str::to_owned).collect();
        let managed = files.iter().filter(|path| is_managed(place, path)).cloned().collect();
        let certificates = certificates::of(place);
        let mut survey = Self { files, managed, certificates, ..Self::default() };
        if place.is_machine() {
            survey.machine = true;
            survey.interfaces = interfaces(place);
            let mounts = mounts(place);
            let writable = mounts.iter().filter(|(_, writable)| **writable);
            survey.filling = writable.map(|(point, _)| point.clone()).collect();
            survey.counting =
                survey.filling.iter().filter(|point| counts_files(point)).cloned().collect();
            survey.mounts = mounts.into_keys().collect();
            let setting = |name: &str| format!("/proc/sys/{}", name.replace('.', "/"));
            let names = SETTINGS.iter().map(|(name, _)| *name);
            let there = names.filter(|name| exists(&setting(name)));
            survey.settings = there.map(str::to_owned).collect();
        }
        survey
    }
}

/// A file that leads to where nothing outlives a boot is written by a program.
fn is_managed(place: &Place, path: &str) -> bool {
    let Ok(Some(found)) = locate(place.root(), Path::new(path)) else { return false };
    let real = crate::collect::real_path(place, &found);
    real.is_some_and(|real| real.starts_with("/run") || real.starts_with("/var/run"))
}

/// Interfaces with hardware behind them, also if a hypervisor made it.
fn interfaces(place: &Place) -> Vec<String> {
    const LINKS: &str = "/sys/class/net";
    let Ok(Some(found)) = locate(place.root(), Path::new(LINKS)) else { return Vec::new() };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(opened) = openat(&found, ".", flags, Mode::empty()) else { return Vec::new() };
    let Ok(listing) = Dir::read_from(&opened) else { return Vec::new() };
    let real = |name: &String| {
        let path = format!("{LINKS}/{name}/device");
        locate(place.root(), Path::new(&path)).is_ok_and(|device| device.is_some())
    };
    let names = listing.filter_map(|entry| Some(entry.ok()?.file_name().to_str().ok()?.to_owned()));
    let mut names: Vec<String> =
        names.filter(|name| !name.starts_with('.')).filter(real).take(NAMED_MAX).collect();
    names.sort_unstable();
    names
}

/// Whether a local filesystem says how many files it can hold.
fn counts_files(point: &str) -> bool {
    statvfs(point).is_ok_and(|found| found.f_files > 0)
}

/// Mount points of local filesystems, and whether each can be written to; those of containers are
/// not the machine's.
fn mounts(place: &Place) -> BTreeMap<String, bool> {
    let path = Path::new("/proc/self/mountinfo");
    let Ok(Some(table)) = file::read(place.root(), path, file::BYTES_MAX) else {
        return BTreeMap::new();
    };
    listed(&String::from_utf8_lossy(&table))
}

/// Of the kernel's table.
fn listed(table: &str) -> BTreeMap<String, bool> {
    let mount = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let mut words = before.split(' ').skip(3);
        let (root, point, options) = (words.next()?, words.next()?, words.next()?);
        let mut after = after.split(' ');
        let local = after.next().is_some_and(|kind| LOCAL.contains(&kind));
        let of_filesystem = after.nth(1)?;
        let is_ro = |options: &str| options.split(',').any(|option| option == "ro");
        let writable = !is_ro(options) && !is_ro(of_filesystem);
        // A part of a filesystem was mounted for some program; a name with an escape in it too.
        let whole = root == "/" || root.starts_with("/@");
        let own = !point.starts_with("/var/lib/") && !point.starts_with("/run/");
        let plain = !point.contains('\\') && !point.chars().any(char::is_control);
        (local && whole && own && plain).then(|| (point.to_owned(), writable))
    };
    // Of several at one point the last is on top.
    let points: BTreeMap<String, bool> = table.lines().filter_map(mount).collect();
    points.into_iter().take(NAMED_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(table: &str, expected: &[(&str, bool)]) {
        let found = listed(table);
        let found: Vec<_> =
            found.iter().map(|(point, writable)| (point.as_str(), *writable)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn only_a_machines_own_filesystems_are_named_and_only_what_is_written_fills() {
        check(
            "22 1 8:1 / / rw,noatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro\n\
             23 22 8:2 / /usr ro,relatime shared:2 - ext4 /dev/sda2 rw\n\
             24 22 8:3 / /media/old rw shared:3 - ext4 /dev/sda3 ro\n\
             25 22 7:0 / /snap/core/1 ro,nodev - squashfs /dev/loop0 ro\n\
             26 22 8:4 /deep /srv rw - ext4 /dev/sda4 rw\n\
             27 22 8:5 / /var/lib/docker/x rw - ext4 /dev/sda5 rw\n\
             28 22 0:40 / /mnt rw - nfs4 host:/x rw\n\
             29 22 8:6 / /a\\040b rw - ext4 /dev/sda6 rw\n\
             broken\n",
            &[("/", true), ("/media/old", false), ("/usr", false)],
        );
    }
}
