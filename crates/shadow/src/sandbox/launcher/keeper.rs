//! Keeps what of a shadow outlives its views: control groups, user namespace, network. Mounts
//! each view's root on the host's side and orders an init into it.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::process::{Pid, Signal, WaitOptions};
use rustix::thread::UnshareFlags;
use umbra_store::overlay::{MountError, Mounter, Writable};

use super::namespaces::{Namespaces, Standby};
use super::system_group::SystemGroup;
use umbra_guest::mounts::copy_of;
use umbra_guest::sys;

use super::end_with_parent;
use crate::sandbox::net;
use crate::sandbox::wire::{
    self, Doing, Failure, InitOrder, KeeperHello, KeeperNetwork, KeeperReply, KeeperRequest,
    KeeperSpec, ViewSpec, Writes,
};

/// How long nothing must have been asked before the next init is made ready: it would take the
/// processor from what the last view was asked for.
const REST: Duration = Duration::from_millis(10);

/// Serves one shadow until its socket closes.
pub(super) fn run(socket: &OwnedFd, spec: &KeeperSpec) -> io::Result<()> {
    let mut keeper = match Keeper::open(spec) {
        Ok(keeper) => keeper,
        Err(failure) => return wire::send(socket, &KeeperHello::Failed(failure), &[]),
    };
    let netns: Vec<_> = keeper.namespaces.net.iter().map(AsFd::as_fd).collect();
    wire::send(socket, &KeeperHello::Ready, &netns)?;
    loop {
        if keeper.standby.is_none() && is_quiet(socket)? {
            // Whoever needs one that could not be made is told why.
            keeper.standby = keeper.start_init().ok();
        }
        let Some((request, fds)) = wire::receive::<KeeperRequest>(socket)? else { break };
        keeper.end_view();
        match request {
            KeeperRequest::Close => wire::send(socket, &KeeperReply::Closed, &[])?,
            KeeperRequest::View(view) => match keeper.show(&view, fds) {
                Ok(shown) => {
                    let fds = [shown.init.as_fd(), shown.root.as_fd()];
                    wire::send(socket, &KeeperReply::Viewed, &fds)?;
                }
                Err(failure) => wire::send(socket, &KeeperReply::Failed(failure), &[])?,
            },
        }
    }
    keeper.end_view();
    Ok(())
}

/// Whether nothing comes from the socket for a while.
fn is_quiet(socket: &OwnedFd) -> io::Result<bool> {
    let rest = Timespec { tv_sec: 0, tv_nsec: REST.subsec_nanos().into() };
    let mut fds = [PollFd::new(socket, PollFlags::IN)];
    Ok(rustix::io::retry_on_intr(|| poll(&mut fds, Some(&rest)))? == 0)
}

struct Keeper<'a> {
    spec: &'a KeeperSpec,
    namespaces: Namespaces,
    /// The init of the next view.
    standby: Option<Standby>,
    /// The process id of the current view's init, and the control group of its system.
    init: Option<(i32, Option<SystemGroup>)>,
    inits: u64,
}

struct Shown {
    init: OwnedFd,
    root: OwnedFd,
}

impl<'a> Keeper<'a> {
    fn open(spec: &'a KeeperSpec) -> Result<Self, Failure> {
        for procs in &spec.cgroups {
            fs::write(procs, "0").doing(|| format!("join control group {}", procs.display()))?;
        }
        private_mounts(&spec.scratch)?;
        let namespaces = Namespaces::make(spec)?;
        if let Some(netns) = &namespaces.net {
            let port = match &spec.network {
                KeeperNetwork::Port(port) => Some(port),
                KeeperNetwork::Loopback | KeeperNetwork::Host => None,
            };
            net::set_up(netns.as_fd(), port)?;
        }
        if namespaces.user.is_some() {
            // Mounting on behalf of the shadow's root takes its file ids with our rights.
            let keep = rustix::thread::CapabilitiesSecureBits::NO_SETUID_FIXUP;
            rustix::thread::set_capabilities_secure_bits(keep)
                .doing(|| "keep rights while using other file ids".to_owned())?;
        }
        let mut keeper = Self { spec, namespaces, standby: None, init: None, inits: 0 };
        keeper.standby = Some(keeper.start_init()?);
        Ok(keeper)
    }

    fn start_init(&mut self) -> Result<Standby, Failure> {
        self.inits += 1;
        let make = |group: &PathBuf| SystemGroup::make(group, self.inits, self.spec.ids_base);
        let system = self.spec.systems.as_ref().map(make).transpose()?;
        self.namespaces.start_init(self.spec.profile, system)
    }

    /// Mounts the root and sends an init into it.
    fn show(&mut self, view: &ViewSpec, image: Vec<OwnedFd>) -> Result<Shown, Failure> {
        let mount = self.mount_root(view, image.into_iter().next())?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(&mount, ".", flags, Mode::empty())
            .doing(|| "open the root".to_owned())?;
        let binds = view.binds.iter().map(|bind| copy_of(&bind.source));
        let binds = binds.collect::<Result<Vec<_>, _>>()?;
        let order = InitOrder {
            hostname: view.hostname.clone(),
            shm_bytes_max: view.shm_bytes_max,
            binds: view.binds.clone(),
        };
        let doing = || "order an init".to_owned();
        let order = |init: &Standby| wire::send(&init.socket, &order, &[mount.as_fd()]);
        let init = match self.standby.take() {
            // One that waited may have been killed, when memory was short.
            Some(standby) if order(&standby).is_ok() => standby,
            _ => {
                let fresh = self.start_init()?;
                order(&fresh).doing(doing)?;
                fresh
            }
        };
        self.init = Some((init.pid, init.system));
        for bind in &binds {
            wire::send(&init.socket, &(), &[bind.as_fd()]).doing(doing)?;
        }
        Ok(Shown { init: init.socket, root })
    }

    fn mount_root(&self, view: &ViewSpec, image: Option<OwnedFd>) -> Result<OwnedFd, Failure> {
        let writable = writable(&view.writes);
        let userns = self.namespaces.user.as_ref().map(AsFd::as_fd);
        let mounted = writable.and_then(|writable| {
            if let (Some(_), Some(base)) = (userns, self.spec.ids_base) {
                sys::set_filesystem_ids(base);
            }
            // The scratch directory, wherever it may have been moved.
            let here = Path::new(".");
            let mounted = Mounter::new().mount(&view.layers, image, Some(writable), here, userns);
            sys::set_filesystem_ids(0);
            mounted
        });
        // Other file ids made the kernel forget whose end this process follows, and a frozen
        // one does not see its socket close.
        end_with_parent().doing(|| "follow the launcher's end".to_owned())?;
        mounted.map_err(not_mounted)
    }

    /// Ends the init, and with it every process of the view, and waits until they are gone.
    fn end_view(&mut self) {
        let Some((pid, system)) = self.init.take() else { return };
        let Some(pid) = Pid::from_raw(pid) else { return };
        // Both can only fail because the init has ended already.
        let _ = rustix::process::kill_process(pid, Signal::KILL);
        let _ = rustix::io::retry_on_intr(|| {
            rustix::process::waitpid(Some(pid), WaitOptions::from_bits_retain(libc::__WALL as u32))
        });
        drop(system);
    }
}

/// Where an overlay writes.
pub(super) fn writable(writes: &Writes) -> Result<Writable, MountError> {
    match writes {
        Writes::Dirs { upper, work } => Writable::dirs(upper, work),
        Writes::Memory { bytes_max } => Writable::memory(*bytes_max),
    }
}

pub(super) fn not_mounted(error: MountError) -> Failure {
    match error {
        MountError::Step { doing, source } => Failure::new(doing, &source),
        other => Failure::new(other.to_string(), &io::Error::from(rustix::io::Errno::ROFS)),
    }
}

/// Makes mounts of this process invisible to everybody else's namespaces, and gives it a place
/// of its own to attach layers.
pub(super) fn private_mounts(scratch: &Path) -> Result<(), Failure> {
    // SAFETY: this process has one thread; it only gets a copy of the mount table.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }
        .doing(|| "make a mount namespace".to_owned())?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).doing(|| "make mounts private".to_owned())?;
    rustix::mount::mount("umbra", scratch, "tmpfs", MountFlags::empty(), c"mode=0711")
        .doing(|| format!("mount a scratch directory at {}", scratch.display()))?;
    // Inits begin here: the place to which their antechamber is attached.
    rustix::process::chdir(scratch).doing(|| format!("enter {}", scratch.display()))
}
