//! What every process last executed.

use std::collections::HashMap;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::class::classify;
use super::forks::Forks;
use super::process::{self, ProcessRef, Shown};
use super::{Known, Program, Writer};

/// Processes kept; when there are more, those that have ended go first.
const PROCESSES_MAX: usize = 32 * 1024;
/// Ended processes are kept this long, for events that are still queued.
const ENDED_KEPT: Duration = Duration::from_secs(10);
const PARENTS_MAX: usize = 16;

/// Executions replayed: process number to what it ran.
#[derive(Debug, Default)]
pub struct Executions {
    processes: HashMap<i32, Process>,
    /// Who forked whom, where that can be had.
    forks: Option<Forks>,
    /// How many executions were replayed.
    replayed: u64,
    /// See [`classify`].
    system: Option<PathBuf>,
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Process {
    /// See [`ProcessRef::identity`]; tells a later process of the same number apart.
    identity: Option<u64>,
    exe: Option<PathBuf>,
    script: Option<PathBuf>,
    /// The script's interpreter has not been seen yet.
    awaits_interpreter: bool,
    /// What it executed lies on an overlay: its path there.
    overlaid: Option<PathBuf>,
    parent: Option<i32>,
    /// It began as a copy of its parent.
    forked: bool,
    /// It has such copies.
    has_forked: bool,
    shown: Option<Shown>,
    seen: Instant,
    /// Built once per execution.
    writer: Option<Arc<Writer>>,
}

impl Executions {
    /// Begin with the processes that run now. Programs of the system below `system`, if there
    /// is one, count as this machine's.
    pub fn seeded(now: Instant, system: Option<PathBuf>) -> Self {
        // Before the look: whoever forks meanwhile is in one of the two.
        let mut table = Self { forks: Forks::open().ok(), system, ..Self::default() };
        for pid in process::all() {
            if let Some(shown) = process::look(pid) {
                table.processes.insert(pid, Process::living(None, shown, now));
            }
        }
        table
    }

    /// How many executions were replayed.
    pub fn replayed(&self) -> u64 {
        self.replayed
    }

    /// Take in who forked whom, before what they did is followed up.
    pub fn read_forks(&mut self, now: Instant) {
        if let Some(forks) = self.forks.take() {
            forks.read(|parent, child| self.on_fork(parent, child, now));
            self.forks = Some(forks);
        }
    }

    /// `child` is a new process, a copy of `parent`.
    fn on_fork(&mut self, parent: i32, child: i32, now: Instant) {
        self.bound(now);
        let copy = Process { parent: Some(parent), forked: true, ..Process::new(now) };
        self.processes.insert(child, copy);
        if let Some(parent) = self.processes.get_mut(&parent) {
            parent.has_forked = true;
        }
    }

    /// What the copies of `pid` are stays what they are when it becomes something else.
    fn settle_copies(&mut self, pid: i32) {
        let Some(entry) = self.processes.get_mut(&pid) else { return };
        if !std::mem::take(&mut entry.has_forked) {
            return;
        }
        let (exe, script) = (entry.exe.clone(), entry.script.clone());
        let copies = self.processes.values_mut().filter(|process| {
            process.forked && process.exe.is_none() && process.parent == Some(pid)
        });
        for copy in copies {
            (copy.exe, copy.script) = (exe.clone(), script.clone());
        }
    }

    /// What a copy is: the nearest of its parents that is known to be something.
    fn inherited(&self, pid: i32) -> Option<(PathBuf, Option<PathBuf>)> {
        let mut entry = self.processes.get(&pid)?;
        for _ in 0..PARENTS_MAX {
            let parent = entry.parent.filter(|_| entry.forked)?;
            entry = match self.processes.get(&parent) {
                Some(entry) => entry,
                None => return process::look(parent)?.exe.map(|exe| (exe, None)),
            };
            if let Some(exe) = &entry.exe {
                return Some((exe.clone(), entry.script.clone()));
            }
        }
        None
    }

    /// As [`Self::on_exec`], of a `file` of a mount that is known as `inside` within it. An
    /// overlay opens the file in one of its layers too, which is nobody's program.
    pub fn on_exec_inside(
        &mut self,
        process: &ProcessRef,
        file: &Path,
        inside: PathBuf,
        now: Instant,
    ) {
        self.on_exec(process, file, now);
        if let Some(entry) = self.processes.get_mut(&process.pid()) {
            entry.overlaid = Some(inside);
        }
    }

    /// `process` opened `file` for execution. The kernel opens a script, its interpreter
    /// and the loader in this order; the loader is nobody's program.
    pub fn on_exec(&mut self, process: &ProcessRef, file: &Path, now: Instant) {
        self.replayed += 1;
        // All from outside of this namespace have the same number.
        if is_loader(file) || process.pid() == 0 {
            return;
        }
        self.bound(now);
        self.settle_copies(process.pid());
        let identity = process.identity();
        let shown = process.look();
        let script = is_script(file);
        let entry = self.processes.entry(process.pid()).or_insert_with(|| Process::new(now));
        entry.become_process(identity);
        if entry.overlaid.as_deref().is_some_and(|inside| file.ends_with(inside)) {
            return;
        }
        entry.overlaid = None;
        let through_env = entry.exe.as_deref().is_some_and(|exe| exe.ends_with("env"));
        if script {
            entry.script = Some(file.to_owned());
        } else if !entry.awaits_interpreter && !through_env {
            entry.script = None;
        }
        entry.awaits_interpreter = script;
        entry.exe = Some(file.to_owned());
        entry.seen = now;
        entry.writer = None;
        // What it shows may be from before the execution: only what execution keeps counts.
        entry.parent = shown.as_ref().and_then(|shown| shown.parent).or(entry.parent);
        entry.shown = shown.map(|shown| Shown { argv: Vec::new(), ..shown });
    }

    /// Who `process` is, to be asked in the order of the events.
    pub fn writer(&mut self, process: &ProcessRef, now: Instant) -> Arc<Writer> {
        let pid = process.pid();
        if pid == 0 {
            return Arc::new(Writer::unknown(0));
        }
        let identity = process.identity();
        let entry = self.processes.entry(pid).or_insert_with(|| Process::new(now));
        // Known only by its number so far: that may have been another process.
        let recognised = entry.identity.is_some();
        entry.become_process(identity);
        entry.seen = now;
        if let Some(writer) = &entry.writer
            && (recognised || identity.is_none())
        {
            return Arc::clone(writer);
        }
        let living = process.look();
        let alive = living.is_some();
        if let Some(mut shown) = living {
            entry.parent = shown.parent.or(entry.parent);
            match &entry.exe {
                Some(exe) if !recognised && shown.exe.as_ref() != Some(exe) => {
                    (entry.exe, entry.script) = (shown.exe.clone(), None);
                }
                // It runs something else by now; its arguments are not the writer's.
                Some(exe) if shown.exe.as_ref() != Some(exe) => shown.argv.clear(),
                Some(_) => {}
                None => entry.exe.clone_from(&shown.exe),
            }
            entry.shown = Some(shown);
        }
        if entry.exe.is_none()
            && let Some((exe, script)) = self.inherited(pid)
            && let Some(entry) = self.processes.get_mut(&pid)
        {
            (entry.exe, entry.script) = (Some(exe), script);
        }
        self.bound(now);
        let writer = Arc::new(self.build(pid, alive));
        if let Some(entry) = self.processes.get_mut(&pid) {
            entry.writer = Some(Arc::clone(&writer));
        }
        writer
    }

    fn build(&mut self, pid: i32, alive: bool) -> Writer {
        let parents = self.parents(pid);
        let Some(entry) = self.processes.get(&pid) else { return Writer::unknown(pid) };
        let program = entry.program(pid);
        let known = match (&program.exe, alive) {
            (None, _) => Known::Not,
            (Some(_), true) => Known::Alive,
            (Some(_), false) => Known::Replayed,
        };
        let shown = entry.shown.as_ref();
        let origin = shown.map(|shown| shown.origin.clone()).unwrap_or_default();
        let chain = std::iter::once(&program).chain(&parents);
        Writer {
            pid,
            argv: shown.map(|shown| shown.argv.clone()).unwrap_or_default(),
            uid: shown.and_then(|shown| shown.uid),
            login_uid: shown.and_then(|shown| shown.login_uid),
            class: classify(chain, &origin, self.system.as_deref()),
            program,
            parents,
            origin,
            known,
        }
    }

    fn parents(&mut self, pid: i32) -> Vec<Program> {
        let mut parents = Vec::new();
        let mut next = self.processes.get(&pid).and_then(|entry| entry.parent);
        while let Some(pid) = next.filter(|_| parents.len() < PARENTS_MAX) {
            if let std::collections::hash_map::Entry::Vacant(vacant) = self.processes.entry(pid) {
                // It forked and never executed since we look.
                let Some(shown) = process::look(pid) else { break };
                vacant.insert(Process::living(None, shown, Instant::now()));
            }
            let Some(entry) = self.processes.get(&pid) else { break };
            parents.push(entry.program(pid));
            next = entry.parent;
        }
        parents
    }

    /// Forget processes that ended a while ago, or the oldest if all are alive.
    fn bound(&mut self, now: Instant) {
        let recently = self.swept.is_some_and(|swept| now - swept < ENDED_KEPT);
        if self.processes.len() < PROCESSES_MAX || recently {
            if self.processes.len() < 2 * PROCESSES_MAX {
                return;
            }
            return self.processes.clear();
        }
        self.swept = Some(now);
        let alive: std::collections::HashSet<i32> = process::all().into_iter().collect();
        self.processes.retain(|pid, process| {
            alive.contains(pid) || now.saturating_duration_since(process.seen) < ENDED_KEPT
        });
    }
}

impl Process {
    fn new(now: Instant) -> Self {
        Self {
            identity: None,
            exe: None,
            script: None,
            awaits_interpreter: false,
            overlaid: None,
            parent: None,
            forked: false,
            has_forked: false,
            shown: None,
            seen: now,
            writer: None,
        }
    }

    fn living(identity: Option<u64>, shown: Shown, now: Instant) -> Self {
        Self {
            identity,
            exe: shown.exe.clone(),
            parent: shown.parent,
            shown: Some(shown),
            ..Self::new(now)
        }
    }

    /// The number may have passed to another process since.
    fn become_process(&mut self, identity: Option<u64>) {
        if identity.is_some() && identity != self.identity {
            if self.identity.is_some() {
                *self = Self::new(self.seen);
            }
            self.identity = identity;
        }
    }

    fn program(&self, pid: i32) -> Program {
        Program { pid, exe: self.exe.clone(), script: self.script.clone() }
    }
}

/// The program loader, which the kernel opens for every dynamic program.
fn is_loader(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let known = ["ld-linux", "ld-musl", "ld.so", "ld64.so"];
    known.iter().any(|start| name.starts_with(start))
        || (name.starts_with("ld-") && name.ends_with(".so"))
}

fn is_script(file: &Path) -> bool {
    let mut head = [0; 2];
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOATIME;
    let file = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(file);
    file.and_then(|mut file| file.read_exact(&mut head)).is_ok() && head == *b"#!"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone(pid: i32) -> ProcessRef {
        ProcessRef::new(pid, None)
    }

    /// A process that is told apart by a descriptor of its own and shows nothing.
    fn told_apart(pid: i32, by: &std::fs::File) -> ProcessRef {
        ProcessRef::new(pid, Some(by.try_clone().expect("descriptor").into()))
    }

    const PID: i32 = i32::MAX - 7;

    #[test]
    fn the_last_program_before_the_loader_is_who() {
        let now = Instant::now();
        let mut table = Executions::default();
        table.on_exec(&gone(PID), Path::new("/usr/bin/first"), now);
        table.on_exec(&gone(PID), Path::new("/usr/bin/second"), now);
        table.on_exec(&gone(PID), Path::new("/lib64/ld-linux-x86-64.so.2"), now);
        let writer = table.writer(&gone(PID), now);
        assert_eq!(writer.program.exe.as_deref(), Some(Path::new("/usr/bin/second")));
        assert_eq!((writer.known, writer.program.script.clone()), (Known::Replayed, None));
        table.on_exec(&gone(PID), Path::new("/usr/bin/third"), now);
        let writer = table.writer(&gone(PID), now);
        assert_eq!(writer.program.exe.as_deref(), Some(Path::new("/usr/bin/third")));
    }

    #[test]
    fn a_script_keeps_its_name_beside_its_interpreter() {
        let directory = tempfile::tempdir().expect("directory");
        let script = directory.path().join("run");
        std::fs::write(&script, "#!/usr/bin/env python3\n").expect("script");
        let now = Instant::now();
        let mut table = Executions::default();
        for file in [script.as_path(), Path::new("/usr/bin/env"), Path::new("/usr/bin/python3")] {
            table.on_exec(&gone(PID), file, now);
        }
        let program = table.writer(&gone(PID), now).program.clone();
        assert_eq!(program.exe.as_deref(), Some(Path::new("/usr/bin/python3")));
        assert_eq!(program.script.as_deref(), Some(script.as_path()));
    }

    #[test]
    fn the_layer_of_an_overlay_is_no_program() {
        let (now, mut table) = (Instant::now(), Executions::default());
        let merged = Path::new("/merged/bin/tool");
        table.on_exec_inside(&gone(PID), merged, "bin/tool".into(), now);
        table.on_exec(&gone(PID), Path::new("/layers/7/bin/tool"), now);
        assert_eq!(table.writer(&gone(PID), now).program.exe.as_deref(), Some(merged));
        table.on_exec(&gone(PID), Path::new("/bin/other"), now);
        table.on_exec(&gone(PID), Path::new("/layers/7/bin/tool"), now);
        let layer = Some(Path::new("/layers/7/bin/tool"));
        assert_eq!(table.writer(&gone(PID), now).program.exe.as_deref(), layer);
    }

    #[track_caller]
    fn check(table: &mut Executions, process: &ProcessRef, exe: Option<&str>) {
        let writer = table.writer(process, Instant::now());
        assert_eq!(writer.program.exe.as_deref(), exe.map(Path::new));
    }

    #[test]
    fn a_number_used_again_is_another_process() {
        let file = || tempfile::tempfile().expect("file");
        let (one, other, third) = (file(), file(), file());
        let (now, mut table) = (Instant::now(), Executions::default());
        table.on_exec(&told_apart(PID, &one), Path::new("/usr/bin/one"), now);
        check(&mut table, &told_apart(PID, &one), Some("/usr/bin/one"));
        // It forked and never executed: nothing of the process before is its.
        check(&mut table, &told_apart(PID, &other), None);
        table.on_exec(&told_apart(PID, &third), Path::new("/usr/bin/third"), now);
        check(&mut table, &told_apart(PID, &third), Some("/usr/bin/third"));
    }

    #[test]
    fn a_number_seen_before_its_process_is_not_taken_for_it() {
        let (now, mut table) = (Instant::now(), Executions::default());
        let own = std::process::id().cast_signed();
        // The execution of a process that has ended, whose number is ours now.
        table.on_exec(&gone(own), Path::new("/usr/bin/earlier"), now);
        let pid = rustix::process::Pid::from_raw(own).expect("number");
        let fd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty());
        let process = ProcessRef::new(own, Some(fd.expect("descriptor")));
        let exe = std::fs::read_link("/proc/self/exe").expect("own program");
        check(&mut table, &process, exe.to_str());
    }

    #[test]
    fn a_copy_is_what_its_parent_was_then() {
        let (now, mut table) = (Instant::now(), Executions::default());
        let (parent, child, grandchild) = (PID, PID - 1, PID - 2);
        table.on_exec(&gone(parent), Path::new("/usr/bin/first"), now);
        table.on_fork(parent, child, now);
        table.on_fork(child, grandchild, now);
        check(&mut table, &gone(grandchild), Some("/usr/bin/first"));
        table.on_exec(&gone(parent), Path::new("/usr/bin/second"), now);
        check(&mut table, &gone(child), Some("/usr/bin/first"));
        // The number again, of a copy of what the parent is now.
        table.on_fork(parent, child, now);
        check(&mut table, &gone(child), Some("/usr/bin/second"));
        table.on_exec(&gone(child), Path::new("/usr/bin/third"), now);
        check(&mut table, &gone(child), Some("/usr/bin/third"));
        assert_eq!(table.writer(&gone(child), now).parents[0].pid, parent);
    }

    #[test]
    fn processes_outside_of_the_namespace_are_not_one() {
        let (now, mut table) = (Instant::now(), Executions::default());
        table.on_exec(&gone(0), Path::new("/usr/bin/outside"), now);
        let writer = table.writer(&gone(0), now);
        assert_eq!((writer.known, &writer.program.exe), (Known::Outside, &None));
    }

    #[test]
    fn nothing_known_is_said_to_be_not_known() {
        let writer = Executions::default().writer(&gone(PID), Instant::now());
        assert_eq!(*writer, Writer::unknown(PID));
    }
}
