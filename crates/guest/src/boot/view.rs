//! A view with a first process of ours: everything in it ends with that.

use std::os::fd::OwnedFd;

use rustix::fs::{FileType, Mode, mknodat, symlinkat};
use rustix::mount::MountPropagationFlags;
use rustix::process::{Pid, Signal, WaitOptions};
use rustix::thread::CapabilitySet;

use super::group::Group;
use super::root;
use crate::failure::{Doing, Failure};
use crate::init;
use crate::mounts::{DEV_LINKS, DEVICES};
use crate::order::View;
use crate::sys::{self, Fork};
use crate::wire;

/// Their numbers, in the order of [`DEVICES`] (`Documentation/admin-guide/devices.txt`).
const NUMBERS: [(u32, u32); DEVICES.len()] = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0)];

/// The view that is shown. Dropping it ends it.
pub(super) struct Shown {
    pid: Option<Pid>,
    _group: Option<Group>,
}

impl Shown {
    /// Shows it; with the socket on which it is asked for commands.
    pub(super) fn new(view: &View) -> Result<(Self, OwnedFd), Failure> {
        let doing = || "start a view".to_owned();
        let group = Group::make(view)?;
        let (ours, theirs) = wire::pair().doing(doing)?;
        let flags =
            libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
        let pid = match sys::fork(flags).doing(doing)? {
            Fork::Child => {
                drop(ours);
                live(view, group.as_ref(), &theirs)
            }
            Fork::Parent(pid) => Pid::from_raw(pid),
        };
        drop(theirs);
        let shown = Self { pid, _group: group };
        match wire::receive::<Result<(), Failure>>(&ours).doing(doing)? {
            Some((made, _)) => made.map(|()| (shown, ours)),
            None => Err(Failure::new(doing(), &rustix::io::Errno::PIPE.into())),
        }
    }

    /// Its first process.
    pub(super) fn pid(&self) -> Option<Pid> {
        self.pid
    }

    pub(super) fn is(&self, pid: Pid) -> bool {
        self.pid == Some(pid)
    }

    /// It has ended, and been waited for.
    pub(super) fn ended(mut self) {
        self.pid = None;
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        let Some(pid) = self.pid.take() else { return };
        // It can only have ended already.
        let _ = rustix::process::kill_process(pid, Signal::KILL);
        let _ =
            rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(pid), WaitOptions::empty()));
    }
}

fn live(view: &View, group: Option<&Group>, socket: &OwnedFd) -> ! {
    // Where memory is short, what it runs goes first.
    let _ = sys::set_oom_score("-900");
    let made = set_up(view, group);
    let failed = made.is_err();
    let told = wire::send(socket, &made, &[]);
    if failed || told.is_err() {
        sys::exit(1)
    }
    sys::exit(i32::from(init::serve(socket, CapabilitySet::all()).is_err()))
}

fn set_up(view: &View, group: Option<&Group>) -> Result<(), Failure> {
    if let Some(group) = group {
        group.join().doing(|| "join a control group".to_owned())?;
    }
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).doing(|| "make mounts private".to_owned())?;
    rustix::system::sethostname(view.hostname.as_bytes())
        .doing(|| "set the host name".to_owned())?;
    let root = root::attach_view(&view.root)?;
    root::place(&root, "proc", "proc", &[])?;
    root::place(&root, "sys", "sysfs", &[])?;
    let dev = root::place(&root, "dev", "tmpfs", &[("mode", "0755"), ("size", "4m")])?;
    fill_dev(&dev, view.shm_bytes_max)?;
    root::enter()
}

fn fill_dev(dev: &OwnedFd, shm_bytes_max: u64) -> Result<(), Failure> {
    let doing = || "fill /dev".to_owned();
    for (name, (major, minor)) in DEVICES.into_iter().zip(NUMBERS) {
        let device = rustix::fs::makedev(major, minor);
        let mode = Mode::from_raw_mode(0o666);
        mknodat(dev, name, FileType::CharacterDevice, mode, device).doing(doing)?;
        rustix::fs::chmodat(dev, name, mode, rustix::fs::AtFlags::empty()).doing(doing)?;
    }
    for (target, name) in DEV_LINKS {
        symlinkat(target, dev, name).doing(doing)?;
    }
    let terminals = [("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")];
    root::place(dev, "pts", "devpts", &terminals)?;
    let size = shm_bytes_max.to_string();
    root::place(dev, "shm", "tmpfs", &[("mode", "1777"), ("size", &size)])?;
    Ok(())
}
