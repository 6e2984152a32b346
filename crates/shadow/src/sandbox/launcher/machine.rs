//! Keeps a virtual machine: shows roots in the directory it shares with this one, and is the parent
//! of the programs it is made of, so that nothing of it outlives this process.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::mount::{MountPropagationFlags, UnmountFlags};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use umbra_guest::mounts::attach;
use umbra_guest::{exec, sys};
use umbra_state::command::DEFAULT_PATH;
use umbra_store::overlay::Mounter;

use super::end_with_parent;
use super::keeper::{not_mounted, private_mounts, writable};
use super::namespaces::Namespaces;
use crate::qemu::inherited;
use crate::sandbox::net;
use crate::sandbox::wire::{
    self, Doing, Failure, KeeperHello, MachineReply, MachineRequest, MachineSpec, PassedFile,
    ProgramsSpec, SHARED, ShareSpec,
};

/// How long a program may take that is run to its end.
const RUN_TIME_MAX: Timespec = Timespec { tv_sec: 600, tv_nsec: 0 };

/// Where QEMU finds the shared directory's server.
const SERVER: &str = "server.sock";

/// Serves one machine until its socket closes.
pub(super) fn run(socket: &OwnedFd, spec: &MachineSpec) -> io::Result<()> {
    let mut keeper = match Keeper::open(spec) {
        Ok(keeper) => keeper,
        Err(failure) => return wire::send(socket, &KeeperHello::Failed(failure), &[]),
    };
    wire::send(socket, &KeeperHello::Ready, &[])?;
    while let Some((request, fds)) = wire::receive::<MachineRequest>(socket)? {
        let done = match request {
            MachineRequest::Show(share) => show(&share, fds).map(Some),
            MachineRequest::Hide(name) => hide(&name).map(|()| None),
            MachineRequest::Run(arguments) => keeper.run(&arguments, fds).map(|()| None),
            MachineRequest::Begin(programs) => keeper.begin(&programs, fds).map(|()| None),
        };
        match done {
            Ok(root) => {
                let fds: Vec<_> = root.iter().map(AsFd::as_fd).collect();
                wire::send(socket, &MachineReply::Done, &fds)?;
            }
            Err(failure) => wire::send(socket, &MachineReply::Failed(failure), &[])?,
        }
    }
    keeper.end();
    Ok(())
}

struct Keeper<'a> {
    spec: &'a MachineSpec,
    /// A network namespace with nothing in it, in which the programs are.
    nowhere: OwnedFd,
    /// Frames of the machine; whoever holds it holds its interface.
    tap: Option<OwnedFd>,
    programs: Vec<Pid>,
}

impl<'a> Keeper<'a> {
    fn open(spec: &'a MachineSpec) -> Result<Self, Failure> {
        for procs in &spec.cgroups {
            fs::write(procs, "0").doing(|| format!("join control group {}", procs.display()))?;
        }
        private_mounts(&spec.scratch)?;
        // What is shown later is to be seen by the server, which has mounts of its own.
        rustix::mount::mount_change(".", MountPropagationFlags::SHARED)
            .doing(|| "share a directory's mounts".to_owned())?;
        fs::create_dir(SHARED).doing(|| "make the shared directory".to_owned())?;
        let nowhere = Namespaces::empty_network()?;
        let tap = spec.port.as_ref().map(net::plug_tap).transpose()?;
        Ok(Self { spec, nowhere, tap, programs: Vec::new() })
    }

    fn begin(&mut self, programs: &ProgramsSpec, fds: Vec<OwnedFd>) -> Result<(), Failure> {
        self.end();
        let doing = || "begin a machine".to_owned();
        let mut fds = fds.into_iter();
        let mut next = || wire::take_fd(&mut fds).doing(doing);
        let (monitor, port, console) = (next()?, next()?, next()?);
        let open = |file: &PassedFile| {
            let opened =
                File::open(&file.path).doing(|| format!("open {}", file.path.display()))?;
            Ok((file.number, opened))
        };
        let files = programs.files.iter().map(open).collect::<Result<Vec<_>, Failure>>()?;
        let mut passed = vec![
            (inherited::MONITOR, monitor.as_fd()),
            (inherited::PORT, port.as_fd()),
            (inherited::CONSOLE, console.as_fd()),
            // What QEMU itself has to say is wanted where the guest says nothing.
            (inherited::ERRORS, console.as_fd()),
        ];
        passed.extend(files.iter().map(|(number, file)| (*number, file.as_fd())));
        let server = programs.server.as_ref().map(|_| connect_server()).transpose()?;
        if let (Some(arguments), Some((listener, client))) = (&programs.server, &server) {
            let its = [(inherited::SERVER, listener.as_fd()), (inherited::ERRORS, console.as_fd())];
            let server = self.start(arguments, &its, None)?;
            self.programs.push(server);
            passed.push((inherited::SHARE, client.as_fd()));
        }
        if let Some(tap) = &self.tap {
            passed.push((inherited::TAP, tap.as_fd()));
        }
        let machine = self.start(&programs.machine, &passed, Some(self.spec.user))?;
        self.programs.push(machine);
        Ok(())
    }

    /// Runs a program to its end.
    fn run(&self, arguments: &[String], fds: Vec<OwnedFd>) -> Result<(), Failure> {
        let doing = || format!("run {}", arguments.first().map_or("nothing", String::as_str));
        let said = wire::take_fd(&mut fds.into_iter()).doing(doing)?;
        let pid = self.start(arguments, &[(inherited::ERRORS, said.as_fd())], None)?;
        let ends = rustix::process::pidfd_open(pid, PidfdFlags::empty()).doing(doing)?;
        let mut ended = [PollFd::new(&ends, PollFlags::IN)];
        let late = rustix::io::retry_on_intr(|| poll(&mut ended, Some(&RUN_TIME_MAX)));
        if late.doing(doing)? == 0 {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
        let status =
            rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(pid), WaitOptions::empty()));
        match status.doing(doing)?.and_then(|(_, status)| status.exit_status()) {
            Some(0) => Ok(()),
            _ => Err(Failure::new(doing(), &io::Error::from(rustix::io::Errno::CANCELED))),
        }
    }

    /// Starts a program that ends with this process; as nobody, where a user is given.
    fn start(
        &self,
        arguments: &[String],
        passed: &[(i32, BorrowedFd<'_>)],
        user: Option<u32>,
    ) -> Result<Pid, Failure> {
        let doing = || format!("start {}", arguments.first().map_or("nothing", String::as_str));
        let started = exec::start_process(|| self.become_program(arguments, passed, user));
        let pid = started.doing(doing)??;
        let gone = || Failure::new(doing(), &io::Error::from(rustix::io::Errno::SRCH));
        Pid::from_raw(pid).ok_or_else(gone)
    }

    fn become_program(
        &self,
        arguments: &[String],
        passed: &[(i32, BorrowedFd<'_>)],
        user: Option<u32>,
    ) -> Failure {
        let set_up = || -> Result<(CString, Vec<CString>, Vec<CString>), Failure> {
            let doing = || "prepare a program".to_owned();
            sys::reset_signals();
            move_into_link_name_space(self.nowhere.as_fd(), Some(LinkNameSpaceType::Network))
                .doing(doing)?;
            sys::set_oom_score("0").doing(doing)?;
            pass(passed).doing(doing)?;
            if let Some(user) = user {
                let kvm = fs::metadata("/dev/kvm").map(|kvm| kvm.gid()).ok();
                sys::set_ids(user, user, kvm.as_slice()).doing(doing)?;
                rustix::thread::set_no_new_privs(true).doing(doing)?;
            }
            end_with_parent().doing(doing)?;
            let text = |value: &String| CString::new(value.as_str()).map_err(io::Error::from);
            let argv: Vec<_> = arguments.iter().map(text).collect::<Result<_, _>>().doing(doing)?;
            let program = argv.first().cloned().unwrap_or_default();
            let path = text(&format!("PATH={DEFAULT_PATH}")).doing(doing)?;
            Ok((program, argv, vec![path]))
        };
        match set_up() {
            Ok((program, argv, env)) => {
                let error = sys::exec(&program, &argv, &env);
                Failure::new(format!("start {}", program.to_string_lossy()), &error)
            }
            Err(failure) => failure,
        }
    }

    fn end(&mut self) {
        for pid in &self.programs {
            let _ = rustix::process::kill_process(*pid, Signal::KILL);
        }
        for pid in self.programs.drain(..) {
            let _ = rustix::io::retry_on_intr(|| {
                rustix::process::waitpid(Some(pid), WaitOptions::empty())
            });
        }
    }
}

/// A socket for the server to listen on, and QEMU's connection to it.
fn connect_server() -> Result<(UnixListener, UnixStream), Failure> {
    let doing = || "connect a machine to its shared directory".to_owned();
    let _ = fs::remove_file(SERVER);
    let listener = UnixListener::bind(SERVER).doing(doing)?;
    let client = UnixStream::connect(SERVER).doing(doing)?;
    Ok((listener, client))
}

/// Gives descriptors their numbers. What stood there is not used any more.
fn pass(passed: &[(i32, BorrowedFd<'_>)]) -> io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    for number in 0..2 {
        sys::become_number(null.as_fd(), number)?;
    }
    let mut away = Vec::new();
    for (number, fd) in passed {
        away.push((*number, rustix::io::fcntl_dupfd_cloexec(fd, exec::FREE_FD)?));
    }
    for (number, fd) in &away {
        sys::become_number(fd.as_fd(), *number)?;
    }
    Ok(())
}

/// Mounts a root and shows it.
fn show(share: &ShareSpec, image: Vec<OwnedFd>) -> Result<OwnedFd, Failure> {
    let place = place_of(&share.name)?;
    let here = Path::new(".");
    let mounted = writable(&share.writes).and_then(|writable| {
        let image = image.into_iter().next();
        Mounter::new().mount(&share.layers, image, Some(writable), here, None)
    });
    let mount = mounted.map_err(not_mounted)?;
    fs::create_dir(&place).doing(|| format!("make {place}"))?;
    attach(&mount, &place)?;
    let flags =
        rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    rustix::fs::openat(&mount, ".", flags, rustix::fs::Mode::empty())
        .doing(|| "open the root".to_owned())
}

fn hide(name: &str) -> Result<(), Failure> {
    let place = place_of(name)?;
    rustix::mount::unmount(&*place, UnmountFlags::DETACH).doing(|| format!("unmount {place}"))?;
    fs::remove_dir(&place).doing(|| format!("remove {place}"))
}

fn place_of(name: &str) -> Result<String, Failure> {
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        let error = io::Error::from(rustix::io::Errno::INVAL);
        return Err(Failure::new("show what has no name", &error));
    }
    Ok(format!("{SHARED}/{name}"))
}
