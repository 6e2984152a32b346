//! A machine that runs: its programs begun, its line and its monitor open.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use umbra_guest::tunnel::host::Past;
use umbra_state::escape::escape_output;

use super::line::Line;
use super::machine::{Machine, Start};
use super::provider::{Boots, Works};
use super::qmp::Qmp;
use super::{inherited, qmp};
use crate::error::ShadowError;
use crate::inside::Printed;
use crate::sandbox::client::MachineKeeper;
use crate::sandbox::wire::{MachineRequest, PassedFile, ProgramsSpec};

/// How long QEMU may take for what its monitor is asked.
pub(super) const MONITOR_TIME_MAX: Duration = Duration::from_secs(10);

/// How long saving a machine's devices, or loading them, may take.
pub(super) const SAVE_TIME_MAX: Duration = Duration::from_secs(30);

/// How much of the console goes with a failure.
const CONSOLE_BYTES: u64 = 2000;

/// See the module.
pub(super) struct Powered {
    pub(super) line: Arc<Line>,
    pub(super) monitor: Qmp,
    pub(super) console: Printed,
}

/// What a machine is begun with.
pub(super) struct Parts<'a> {
    pub(super) machine: Machine,
    pub(super) boots: &'a Boots,
    /// The shared directory, if it has one.
    pub(super) shared: Option<&'a Path>,
    /// The disk with the root, if it has one.
    pub(super) disk: Option<&'a Path>,
    /// The file with its memory, if that is in one.
    pub(super) memory: Option<&'a Path>,
}

impl Powered {
    /// Begins it; `ready` returns once its guest can be spoken to. Where it fails, the error has
    /// what the guest said last.
    pub(super) fn begin(
        name: &str,
        works: &Works,
        keeper: &MachineKeeper,
        parts: Parts<'_>,
        ready: impl FnOnce(&Line, &mut Qmp) -> Result<(), ShadowError>,
    ) -> Result<Self, ShadowError> {
        let system = |doing: &str| {
            let doing = format!("{doing} {name}");
            move |source: io::Error| ShadowError::System { doing, source }
        };
        let pair = || UnixStream::pair().map_err(system("make sockets for"));
        let (monitor, its_monitor) = pair()?;
        let (port, its_port) = pair()?;
        let (console, its_console) = pair()?;
        let fds = [its_monitor.as_fd(), its_port.as_fd(), its_console.as_fd()];
        let programs = programs(works, &parts)?;
        keeper.ask(&MachineRequest::Begin(programs), &fds)?;
        drop((its_monitor, its_port, its_console));
        let console = Printed::read(console.into()).map_err(system("read the console of"))?;
        let past = match parts.machine.start {
            Start::Incoming => Past::Forked,
            Start::Runs => Past::None,
        };
        let begun = || -> Result<(Line, Qmp), ShadowError> {
            let mut monitor = Qmp::over(monitor, MONITOR_TIME_MAX).map_err(monitors)?;
            let line = Line::open(name, port.into(), past).map_err(system("speak with"))?;
            ready(&line, &mut monitor)?;
            Ok((line, monitor))
        };
        match begun() {
            Ok((line, monitor)) => Ok(Self { line: Arc::new(line), monitor, console }),
            Err(error) => Err(not_up(name, &error, &console)),
        }
    }
}

fn programs(works: &Works, parts: &Parts<'_>) -> Result<ProgramsSpec, ShadowError> {
    let described = parts.machine.arguments();
    let described = described.map_err(|error| ShadowError::Unsupported(error.to_string()))?;
    let program = works.qemu.display().to_string();
    let file = |number, path: &Path| PassedFile { number, path: path.to_owned() };
    let mut files = vec![
        file(inherited::KERNEL, &parts.boots.kernel),
        file(inherited::INITRD, &parts.boots.initrd),
    ];
    files.extend(parts.disk.map(|path| file(inherited::DISK, path)));
    files.extend(parts.memory.map(|path| file(inherited::MEMORY, path)));
    Ok(ProgramsSpec {
        machine: std::iter::once(program).chain(described).collect(),
        server: parts.shared.map(|shared| works.server(shared)),
        files,
    })
}

/// A monitor's failure.
pub(super) fn monitors(error: qmp::QmpError) -> ShadowError {
    ShadowError::Launcher(umbra_state::chain(&error))
}

/// With what the guest, or QEMU, said last, which is where the reason is.
fn not_up(name: &str, error: &ShadowError, console: &Printed) -> ShadowError {
    // What a program prints comes a moment after its end.
    let deadline = Instant::now() + Duration::from_millis(200);
    let mut said = console.tail(CONSOLE_BYTES);
    while said.is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
        said = console.tail(CONSOLE_BYTES);
    }
    let said = escape_output(said.trim_ascii()).to_string();
    let why = umbra_state::chain(error);
    ShadowError::Launcher(if said.is_empty() {
        format!("the virtual machine {name} did not come up ({why}) and said nothing")
    } else {
        format!("the virtual machine {name} did not come up ({why}); it said:\n{said}")
    })
}
