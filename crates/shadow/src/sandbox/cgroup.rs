//! A shadow's control groups, on whatever this machine has.
//!
//! Freezing and killing need only the bare version 2 hierarchy. Limits use version 2
//! controllers where they are delegated to us, version 1 hierarchies where those exist, and are
//! reported as not enforced elsewhere.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::provider::{EnforcedLimits, Limits};

/// Our part of every hierarchy.
const ROOT: &str = "umbra";

/// The controllers by which shadows are limited.
const LIMITING: [&str; 3] = ["memory", "cpu", "pids"];

/// Period over which processor time is measured out.
const CPU_PERIOD_US: u64 = 100_000;

/// Where this machine's hierarchies are mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchies {
    /// Version 2, with or without controllers.
    v2: Option<PathBuf>,
    /// Controllers that version 2 gives us.
    v2_controllers: Vec<String>,
    /// Version 1, by controller.
    v1: Vec<(String, PathBuf)>,
}

/// The groups of one shadow. Dropping it kills what is in them and removes them.
#[derive(Debug)]
pub(crate) struct Group {
    v2: Option<PathBuf>,
    v1: Vec<(String, PathBuf)>,
}

impl Hierarchies {
    /// Looks at this machine.
    pub(crate) fn probe() -> Self {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let mut found = Self::parse(&mounts);
        if let Some(v2) = &found.v2 {
            let listed = fs::read_to_string(v2.join("cgroup.controllers")).unwrap_or_default();
            found.v2_controllers = listed.split_whitespace().map(str::to_owned).collect();
        }
        found
    }

    fn parse(mounts: &str) -> Self {
        let mut found = Self { v2: None, v2_controllers: Vec::new(), v1: Vec::new() };
        for line in mounts.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let [_, point, kind, options, ..] = fields[..] else { continue };
            match kind {
                "cgroup2" if found.v2.is_none() => found.v2 = Some(PathBuf::from(point)),
                "cgroup" => {
                    for controller in ["memory", "cpu", "pids", "freezer"] {
                        if options.split(',').any(|option| option == controller) {
                            found.v1.push((controller.to_owned(), PathBuf::from(point)));
                        }
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// Which limits hold here.
    pub(crate) fn enforced(&self) -> EnforcedLimits {
        let has = |controller: &str| {
            self.v2_controllers.iter().any(|c| c == controller)
                || self.v1.iter().any(|(c, _)| c == controller)
        };
        EnforcedLimits { memory: has("memory"), cpu: has("cpu"), pids: has("pids") }
    }

    /// The version of the hierarchy that limits by this controller.
    pub(crate) fn version_of(&self, controller: &str) -> Option<u8> {
        if self.v1.iter().any(|(c, _)| c == controller) {
            Some(1)
        } else {
            self.v2_controllers.iter().any(|c| c == controller).then_some(2)
        }
    }

    /// Whether an image's own systemd can have groups of its own.
    pub(crate) fn serve_systems(&self) -> bool {
        self.v2.is_some()
    }

    /// Whether a group can be stopped where it stands.
    pub(crate) fn can_freeze(&self) -> bool {
        self.v2.is_some() || self.v1.iter().any(|(controller, _)| controller == "freezer")
    }

    /// Makes the groups `umbra/OWNER/NAME` with these limits; without any they are ready for
    /// all, set later.
    pub(crate) fn make(
        &self,
        owner: &str,
        name: &str,
        limits: Option<&Limits>,
    ) -> io::Result<Group> {
        let below = |root: &Path| root.join(ROOT).join(owner).join(name);
        let mut group = Group { v2: None, v1: Vec::new() };
        if let Some(root) = &self.v2 {
            self.delegate(root, owner)?;
            group.v2 = Some(below(root));
        }
        for (controller, root) in self.v1.iter().filter(|(c, _)| self.is_needed(c, limits)) {
            group.v1.push((controller.clone(), below(root)));
        }
        // From here on dropping the group removes what was made of it.
        group.dirs().try_for_each(fs::create_dir_all)?;
        if let Some(limits) = limits {
            group.limit(limits)?;
        }
        Ok(group)
    }

    /// Each group takes time to make and to remove: only those that do something are made.
    fn is_needed(&self, v1_controller: &str, limits: Option<&Limits>) -> bool {
        let Some(limits) = limits else {
            return v1_controller != "freezer" || self.v2.is_none();
        };
        match v1_controller {
            "memory" => limits.memory_bytes.is_some(),
            "cpu" => limits.cpu_millis.is_some(),
            "pids" => limits.pids.is_some(),
            _ => self.v2.is_none(),
        }
    }

    /// Passes our controllers down to the shadows' groups.
    fn delegate(&self, root: &Path, owner: &str) -> io::Result<()> {
        let own = root.join(ROOT).join(owner);
        if own.exists() {
            return Ok(());
        }
        fs::create_dir_all(&own)?;
        let wanted: Vec<String> = self.v2_limiting().map(|c| format!("+{c}")).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        for dir in [root.to_owned(), root.join(ROOT), own] {
            fs::write(dir.join("cgroup.subtree_control"), wanted.join(" "))?;
        }
        Ok(())
    }

    fn v2_limiting(&self) -> impl Iterator<Item = &'static str> {
        let known = |c: &&str| self.v2_controllers.iter().any(|known| known == *c);
        LIMITING.into_iter().filter(known)
    }

    /// Asks for the version 2 controllers, and forgets those that are not given: a container's
    /// top group, with processes of its own, may hand down none.
    pub(crate) fn claim(mut self) -> Self {
        let Some(root) = &self.v2 else { return self };
        let control = root.join("cgroup.subtree_control");
        let is_given = |c: &str| {
            let given = fs::read_to_string(&control).unwrap_or_default();
            given.split_whitespace().any(|given| given == c)
                || fs::write(&control, format!("+{c}")).is_ok()
        };
        let given: Vec<_> = self.v2_limiting().filter(|c| is_given(c)).map(str::to_owned).collect();
        self.v2_controllers = given;
        self
    }

    /// Kills and removes the groups of `owner` except those of `living`; with none living also
    /// what holds them.
    pub(crate) fn remove_others(&self, owner: &str, living: &BTreeSet<String>) -> io::Result<()> {
        let roots = self.v2.iter().chain(self.v1.iter().map(|(_, root)| root));
        for root in roots {
            let dir = root.join(ROOT).join(owner);
            let entries = match fs::read_dir(&dir) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            for entry in entries {
                let entry = entry?;
                let lives = living.contains(&*entry.file_name().to_string_lossy());
                if !lives && entry.file_type()?.is_dir() {
                    end_group(&entry.path())?;
                }
            }
            if living.is_empty() {
                remove_empty(&dir)?;
                // Others may have groups beside ours.
                let _ = fs::remove_dir(root.join(ROOT));
            }
        }
        Ok(())
    }
}

impl Group {
    /// The files a process writes itself into to join.
    pub(crate) fn procs(&self) -> Vec<PathBuf> {
        self.dirs().map(|dir| dir.join("cgroup.procs")).collect()
    }

    /// Its directory in the version 2 hierarchy.
    pub(crate) fn v2(&self) -> Option<PathBuf> {
        self.v2.clone()
    }

    /// Stops every process in the group where it stands, and waits until they have.
    pub(crate) fn freeze(&self) -> io::Result<()> {
        self.set_frozen(true)
    }

    /// Lets them go on.
    pub(crate) fn thaw(&self) -> io::Result<()> {
        self.set_frozen(false)
    }

    fn set_frozen(&self, frozen: bool) -> io::Result<()> {
        if let Some(v2) = &self.v2 {
            fs::write(v2.join("cgroup.freeze"), if frozen { "1" } else { "0" })?;
            let wanted = if frozen { "frozen 1" } else { "frozen 0" };
            return wait_for(&v2.join("cgroup.events"), wanted);
        }
        let Some((_, dir)) = self.v1.iter().find(|(controller, _)| controller == "freezer") else {
            return Err(io::Error::from(rustix::io::Errno::OPNOTSUPP));
        };
        let wanted = if frozen { "FROZEN" } else { "THAWED" };
        fs::write(dir.join("freezer.state"), wanted)?;
        wait_for(&dir.join("freezer.state"), wanted)
    }

    /// Waits until files in memory take at most so many bytes, or for as long as the kernel can
    /// reasonably take to free them.
    pub(crate) fn await_memory(&self, bytes: u64) {
        let started = Instant::now();
        while self.files_in_memory().is_some_and(|used| used > bytes) {
            if started.elapsed() > FREEING_TIME_MAX {
                return;
            }
            // Nothing announces that memory was freed.
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn files_in_memory(&self) -> Option<u64> {
        let dir = self.v1_dir("memory").or(self.v2.as_deref())?;
        let stat = fs::read_to_string(dir.join("memory.stat")).ok()?;
        stat.lines().find_map(|line| line.strip_prefix("shmem ")?.trim().parse().ok())
    }

    /// Kills what is in the groups and removes them. Idempotent.
    pub(crate) fn remove(&self) -> io::Result<()> {
        self.dirs().try_for_each(end_group)
    }

    /// Sets limits its hierarchies were made for.
    pub(crate) fn limit(&self, limits: &Limits) -> io::Result<()> {
        if let Some(bytes) = limits.memory_bytes {
            self.set("memory", "memory.max", "memory.limit_in_bytes", &bytes.to_string())?;
        }
        if let Some(pids) = limits.pids {
            self.set("pids", "pids.max", "pids.max", &pids.to_string())?;
        }
        if let Some(millis) = limits.cpu_millis {
            let quota = (u64::from(millis) * CPU_PERIOD_US / 1000).max(1000).to_string();
            if self.v1_dir("cpu").is_some() {
                self.set("cpu", "", "cpu.cfs_period_us", &CPU_PERIOD_US.to_string())?;
            }
            let v2 = format!("{quota} {CPU_PERIOD_US}");
            self.set_either("cpu", ("cpu.max", &v2), ("cpu.cfs_quota_us", &quota))?;
        }
        Ok(())
    }

    fn set(&self, controller: &str, v2: &str, v1: &str, value: &str) -> io::Result<()> {
        self.set_either(controller, (v2, value), (v1, value))
    }

    /// Writes a limit where the controller lives; nowhere is no error, it was reported.
    fn set_either(&self, controller: &str, v2: (&str, &str), v1: (&str, &str)) -> io::Result<()> {
        if let Some(dir) = self.v1_dir(controller) {
            return fs::write(dir.join(v1.0), v1.1);
        }
        match &self.v2 {
            Some(dir) if dir.join(v2.0).exists() => fs::write(dir.join(v2.0), v2.1),
            _ => Ok(()),
        }
    }

    fn v1_dir(&self, controller: &str) -> Option<&Path> {
        self.v1.iter().find(|(c, _)| c == controller).map(|(_, dir)| dir.as_path())
    }

    fn dirs(&self) -> impl Iterator<Item = &Path> {
        self.v2.iter().map(PathBuf::as_path).chain(self.v1.iter().map(|(_, dir)| dir.as_path()))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            tracing::warn!(%error, "could not remove a control group");
        }
    }
}

/// How long killed processes may take to leave a group.
const LEAVING_TIME_MAX: Duration = Duration::from_secs(5);

/// Kills all processes below a group and removes it with the groups inside it.
pub(crate) fn end_group(dir: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    // A frozen process of a version 1 freezer dies only once it is thawed.
    let state = dir.join("freezer.state");
    if state.exists() {
        fs::write(state, "THAWED")?;
    }
    if fs::write(dir.join("cgroup.kill"), "1").is_err() {
        kill_listed(dir)?;
    }
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            end_group(&entry.path())?;
        }
    }
    remove_empty(dir)
}

fn kill_listed(dir: &Path) -> io::Result<()> {
    let listed = fs::read_to_string(dir.join("cgroup.procs"))?;
    for pid in listed.lines().filter_map(|line| line.parse().ok()) {
        if let Some(pid) = rustix::process::Pid::from_raw(pid) {
            // It may have ended meanwhile.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
    Ok(())
}

/// Removes a group once its killed processes have left, which the kernel announces nowhere.
fn remove_empty(dir: &Path) -> io::Result<()> {
    let started = Instant::now();
    loop {
        match fs::remove_dir(dir) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                if started.elapsed() > LEAVING_TIME_MAX {
                    return Err(error);
                }
                std::thread::sleep(Duration::from_micros(500));
            }
            Err(error) => return Err(error),
        }
    }
}

/// How long memory of ended processes may take to be freed.
const FREEING_TIME_MAX: Duration = Duration::from_secs(2);

/// How long a group may take to stop.
const FREEZING_TIME_MAX: Duration = Duration::from_secs(2);

fn wait_for(file: &Path, wanted: &str) -> io::Result<()> {
    let started = Instant::now();
    while !fs::read_to_string(file)?.contains(wanted) {
        if started.elapsed() > FREEZING_TIME_MAX {
            return Err(io::Error::from(rustix::io::Errno::TIMEDOUT));
        }
        std::thread::yield_now();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_found_in_a_mount_table() {
        let mounts = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
                      cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0\n\
                      cgroup /sys/fs/cgroup/cpu cgroup rw,relatime,cpu,cpuacct 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        let found = Hierarchies::parse(mounts);
        assert_eq!(found.v2, Some(PathBuf::from("/sys/fs/cgroup/unified")));
        let enforced = found.enforced();
        assert!(enforced.memory && enforced.cpu && !enforced.pids);
        assert!(found.can_freeze());
    }

    /// A folder in the hierarchy's place: what is written is what a kernel would be told.
    #[test]
    fn version_2_controllers_are_handed_down_and_told_the_limits() {
        let root = tempfile::tempdir().expect("a directory");
        let control = |dir: &str| root.path().join(dir).join("cgroup.subtree_control");
        fs::write(control(""), "cpu io\n").expect("written");
        let controllers = ["cpuset", "cpu", "io", "memory", "pids"].map(str::to_owned).to_vec();
        let v2 = Some(root.path().to_owned());
        let found = Hierarchies { v2, v2_controllers: controllers, v1: Vec::new() }.claim();
        assert!(found.enforced().memory && found.enforced().cpu && found.enforced().pids);
        let group = found.make("owner", "web", None).expect("made");
        for dir in ["umbra", "umbra/owner"] {
            let told = fs::read_to_string(control(dir)).expect("told");
            assert_eq!(told, "+memory +cpu +pids", "{dir}");
        }
        let own = root.path().join("umbra/owner/web");
        let files = [("memory.max", "1024"), ("cpu.max", "50000 100000"), ("pids.max", "7")];
        for (file, _) in files {
            fs::write(own.join(file), "max").expect("written");
        }
        let limits = Limits { memory_bytes: Some(1024), cpu_millis: Some(500), pids: Some(7) };
        group.limit(&limits).expect("limited");
        for (file, limit) in files {
            assert_eq!(fs::read_to_string(own.join(file)).expect("read"), limit, "{file}");
        }
        // Only a kernel's groups vanish with the files in them.
        std::mem::forget(group);
    }

    #[test]
    fn controllers_that_are_not_given_are_reported_as_such() {
        let root = tempfile::tempdir().expect("a directory");
        let v2_controllers = LIMITING.map(str::to_owned).to_vec();
        let refusing = root.path().join("no-such-group");
        let found = Hierarchies { v2: Some(refusing), v2_controllers, v1: Vec::new() }.claim();
        assert_eq!(found.enforced(), EnforcedLimits::default());
    }

    #[test]
    fn a_machine_without_any_says_so() {
        let found = Hierarchies::parse("proc /proc proc rw 0 0\n");
        assert_eq!(found.enforced(), EnforcedLimits::default());
        assert!(!found.can_freeze());
    }
}
