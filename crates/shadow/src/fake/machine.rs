//! The world inside a make-believe shadow: its files, its processes, and waiting for them.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use umbra_state::Exit;

use super::lock;
use crate::provider::TerminalSize;

/// One shadow's world, shared by its processes.
#[derive(Debug, Default)]
pub(super) struct Machine {
    world: Mutex<World>,
    changed: Condvar,
}

/// See [`Machine`].
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) files: BTreeMap<String, File>,
    processes: BTreeMap<u32, Record>,
    last_pid: u32,
    frozen: bool,
    gone: bool,
}

/// A file in a [`World`].
#[derive(Debug)]
pub(super) enum File {
    /// An ordinary one.
    Regular(Vec<u8>),
    /// A FIFO, with what was written and not yet read.
    Fifo(Option<Vec<u8>>),
}

#[derive(Debug, Default)]
struct Record {
    killed: bool,
    ended: Option<Exit>,
    terminal: Option<TerminalSize>,
}

/// A process of a [`Machine`].
#[derive(Debug, Clone)]
pub(super) struct Process {
    machine: Arc<Machine>,
    pub(super) pid: u32,
    deadline: Option<Instant>,
}

impl Machine {
    pub(super) fn start(self: &Arc<Self>, deadline: Option<Instant>) -> Process {
        let mut world = lock(&self.world);
        world.last_pid += 1;
        let pid = world.last_pid;
        world.processes.insert(pid, Record::default());
        Process { machine: Arc::clone(self), pid, deadline }
    }

    /// Ends all processes, forgets all files but these.
    pub(super) fn renew(&self, files: BTreeMap<String, File>) {
        self.change(|world| {
            world.end_all();
            world.files = files;
            world.frozen = false;
        });
    }

    pub(super) fn set_frozen(&self, frozen: bool) {
        self.change(|world| world.frozen = frozen);
    }

    /// Whether this was its end, not something after it.
    pub(super) fn destroy(&self) -> bool {
        self.change(|world| {
            world.end_all();
            !std::mem::replace(&mut world.gone, true)
        })
    }

    pub(super) fn is_gone(&self) -> bool {
        lock(&self.world).gone
    }

    fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let changed = change(&mut lock(&self.world));
        self.changed.notify_all();
        changed
    }
}

impl World {
    fn end_all(&mut self) {
        self.files.clear();
        for record in self.processes.values_mut() {
            record.killed = true;
            record.ended.get_or_insert(Exit::Signal(libc::SIGKILL));
        }
    }

    /// Whether a process with this number runs.
    pub(super) fn runs(&self, pid: u32) -> bool {
        self.processes.get(&pid).is_some_and(|record| record.ended.is_none() && !record.killed)
    }
}

impl Process {
    /// Does something to the world once it can be done; an error is how the process was
    /// stopped meanwhile.
    pub(super) fn when<T>(
        &self,
        mut attempt: impl FnMut(&mut World) -> Option<T>,
    ) -> Result<T, Exit> {
        let mut world = lock(&self.machine.world);
        loop {
            if world.processes.get(&self.pid).is_none_or(|record| record.killed) {
                return Err(Exit::Signal(libc::SIGKILL));
            }
            if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Err(Exit::TimedOut);
            }
            if !world.frozen
                && let Some(done) = attempt(&mut world)
            {
                self.machine.changed.notify_all();
                return Ok(done);
            }
            world = self.wait_for_change(world);
        }
    }

    /// Does nothing for a while.
    pub(super) fn sleep(&self, time: Duration) -> Result<(), Exit> {
        let until = Instant::now() + time;
        self.when(|_| (Instant::now() >= until).then_some(()))
    }

    fn wait_for_change<'a>(&self, world: MutexGuard<'a, World>) -> MutexGuard<'a, World> {
        // Short enough to see a sleep's end and a deadline, which nobody announces.
        let while_waiting = Duration::from_millis(10);
        let waited = self.machine.changed.wait_timeout(world, while_waiting);
        waited.unwrap_or_else(std::sync::PoisonError::into_inner).0
    }

    pub(super) fn kill(&self) {
        self.record(|record| record.killed = true);
    }

    pub(super) fn end(&self, exit: Exit) {
        self.record(|record| {
            record.ended.get_or_insert(exit);
        });
    }

    pub(super) fn ended(&self) -> Option<Exit> {
        lock(&self.machine.world).processes.get(&self.pid).and_then(|record| record.ended)
    }

    /// Waits for its end.
    pub(super) fn wait(&self) -> Exit {
        let mut world = lock(&self.machine.world);
        loop {
            let record = world.processes.get(&self.pid);
            if let Some(exit) = record.and_then(|record| record.ended) {
                return exit;
            }
            world = self.wait_for_change(world);
        }
    }

    pub(super) fn set_terminal(&self, size: TerminalSize) {
        self.record(|record| record.terminal = Some(size));
    }

    pub(super) fn terminal(&self) -> Option<TerminalSize> {
        lock(&self.machine.world).processes.get(&self.pid).and_then(|record| record.terminal)
    }

    fn record(&self, change: impl FnOnce(&mut Record)) {
        self.machine.change(|world| world.processes.get_mut(&self.pid).map(change));
    }
}
