//! The image's own system as the machine's first process. What commands are asked for is started
//! by an attendant beside it.

use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use rustix::mount::{MountPropagationFlags, UnmountFlags};
use rustix::thread::CapabilitySet;
use umbra_state::command::DEFAULT_PATH;

use super::root;
use crate::SYSTEMD;
use crate::failure::{Doing, Failure};
use crate::init;
use crate::order::{Answer, Order, View};
use crate::sys::{self, Fork};
use crate::wire;

/// What the machine itself would start.
const INIT: &str = "/sbin/init";

/// Becomes the system that `view` has, after saying so on `orders`. Returns only to say why it
/// could not.
pub(super) fn boot(view: &View, orders: &OwnedFd) -> Failure {
    match become_system(view, orders) {
        Ok(never) => match never {},
        Err(failure) => failure,
    }
}

fn become_system(view: &View, orders: &OwnedFd) -> Result<Infallible, Failure> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).doing(|| "make mounts private".to_owned())?;
    let top = root::attach_view(&view.root)?;
    root::place(&top, "proc", "proc", &[])?;
    root::place(&top, "sys", "sysfs", &[])?;
    root::place(&top, "dev", "devtmpfs", &[])?;
    for hidden in ["/sys/fs/cgroup", "/sys", "/proc", "/dev"] {
        // The system has its own; these would only keep what they show in use.
        let _ = rustix::mount::unmount(hidden, UnmountFlags::DETACH);
    }
    root::enter()?;
    rustix::system::sethostname(view.hostname.as_bytes())
        .doing(|| "set the host name".to_owned())?;
    let program = std::iter::once(INIT)
        .chain(SYSTEMD)
        .find(|path| rustix::fs::access(*path, rustix::fs::Access::EXEC_OK).is_ok())
        .ok_or_else(|| {
            Failure::new(
                "find the image's own system (systemd-sysv)",
                &rustix::io::Errno::NOENT.into(),
            )
        })?;
    let attendant = start_attendant()?;
    let booting: Answer = Ok(());
    start_steward(orders)?;
    wire::send(orders, &booting, &[attendant.as_fd()]).doing(|| "answer the host".to_owned())?;
    drop(attendant);
    sys::reset_signals();
    let text = |value: &str| CString::new(value).unwrap_or_default();
    let env = [format!("PATH={DEFAULT_PATH}"), "TERM=linux".to_owned()].map(|value| text(&value));
    let error = sys::exec(&text(program), &[text(program)], &env);
    Err(Failure::new(format!("start {program}"), &error))
}

/// Forks the process that carries out what concerns the machine from here on.
fn start_steward(orders: &OwnedFd) -> Result<(), Failure> {
    match sys::fork(0).doing(|| "start the steward".to_owned())? {
        Fork::Parent(_) => Ok(()),
        Fork::Child => {
            let _ = rustix::process::setsid();
            let _ = sys::set_oom_score("-900");
            while let Ok(Some((order, _))) = wire::receive::<Order>(orders) {
                let answer: Answer = super::about_itself(&order, None);
                if wire::send(orders, &answer, &[]).is_err() {
                    break;
                }
            }
            sys::exit(0)
        }
    }
}

/// Forks the process that runs commands, in the view's root.
fn start_attendant() -> Result<OwnedFd, Failure> {
    let doing = || "start the attendant".to_owned();
    let (ours, theirs) = wire::pair().doing(doing)?;
    match sys::fork(0).doing(doing)? {
        Fork::Parent(_) => Ok(theirs),
        Fork::Child => {
            drop(theirs);
            let _ = rustix::process::setsid();
            let _ = sys::set_oom_score("-900");
            sys::exit(i32::from(init::serve(&ours, CapabilitySet::all()).is_err()))
        }
    }
}
