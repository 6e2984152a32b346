//! Whether a stopped daemon left anything on the machine. While it runs, its processes, control
//! groups and bridges are taken from the kernel; afterwards none of them may be there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process;
use crate::stop::Stop;

/// The directory of control groups that sandboxes are made in.
const GROUPS: &str = "umbra";
/// Names of bridges begin with this; their owner's name follows.
const BRIDGE: &str = "umb";

/// What belongs to a running daemon.
#[derive(Debug, Default)]
pub(crate) struct Belongings {
    /// A number alone may become another process's.
    processes: BTreeSet<Process>,
    owners: BTreeSet<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Process {
    pid: u32,
    started: u64,
}

impl Belongings {
    /// Looks at the daemon `pid`. An error if it has no shadow's process: then finding nothing
    /// afterwards would prove nothing.
    pub(crate) fn of(pid: u32) -> Result<Self, Stop> {
        let mut found = Self::default();
        for process in descendants(&running(), pid) {
            found.processes.insert(process);
            let groups = fs::read_to_string(format!("/proc/{}/cgroup", process.pid));
            found.owners.extend(groups.ok().as_deref().and_then(owner_in));
        }
        if found.owners.is_empty() {
            return Err(Stop::Failed(
                "the daemon has no shadow, although one must be kept".to_owned(),
            ));
        }
        Ok(found)
    }

    /// What of it is still there, in words.
    pub(crate) fn remaining(&self, dir: &Path) -> Vec<String> {
        let mut left = Vec::new();
        let running = running();
        for process in &self.processes {
            if running.contains_key(process) {
                left.push(format!("process {}", process.pid));
            }
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        left.extend(mounts_below(&mounts, dir).map(|at| format!("mount {at}")));
        let tables = process::answer(Command::new("nft").args(["list", "tables"]));
        let tables = tables.map(|(_, text)| String::from_utf8_lossy(&text).into_owned());
        for owner in &self.owners {
            let bridge = format!("{BRIDGE}{owner}");
            if Path::new("/sys/class/net").join(&bridge).exists() {
                left.push(format!("network interface {bridge}"));
            }
            if tables.as_ref().is_ok_and(|tables| tables.contains(&bridge)) {
                left.push(format!("nftables table of {bridge}"));
            }
            left.extend(groups_of(owner).map(|dir| format!("control group {}", dir.display())));
        }
        for entry in fs::read_dir(dir.join("shadows")).into_iter().flatten().flatten() {
            if entry.file_name() != "lock" {
                left.push(format!("directory {}", entry.path().display()));
            }
        }
        left
    }
}

/// Every process that is no zombie, with its parent.
fn running() -> BTreeMap<Process, u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let stats = entries.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        parse_stat(pid, &fs::read_to_string(entry.path().join("stat")).ok()?)
    });
    stats.collect()
}

/// A line of /proc/PID/stat: the name in it may hold anything, so fields count from its end.
fn parse_stat(pid: u32, line: &str) -> Option<(Process, u32)> {
    let (_, rest) = line.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let (phase, parent, started) = (fields.first()?, fields.get(1)?, fields.get(19)?);
    if *phase == "Z" {
        return None;
    }
    Some((Process { pid, started: started.parse().ok()? }, parent.parse().ok()?))
}

/// `root` and all it started, directly or not.
fn descendants(running: &BTreeMap<Process, u32>, root: u32) -> Vec<Process> {
    let mut found: Vec<Process> =
        running.keys().filter(|process| process.pid == root).copied().collect();
    let mut next = 0;
    while let Some(parent) = found.get(next).map(|process| process.pid) {
        let children = running.iter().filter(|(_, of)| **of == parent);
        found.extend(children.map(|(process, _)| *process));
        next += 1;
    }
    found
}

/// The owner of a sandbox's control group, from /proc/PID/cgroup: `.../umbra/OWNER/NAME`.
fn owner_in(groups: &str) -> Option<String> {
    groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').nth(2)?.split('/').skip_while(|part| *part != GROUPS);
        parts.next()?;
        let owner = parts.next().filter(|owner| !owner.is_empty())?;
        parts.next().map(|_| owner.to_owned())
    })
}

/// Control groups below the owner's, in every hierarchy.
fn groups_of(owner: &str) -> impl Iterator<Item = PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    let dirs = hierarchies.chain([root.to_owned()]).map(|dir| dir.join(GROUPS)).map({
        let owner = owner.to_owned();
        move |dir| dir.join(&owner)
    });
    let below = dirs.flat_map(|dir| fs::read_dir(dir).into_iter().flatten().flatten());
    below.map(|entry| entry.path()).filter(|path| path.is_dir())
}

/// Mount points at or below `dir` in the text of a mountinfo.
fn mounts_below<'a>(mounts: &'a str, dir: &'a Path) -> impl Iterator<Item = &'a str> {
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    points.filter(move |point| Path::new(point).starts_with(dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processs_name_cannot_confuse_its_stat() {
        let tail = "0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 777 0 0";
        let line = format!("12 (a) Z 1 (b)) S 5 {tail}");
        let process = Process { pid: 12, started: 777 };
        assert_eq!(parse_stat(12, &line), Some((process, 5)));
        assert_eq!(parse_stat(12, &format!("12 (a) Z 5 {tail}")), None);
        assert_eq!(parse_stat(12, "12 (a"), None);
    }

    #[test]
    fn this_test_is_found_among_its_starters_descendants() {
        let running = running();
        let own = std::process::id();
        let parent =
            running.iter().find(|(it, _)| it.pid == own).map(|(_, parent)| *parent).unwrap();
        assert!(descendants(&running, parent).iter().any(|it| it.pid == own));
    }

    #[test]
    fn a_sandboxs_owner_is_in_its_group() {
        let groups = "4:memory:/umbra/ab12cd/web-1-1\n0::/";
        assert_eq!(owner_in(groups).as_deref(), Some("ab12cd"));
        assert_eq!(owner_in("0::/user.slice/umbra/x").as_deref(), None);
        assert_eq!(owner_in("0::/\n").as_deref(), None);
    }

    #[test]
    fn mounts_are_compared_by_whole_names() {
        let mounts =
            "1 0 0:1 / / rw\n2 1 0:2 / /d/demo rw\n3 1 0:3 / /d/demo/x rw\n4 1 0:4 / /d/demos rw";
        let found: Vec<&str> = mounts_below(mounts, Path::new("/d/demo")).collect();
        assert_eq!(found, ["/d/demo", "/d/demo/x"]);
    }
}
