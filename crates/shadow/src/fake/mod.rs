//! A provider whose shadows exist only in this process: files in a map, those of
//! layers that are directories among them, commands that `shell` understands. It passes the conformance suite and needs no rights, so that what uses
//! providers can be tested anywhere.

mod machine;
mod shell;
mod shown;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use umbra_state::{Command, Exit, Output};
use umbra_store::overlay::Layers;

use crate::error::ShadowError;
use crate::provider::{
    Attached, Capabilities, EnforcedLimits, Network, Provider, Reaped, Running, Shadow, ShadowSpec,
    TerminalSize,
};
use machine::{Machine, Process};
use shell::{Sinks, Source};

/// Makes shadows out of nothing.
#[derive(Debug)]
pub struct FakeProvider {
    capabilities: Capabilities,
    names: Arc<Mutex<BTreeSet<String>>>,
    spawned: Mutex<u8>,
}

impl Default for FakeProvider {
    fn default() -> Self {
        Self {
            capabilities: Capabilities {
                provider: "fake".to_owned(),
                live_edit: true,
                host_capture: false,
                memory_fork: false,
                systemd: false,
                network_mirror: false,
                vm: false,
                clustered: false,
                user_namespace: false,
                limits: EnforcedLimits::default(),
                missing: vec!["nothing real: these shadows are make-believe".to_owned()],
            },
            names: Arc::default(),
            spawned: Mutex::default(),
        }
    }
}

impl Provider for FakeProvider {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn spawn(&self, layers: &Layers, spec: &ShadowSpec) -> Result<Box<dyn Shadow>, ShadowError> {
        spec.check_name()?;
        if !lock(&self.names).insert(spec.name.clone()) {
            return Err(ShadowError::Taken(spec.name.clone()));
        }
        let mut spawned = lock(&self.spawned);
        *spawned = spawned.wrapping_add(1);
        let address = (spec.network != Network::None)
            .then(|| IpAddr::from(Ipv4Addr::new(192, 0, 2, *spawned)));
        let machine = Arc::<Machine>::default();
        machine.renew(shown::files(layers));
        Ok(Box::new(FakeShadow {
            name: spec.name.clone(),
            address,
            machine,
            names: Arc::clone(&self.names),
        }))
    }

    fn list(&self) -> Result<Vec<String>, ShadowError> {
        Ok(lock(&self.names).iter().cloned().collect())
    }

    fn reap(&self) -> Result<Reaped, ShadowError> {
        Ok(Reaped::default())
    }
}

struct FakeShadow {
    name: String,
    address: Option<IpAddr>,
    machine: Arc<Machine>,
    names: Arc<Mutex<BTreeSet<String>>>,
}

impl FakeShadow {
    fn living(&self) -> Result<(), ShadowError> {
        if self.machine.is_gone() { Err(ShadowError::Gone(self.name.clone())) } else { Ok(()) }
    }

    /// A process for the command, unless it could not be started at all.
    fn start_process(&self, command: &Command) -> Result<Process, ShadowError> {
        self.living()?;
        shell::check(command).map_err(|reason| ShadowError::Start {
            program: command.argv.first().cloned().unwrap_or_default(),
            shadow: self.name.clone(),
            reason,
        })?;
        let deadline = command.timeout.map(|timeout| Instant::now() + timeout);
        Ok(self.machine.start(deadline))
    }
}

impl Shadow for FakeShadow {
    fn name(&self) -> &str {
        &self.name
    }

    fn address(&self) -> Option<IpAddr> {
        self.address
    }

    fn apply(&self, layers: &Layers) -> Result<(), ShadowError> {
        self.living()?;
        self.machine.renew(shown::files(layers));
        Ok(())
    }

    fn run(&self, command: &Command) -> Result<Output, ShadowError> {
        let started = Instant::now();
        let process = self.start_process(command)?;
        let (stdout, stderr) = (Arc::default(), Arc::default());
        let sinks = Sinks::Apart(Arc::clone(&stdout), Arc::clone(&stderr));
        let exit = shell::run(command, &process, Source::Bytes(&command.stdin), &sinks);
        let kept = |bytes: &Mutex<Vec<u8>>| {
            let mut bytes = std::mem::take(&mut *lock(bytes));
            let dropped = (bytes.len() as u64).saturating_sub(command.output_bytes_max);
            bytes.truncate(bytes.len() - dropped as usize);
            (bytes, dropped)
        };
        let ((stdout, dropped_out), (stderr, dropped_err)) = (kept(&stdout), kept(&stderr));
        let dropped_bytes = dropped_out + dropped_err;
        Ok(Output { exit, stdout, stderr, dropped_bytes, duration: started.elapsed() })
    }

    fn start(&self, command: &Command) -> Result<Box<dyn Running>, ShadowError> {
        let process = self.start_process(command)?;
        let log = Arc::<Mutex<Vec<u8>>>::default();
        let (theirs, command) = (process.clone(), command.clone());
        let sinks = Sinks::Together(Arc::clone(&log));
        std::thread::spawn(move || {
            let exit = shell::run(&command, &theirs, Source::Bytes(&[]), &sinks);
            theirs.end(exit);
        });
        Ok(Box::new(FakeRunning { process, log }))
    }

    fn attach(
        &self,
        command: &Command,
        size: TerminalSize,
    ) -> Result<Box<dyn Attached>, ShadowError> {
        let process = self.start_process(command)?;
        let system = |source| ShadowError::System { doing: "make a terminal".to_owned(), source };
        let (ours, inside) = UnixStream::pair().map_err(system)?;
        process.set_terminal(size);
        let (theirs, command) = (process.clone(), command.clone());
        std::thread::spawn(move || {
            let exit =
                shell::run(&command, &theirs, Source::Terminal(&inside), &Sinks::Terminal(&inside));
            theirs.end(exit);
        });
        Ok(Box::new(FakeAttached { process, terminal: ours }))
    }

    /// Not there: nothing is on a filesystem, as `host_capture` says.
    fn root(&self) -> Result<OwnedFd, ShadowError> {
        self.living()?;
        Err(ShadowError::Unsupported("a make-believe shadow has no directory".to_owned()))
    }

    fn freeze(&self) -> Result<(), ShadowError> {
        self.living()?;
        self.machine.set_frozen(true);
        Ok(())
    }

    fn thaw(&self) -> Result<(), ShadowError> {
        self.living()?;
        self.machine.set_frozen(false);
        Ok(())
    }

    fn destroy(&self) -> Result<(), ShadowError> {
        if self.machine.destroy() {
            lock(&self.names).remove(&self.name);
        }
        Ok(())
    }
}

impl Drop for FakeShadow {
    fn drop(&mut self) {
        // It cannot fail.
        let _ = self.destroy();
    }
}

struct FakeRunning {
    process: Process,
    log: Arc<Mutex<Vec<u8>>>,
}

impl Running for FakeRunning {
    fn log_tail(&self, bytes_max: u64) -> Vec<u8> {
        let log = lock(&self.log);
        let wanted = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        log[log.len().saturating_sub(wanted)..].to_vec()
    }

    fn ended(&self) -> Option<Exit> {
        self.process.ended()
    }
}

impl Drop for FakeRunning {
    fn drop(&mut self) {
        self.process.kill();
    }
}

struct FakeAttached {
    process: Process,
    terminal: UnixStream,
}

impl Attached for FakeAttached {
    fn terminal(&self) -> BorrowedFd<'_> {
        self.terminal.as_fd()
    }

    fn resize(&self, size: TerminalSize) -> Result<(), ShadowError> {
        self.process.set_terminal(size);
        Ok(())
    }

    fn wait(&mut self) -> Result<Exit, ShadowError> {
        Ok(self.process.wait())
    }
}

impl Drop for FakeAttached {
    fn drop(&mut self) {
        self.process.kill();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every value behind one is consistent between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::CASES;

    #[test]
    fn it_conforms() {
        let provider = FakeProvider::default();
        for case in CASES {
            (case.check)(&provider, &Layers::default());
        }
    }
}
