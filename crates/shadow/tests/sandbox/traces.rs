//! What a provider could leave on a machine, found by its names.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command as Program;
use std::time::Duration;

use crate::support::until;

/// The traces of the provider in one directory.
pub(crate) struct Traces {
    dir: PathBuf,
    owner: String,
}

impl Traces {
    pub(crate) fn of(dir: &Path) -> Self {
        let dir = std::fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
        Self { owner: owner(&dir), dir }
    }

    /// Nothing at all is there any more, or soon will be: the kernel takes network namespaces
    /// down in its own time.
    #[track_caller]
    pub(crate) fn check_gone(&self) {
        let patience = Duration::from_secs(5);
        until("its interfaces are gone", patience, || self.interfaces().is_empty());
        let table = format!("fence_umb{}", self.owner);
        assert!(!tables().contains(&table), "{}", tables());
        for group in group_dirs(&self.owner) {
            assert!(!group.exists(), "{} is left", group.display());
        }
        self.check_no_mounts();
        let left: Vec<_> = std::fs::read_dir(&self.dir)
            .expect("listed")
            .flatten()
            .map(|entry| entry.file_name())
            .filter(|name| name != "lock")
            .collect();
        assert!(left.is_empty(), "{left:?} are left in the directory");
    }

    #[track_caller]
    pub(crate) fn check_no_mounts(&self) {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("own mounts");
        let dir = self.dir.to_string_lossy().into_owned();
        let left: Vec<_> = mounts.lines().filter(|line| line.contains(&dir)).collect();
        assert!(left.is_empty(), "{left:?}");
    }

    /// Its shadows' inner groups whose names begin with `prefix`.
    pub(crate) fn groups_below(&self, prefix: &str) -> Vec<PathBuf> {
        let list = |dir: &Path| std::fs::read_dir(dir).into_iter().flatten().flatten();
        group_dirs(&self.owner)
            .iter()
            .flat_map(|owned| list(owned))
            .flat_map(|shadow| list(&shadow.path()))
            .filter(|group| group.file_name().to_string_lossy().starts_with(prefix))
            .filter(|group| group.path().is_dir())
            .map(|group| group.path())
            .collect()
    }

    /// Its bridge and the ports of it.
    pub(crate) fn interfaces(&self) -> Vec<String> {
        let prefix = format!("umb{}", self.owner);
        std::fs::read_dir("/sys/class/net")
            .expect("interfaces")
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| name.starts_with(&prefix))
            .collect()
    }

    /// Its ports only.
    pub(crate) fn ports(&self) -> Vec<String> {
        self.interfaces().into_iter().filter(|name| name.contains('-')).collect()
    }
}

pub(crate) fn tables() -> String {
    let output = Program::new("nft").args(["list", "tables"]).output().expect("nft runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The provider's groups in every hierarchy.
pub(crate) fn group_dirs(owner: &str) -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("own mounts");
    mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .filter(|fields| fields[2].starts_with("cgroup"))
        .map(|fields| Path::new(fields[1]).join("umbra").join(owner))
        .collect()
}

/// A process and what it started, with the start times that tell them from later ones.
pub(crate) fn family(pid: u32) -> Vec<(u32, String)> {
    let all: Vec<(u32, u32, String)> = std::fs::read_dir("/proc")
        .expect("processes")
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| stat(pid).map(|(parent, started)| (pid, parent, started)))
        .collect();
    let mut family: Vec<(u32, String)> = Vec::new();
    let mut wanted = vec![pid];
    while let Some(next) = wanted.pop() {
        for (pid, parent, started) in &all {
            if *pid == next {
                family.push((*pid, started.clone()));
            }
            if *parent == next {
                wanted.push(*pid);
            }
        }
    }
    family
}

pub(crate) fn lives((pid, started): &(u32, String)) -> bool {
    stat(*pid).is_some_and(|(_, now)| now == *started)
}

/// Parent and start time of a process that is no zombie.
fn stat(pid: u32) -> Option<(u32, String)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    if fields[0] == "Z" { None } else { Some((fields[1].parse().ok()?, fields[19].to_owned())) }
}

/// How the provider of a directory marks what is its own: kept here a second time, because a
/// change of it would hide the remains of the version before.
pub(crate) fn owner(dir: &Path) -> String {
    let dir = std::fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    let hash = dir.as_os_str().as_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{:06x}", hash & 0xff_ffff)
}
