//! What a place has that a configuration can name.

use std::collections::BTreeSet;
use std::path::Path;

use rustix::fs::{Dir, Mode, OFlags, openat};

use super::SETTINGS;
use super::files::FILES;
use crate::collect::Place;
use crate::file::{self, locate};

/// Interfaces and mounts named at most; more are not set up by hand.
const NAMED_MAX: usize = 32;

/// Filesystems that hold a machine's own files.
const LOCAL: [&str; 9] =
    ["ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "vfat", "zfs", "bcachefs"];

/// What was found at a place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Survey {
    /// Whether a kernel runs there.
    pub machine: bool,
    /// Network interfaces of its own.
    pub interfaces: Vec<String>,
    /// Which of the files that have a meaning there are.
    pub files: BTreeSet<&'static str>,
    /// Those among them that a program writes.
    pub managed: BTreeSet<&'static str>,
    /// Where local filesystems are mounted.
    pub mounts: Vec<String>,
    /// Which of the kernel settings that matter there are.
    pub settings: BTreeSet<&'static str>,
}

impl Survey {
    /// Looks at a place. What cannot be seen is not there.
    pub fn of(place: &Place) -> Self {
        let exists =
            |path: &str| locate(place.root(), Path::new(path)).is_ok_and(|found| found.is_some());
        let files: BTreeSet<_> =
            FILES.iter().map(|entry| entry.path).filter(|path| exists(path)).collect();
        let managed = files.iter().copied().filter(|path| is_managed(place, path)).collect();
        let mut survey = Self { files, managed, ..Self::default() };
        if place.is_machine() {
            survey.machine = true;
            survey.interfaces = interfaces(place);
            survey.mounts = mounts(place);
            let setting = |name: &str| format!("/proc/sys/{}", name.replace('.', "/"));
            let names = SETTINGS.iter().map(|(name, _)| *name);
            survey.settings = names.filter(|name| exists(&setting(name))).collect();
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

/// Mount points of local filesystems, each once; those of containers are not the machine's.
fn mounts(place: &Place) -> Vec<String> {
    let path = Path::new("/proc/self/mountinfo");
    let Ok(Some(table)) = file::read(place.root(), path, file::BYTES_MAX) else {
        return Vec::new();
    };
    let table = String::from_utf8_lossy(&table).into_owned();
    let point = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let mut words = before.split(' ').skip(3);
        let (root, point) = (words.next()?, words.next()?);
        let local = after.split(' ').next().is_some_and(|kind| LOCAL.contains(&kind));
        // A part of a filesystem was mounted for some program; a name with an escape in it too.
        let whole = root == "/" || root.starts_with("/@");
        let own = !point.starts_with("/var/lib/") && !point.starts_with("/run/");
        let plain = !point.contains('\\') && !point.chars().any(char::is_control);
        (local && whole && own && plain).then(|| point.to_owned())
    };
    let points: BTreeSet<String> = table.lines().filter_map(point).collect();
    points.into_iter().take(NAMED_MAX).collect()
}
