//! One virtual machine as a shadow: its keeper, its line, its current view.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use umbra_guest::order::{Identity, Order, Place, View};
use umbra_guest::wire;
use umbra_state::escape::escape_output;
use umbra_state::{Command, Output};
use umbra_store::overlay::Layers;

use super::line::Line;
use super::memory::Plan;
use super::provider::Works;
use super::qmp::{Cont, Qmp, Stop};
use crate::error::ShadowError;
use crate::inside::{Inside, Printed};
use crate::provider::{Attached, Init, Running, Shadow, ShadowSpec, TerminalSize};
use crate::sandbox::client::MachineKeeper;
use crate::sandbox::grounds::Grounds;
use crate::sandbox::views::Views;
use crate::sandbox::wire::{MachineRequest, ProgramsSpec, SHARED, ShareSpec};

/// How long a guest may take until it can be spoken to. Under TCG, on a machine that does much
/// else, it takes its time.
const BOOT_TIME_MAX: Duration = Duration::from_secs(120);

/// How long a guest that runs may take for an order.
const ORDER_TIME_MAX: Duration = Duration::from_secs(60);

/// How long QEMU may take for what its monitor is asked.
const MONITOR_TIME_MAX: Duration = Duration::from_secs(10);

/// How much of the console goes with a failure.
const CONSOLE_BYTES: u64 = 2000;

/// See the module.
pub(super) struct QemuShadow {
    name: String,
    address: Option<IpAddr>,
    works: Arc<Works>,
    spec: ShadowSpec,
    plan: Plan,
    life: Mutex<Option<Life>>,
}

/// What ends with the shadow.
struct Life {
    /// Absent where the last view could not be shown.
    shown: Option<Shown>,
    machine: Option<Powered>,
    keeper: MachineKeeper,
    views: Views,
    /// How many views there have been.
    number: u64,
    frozen: bool,
    grounds: Grounds,
}

struct Shown {
    inside: Arc<Inside>,
    systemd: bool,
}

/// A machine that runs.
struct Powered {
    line: Arc<Line>,
    monitor: Qmp,
    console: Printed,
}

impl QemuShadow {
    pub(super) fn begin(
        works: Arc<Works>,
        layers: &Layers,
        spec: &ShadowSpec,
    ) -> Result<Self, ShadowError> {
        let plan = Plan::of(&spec.limits, works.cpus);
        let name = spec.name.clone();
        let (grounds, keeper) =
            works.maker.machine(name.clone(), &plan.here, &spec.network, spec.address)?;
        let address = grounds.place.as_ref().map(|place| place.port().address.into());
        let views = Views::new(spec.limits.memory_bytes);
        let mut life =
            Life { shown: None, machine: None, keeper, views, number: 0, frozen: false, grounds };
        let shadow =
            Self { name, address, works, spec: spec.clone(), plan, life: Mutex::default() };
        shadow.show(&mut life, layers)?;
        *shadow.life() = Some(life);
        Ok(shadow)
    }

    /// Shows a view in place of the one before, in a machine that is begun for it if need be.
    fn show(&self, life: &mut Life, layers: &Layers) -> Result<(), ShadowError> {
        life.shown = None;
        if self.spec.init == Init::Systemd {
            // A system that runs cannot be told to be another one.
            life.machine = None;
        }
        let former = life.number;
        life.number += 1;
        let name = format!("v{}", life.number);
        let root = self.share(life, &name, layers)?;
        if life.machine.is_none() {
            life.machine = Some(self.power_on(life, &root)?);
        }
        let systemd = self.spec.init == Init::Systemd && has_systemd(&root);
        let inside = self.enter(life, name, root, systemd)?;
        life.shown = Some(Shown { inside: Arc::new(inside), systemd });
        if former > 0 {
            life.keeper.ask(&MachineRequest::Hide(format!("v{former}")), &[])?;
            life.views.remove_former(&life.grounds.dir);
        }
        Ok(())
    }

    /// Shows the root in the shared directory.
    fn share(&self, life: &mut Life, name: &str, layers: &Layers) -> Result<OwnedFd, ShadowError> {
        let image = life.grounds.image(layers)?;
        let image: Vec<_> = image.iter().map(AsFd::as_fd).collect();
        let share = ShareSpec {
            name: name.to_owned(),
            layers: layers.clone(),
            writes: life.views.next(&life.grounds.dir)?,
        };
        let fds = life.keeper.ask(&MachineRequest::Show(share), &image)?;
        fds.into_iter().next().ok_or_else(|| ShadowError::Launcher("no root came".to_owned()))
    }

    /// Begins the machine, and returns once its guest can be spoken to.
    fn power_on(&self, life: &mut Life, root: &OwnedFd) -> Result<Powered, ShadowError> {
        let system = |doing: &str| {
            let doing = format!("{doing} {}", self.name);
            move |source: io::Error| ShadowError::System { doing, source }
        };
        let boots = self.works.boots(self.spec.init, root)?;
        let network = life.grounds.place.as_ref().map(|place| place.port().mac());
        let machine = self.works.machine(&self.name, &self.plan, &boots, network);
        let mut arguments = vec![self.works.qemu.display().to_string()];
        let described = machine.arguments();
        arguments.extend(described.map_err(|error| ShadowError::Unsupported(error.to_string()))?);
        let pair = || UnixStream::pair().map_err(system("make sockets for"));
        let ((monitor, its_monitor), (port, its_port), (console, its_console)) =
            (pair()?, pair()?, pair()?);
        let programs = ProgramsSpec {
            machine: arguments,
            server: Some(self.works.server(&life.grounds.dir.scratch().join(SHARED))),
            kernel: boots.kernel,
            initrd: boots.initrd,
        };
        let fds = [its_monitor.as_fd(), its_port.as_fd(), its_console.as_fd()];
        life.keeper.ask(&MachineRequest::Begin(programs), &fds)?;
        drop((its_monitor, its_port, its_console));
        let console = Printed::read(console.into()).map_err(system("read the console of"))?;
        let began = || -> Result<(Line, Qmp), ShadowError> {
            let monitor = Qmp::over(monitor, MONITOR_TIME_MAX)
                .map_err(|error| ShadowError::Launcher(umbra_state::chain(&error)))?;
            let line = Line::open(&self.name, port.into()).map_err(system("speak with"))?;
            line.order(Order::Hello, None, BOOT_TIME_MAX)?;
            line.order(Order::Be(self.identity(&life.grounds)?), None, ORDER_TIME_MAX)?;
            Ok((line, monitor))
        };
        match began() {
            Ok((line, monitor)) => Ok(Powered { line: Arc::new(line), monitor, console }),
            Err(error) => Err(self.not_up(&error, &console)),
        }
    }

    /// With what the guest said last, which is where the reason is.
    fn not_up(&self, error: &ShadowError, console: &Printed) -> ShadowError {
        // What QEMU itself prints comes a moment after its end.
        let deadline = Instant::now() + Duration::from_millis(200);
        let mut said = console.tail(CONSOLE_BYTES);
        while said.is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
            said = console.tail(CONSOLE_BYTES);
        }
        let said = escape_output(said.trim_ascii()).to_string();
        let why = umbra_state::chain(error);
        ShadowError::Launcher(if said.is_empty() {
            format!("the virtual machine {} did not come up ({why}) and said nothing", self.name)
        } else {
            format!("the virtual machine {} did not come up ({why}); it said:\n{said}", self.name)
        })
    }

    fn identity(&self, grounds: &Grounds) -> Result<Identity, ShadowError> {
        let mut entropy = vec![0; 64];
        rustix::rand::getrandom(&mut *entropy, rustix::rand::GetRandomFlags::empty()).map_err(
            |error| ShadowError::System {
                doing: "draw random bytes".to_owned(),
                source: error.into(),
            },
        )?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let network = grounds.place.as_ref().map(|place| {
            let port = place.port();
            Place {
                mac: port.mac(),
                address: port.address,
                prefix: port.prefix,
                gateway: port.gateway,
            }
        });
        Ok(Identity { now_ns: now.as_nanos() as u64, entropy, network })
    }

    /// Has the guest show the root, or become its system.
    fn enter(
        &self,
        life: &Life,
        dir: String,
        root: OwnedFd,
        systemd: bool,
    ) -> Result<Inside, ShadowError> {
        let machine = life.machine.as_ref().ok_or_else(|| self.gone())?;
        let (ours, theirs) = wire::pair()
            .map_err(|source| ShadowError::System { doing: "make a socket".to_owned(), source })?;
        let view = View {
            dir,
            hostname: self.name.clone(),
            shm_bytes_max: life.views.shm_bytes_max(),
            memory_bytes_max: self.spec.limits.memory_bytes,
            pids_max: self.spec.limits.pids,
        };
        let order = if systemd { Order::Boot(view) } else { Order::View(view) };
        machine.line.order(order, Some(theirs), ORDER_TIME_MAX)?;
        Ok(Inside::new(self.name.clone(), ours, root))
    }

    fn life(&self) -> MutexGuard<'_, Option<Life>> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gone(&self) -> ShadowError {
        ShadowError::Gone(self.name.clone())
    }

    fn inside(&self) -> Result<Arc<Inside>, ShadowError> {
        let life = self.life();
        let shown = life.as_ref().and_then(|life| life.shown.as_ref());
        shown.map(|shown| Arc::clone(&shown.inside)).ok_or_else(|| self.gone())
    }

    fn set_frozen(&self, frozen: bool) -> Result<(), ShadowError> {
        let mut life = self.life();
        life.as_mut().ok_or_else(|| self.gone())?.set_frozen(frozen)
    }
}

impl Life {
    fn set_frozen(&mut self, frozen: bool) -> Result<(), ShadowError> {
        let Some(machine) = &mut self.machine else {
            return Err(ShadowError::Gone(self.grounds.name().to_owned()));
        };
        let done = if frozen {
            machine.monitor.execute(&Stop {}, MONITOR_TIME_MAX).map(drop)
        } else {
            machine.monitor.execute(&Cont {}, MONITOR_TIME_MAX).map(drop)
        };
        done.map_err(|error| ShadowError::Launcher(umbra_state::chain(&error)))?;
        self.frozen = frozen;
        Ok(())
    }
}

/// Whether a root has a system of its own; links lead within it.
fn has_systemd(root: &OwnedFd) -> bool {
    use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
    ["usr/lib/systemd/systemd", "lib/systemd/systemd"].into_iter().any(|path| {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT).is_ok()
    })
}

impl Shadow for QemuShadow {
    fn name(&self) -> &str {
        &self.name
    }

    fn address(&self) -> Option<IpAddr> {
        self.address
    }

    fn connect(&self, to: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        let line = match self.life().as_ref().and_then(|life| life.machine.as_ref()) {
            Some(machine) => Arc::clone(&machine.line),
            None => return Err(io::ErrorKind::NotConnected.into()),
        };
        line.connect(to, timeout)
    }

    fn apply(&self, layers: &Layers) -> Result<(), ShadowError> {
        let mut life = self.life();
        let life = life.as_mut().ok_or_else(|| self.gone())?;
        if life.frozen {
            life.set_frozen(false)?;
        }
        self.show(life, layers)
    }

    fn runs_systemd(&self) -> bool {
        let life = self.life();
        life.as_ref().and_then(|life| life.shown.as_ref()).is_some_and(|shown| shown.systemd)
    }

    fn console_tail(&self, bytes_max: u64) -> Vec<u8> {
        let life = self.life();
        let machine = life.as_ref().and_then(|life| life.machine.as_ref());
        machine.map(|machine| machine.console.tail(bytes_max)).unwrap_or_default()
    }

    fn run(&self, command: &Command) -> Result<Output, ShadowError> {
        self.inside()?.run(command, &|_| {})
    }

    fn start(&self, command: &Command) -> Result<Box<dyn Running>, ShadowError> {
        Ok(Box::new(self.inside()?.start_service(command)?))
    }

    fn attach(
        &self,
        command: &Command,
        size: TerminalSize,
    ) -> Result<Box<dyn Attached>, ShadowError> {
        Ok(Box::new(self.inside()?.start_on_terminal(command, size)?))
    }

    fn root(&self) -> Result<OwnedFd, ShadowError> {
        self.inside()?
            .root()
            .map_err(|source| ShadowError::System { doing: "open the root".to_owned(), source })
    }

    fn freeze(&self) -> Result<(), ShadowError> {
        self.set_frozen(true)
    }

    fn thaw(&self) -> Result<(), ShadowError> {
        self.set_frozen(false)
    }

    fn destroy(&self) -> Result<(), ShadowError> {
        let Some(life) = self.life().take() else { return Ok(()) };
        // The group's processes are killed and waited for; what else belongs to the shadow goes as
        // it is dropped.
        life.grounds.group.remove().map_err(|source| ShadowError::System {
            doing: format!("remove {}", self.name),
            source,
        })
    }
}

impl Drop for QemuShadow {
    fn drop(&mut self) {
        if let Err(error) = self.destroy() {
            tracing::error!(shadow = self.name, %error, "could not remove a shadow");
        }
    }
}
