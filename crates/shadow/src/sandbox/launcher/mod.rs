//! The process that makes shadows: small, single-threaded, forked from for every one of them.
//!
//! A daemon with threads cannot fork safely, and starting a program for each shadow would cost
//! more than the shadow. So the daemon starts this once and speaks to it over a socket:
//!
//! ```text
//!   daemon ──▶ launcher ──fork──▶ keeper of "web-1"   on the host: mounts roots, owns the
//!                        │          │                  user and network namespace
//!                        │          └─clone──▶ init    PID 1 inside: runs commands, reaps
//!                        └─fork──▶ keeper of "web-2" …
//! ```
//!
//! Every process ends when the one that speaks to it does, and a namespace's processes end with
//! their init: killing the daemon, however hard, ends all shadows. The launcher goes last and
//! removes what is no process: control groups, the bridge and its fence.

mod antechamber;
mod filter;
mod keeper;
mod machine;
mod namespaces;
mod rights;
mod system;
mod system_group;
mod view;

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use umbra_guest::sys::{self, Fork};

use super::cgroup::Hierarchies;
use super::net::{self, Bridge};
use super::tenancy::Tenancy;
use super::wire::{self, Failure, Keep, KeeperHello, LauncherHello};

/// The descriptor on which the launcher finds the daemon.
pub(crate) const LAUNCHER_FD: i32 = 3;

/// How long a killed daemon's launcher may take to clean up.
const PREDECESSOR_TIME_MAX: Duration = Duration::from_secs(20);

/// Serves the daemon until it goes away. This is the whole life of a launcher process: call it
/// first thing in `main`, before any thread exists. Returns the exit code.
pub fn main() -> i32 {
    // SAFETY: the daemon passed this descriptor for us to own; nothing else uses the number.
    let daemon = unsafe { OwnedFd::from_raw_fd(LAUNCHER_FD) };
    let owner = std::env::args().nth(2).filter(|owner| is_owner(owner));
    let (Some(owner), true) = (owner, rustix::io::fcntl_getfd(&daemon).is_ok()) else {
        eprintln!("error: the launcher is started by `umbra serve`, not by hand");
        return 2;
    };
    match prepare().and_then(|()| introduce(&daemon, &owner)) {
        Ok(tenancy) => {
            let served = serve(&daemon, &tenancy);
            // The daemon was killed, else it would have killed this process.
            remove_remains(&owner);
            report(served)
        }
        Err(error) => report(Err(error)),
    }
}

/// Whether this can be an owner's name: anything shorter would name the things of others.
fn is_owner(name: &str) -> bool {
    name.len() == 6 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn report(result: io::Result<()>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("error: the launcher failed: {error}");
            70
        }
    }
}

/// Takes the owner's name, waiting for a killed predecessor to have cleaned up.
fn introduce(daemon: &OwnedFd, owner: &str) -> io::Result<Tenancy> {
    match Tenancy::take(owner, PREDECESSOR_TIME_MAX) {
        Ok(tenancy) => {
            wire::send(daemon, &LauncherHello::Ready, &[])?;
            Ok(tenancy)
        }
        Err(error) => {
            let failure = Failure::new("take over from the launcher before", &error);
            wire::send(daemon, &LauncherHello::Failed(failure), &[])?;
            Err(error)
        }
    }
}

/// Removes what of a killed daemon's shadows stays after its processes: its successor would,
/// but there may be none on this directory.
fn remove_remains(owner: &str) {
    // From here on this is a process that waits for its children.
    sys::reset_signals();
    let groups = Hierarchies::probe().remove_others(owner, &BTreeSet::new());
    if let Err(error) = groups {
        eprintln!("error: could not remove the control groups of {owner}: {error}");
    }
    if let Err(failure) = Bridge::remove_remains(&net::bridge_name(owner)) {
        let error = io::Error::from_raw_os_error(failure.errno);
        eprintln!("error: could not {}: {error}", failure.doing);
    }
}

/// A user namespace with a shadow's id map. Its first process ends before this returns.
///
/// Safe to call from a process with threads: the child only waits and exits.
pub(crate) fn user_namespace(ids_base: u32) -> io::Result<OwnedFd> {
    let (ours, theirs) = io::pipe()?;
    match sys::fork(libc::CLONE_NEWUSER)? {
        Fork::Child => {
            // SAFETY: plain calls on a valid buffer; nothing here allocates or takes a lock.
            unsafe {
                libc::close(std::os::fd::AsRawFd::as_raw_fd(&theirs));
                let mut byte = 0u8;
                libc::read(std::os::fd::AsRawFd::as_raw_fd(&ours), (&raw mut byte).cast(), 1);
            }
            sys::exit(0)
        }
        Fork::Parent(pid) => {
            drop(ours);
            let opened = namespaces::open_user_namespace(pid, ids_base);
            drop(theirs);
            if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                let options = rustix::process::WaitOptions::empty();
                let _ = rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(pid), options));
            }
            opened.map_err(|failure| io::Error::from_raw_os_error(failure.errno))
        }
    }
}

fn serve(daemon: &OwnedFd, tenancy: &Tenancy) -> io::Result<()> {
    loop {
        let Some((spec, fds)) = wire::receive::<Keep>(daemon)? else { return Ok(()) };
        let socket = wire::take_fd(&mut fds.into_iter())?;
        match sys::fork(0) {
            Ok(Fork::Child) => {
                tenancy.leave_to_parent();
                keeper_process(daemon.as_fd(), socket, spec)
            }
            Ok(Fork::Parent(_)) => {}
            Err(error) => {
                let failure = Failure::new("fork a keeper", &error);
                wire::send(&socket, &KeeperHello::Failed(failure), &[])?;
            }
        }
    }
}

/// Once, before the first fork: what every descendant inherits.
fn prepare() -> io::Result<()> {
    // Not asked to end with its parent: that would be the thread that started it, and threads
    // of a daemon come and go. The socket's end tells of the process's.
    rustix::process::setsid().ok();
    // What a careless parent left open would otherwise be open in every shadow.
    sys::close_from(LAUNCHER_FD + 1)?;
    sys::ignore_children();
    // Inits must not be traced by those inside; this survives fork, and keepers and inits
    // never exec.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    // The default limit would let a shadow's programs open fewer files than on a machine.
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: files.maximum, maximum: files.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised)?;
    filter::Filter::compiled();
    // A shadow that eats its memory is to lose the eater, not its keeper or init.
    // Where this is refused they are judged by their size, which is small.
    let _ = sys::set_oom_score("-900");
    Ok(())
}

fn keeper_process(daemon: BorrowedFd<'_>, socket: OwnedFd, spec: Keep) -> ! {
    // The launcher's own socket must not stay open in a keeper: the launcher's end would not
    // be seen by the daemon.
    // SAFETY: this process never touches the number again; the parent's copy is another.
    unsafe { libc::close(std::os::fd::AsRawFd::as_raw_fd(&daemon)) };
    sys::reset_signals();
    let kept = end_with_parent().and_then(|()| match spec {
        Keep::Views(spec) => keeper::run(&socket, &spec),
        Keep::Machine(spec) => machine::run(&socket, &spec),
    });
    sys::exit(i32::from(kept.is_err()))
}

/// Asks the kernel to kill this process when its parent ends.
fn end_with_parent() -> io::Result<()> {
    let signal = Some(rustix::process::Signal::KILL);
    Ok(rustix::process::set_parent_process_death_signal(signal)?)
}
