//! Keeps what of a shadow outlives its views: control groups, user namespace, network. Mounts
//! each view's root on the host's side and starts an init in it.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::process::{Pid, Signal, WaitOptions};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};
use umbra_store::overlay::{self, MountError, Writable};

use super::end_with_parent;
use super::sys::{self, Fork};
use super::view::{self, Surroundings};
use crate::sandbox::net;
use crate::sandbox::wire::{
    self, Doing, Failure, KeeperHello, KeeperNetwork, KeeperReply, KeeperRequest, KeeperSpec,
    ViewSpec, Writes,
};

/// Serves one shadow until its socket closes.
pub(super) fn run(socket: &OwnedFd, spec: &KeeperSpec) -> io::Result<()> {
    let mut keeper = match Keeper::open(spec) {
        Ok(keeper) => keeper,
        Err(failure) => return wire::send(socket, &KeeperHello::Failed(failure), &[]),
    };
    let netns: Vec<_> = keeper.netns.iter().map(AsFd::as_fd).collect();
    wire::send(socket, &KeeperHello::Ready, &netns)?;
    while let Some((request, _)) = wire::receive::<KeeperRequest>(socket)? {
        keeper.end_view();
        match request {
            KeeperRequest::Close => wire::send(socket, &KeeperReply::Closed, &[])?,
            KeeperRequest::View(view) => match keeper.show(&view) {
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

struct Keeper<'a> {
    spec: &'a KeeperSpec,
    userns: Option<OwnedFd>,
    netns: Option<OwnedFd>,
    init: Option<i32>,
    images: overlay::Images,
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
        let (userns, netns) = own_namespaces(spec)?;
        if let Some(netns) = &netns {
            let port = match &spec.network {
                KeeperNetwork::Port(port) => Some(port),
                KeeperNetwork::Loopback | KeeperNetwork::Host => None,
            };
            net::set_up(netns.as_fd(), port)?;
        }
        if userns.is_some() {
            // Mounting on behalf of the shadow's root takes its file ids with our rights.
            let keep = rustix::thread::CapabilitiesSecureBits::NO_SETUID_FIXUP;
            rustix::thread::set_capabilities_secure_bits(keep)
                .doing(|| "keep rights while using other file ids".to_owned())?;
        }
        Ok(Self { spec, userns, netns, init: None, images: overlay::Images::default() })
    }

    /// Mounts the root and starts its init.
    fn show(&mut self, view: &ViewSpec) -> Result<Shown, Failure> {
        let mount = self.mount_root(view)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(&mount, ".", flags, Mode::empty())
            .doing(|| "open the root".to_owned())?;
        let (ours, theirs) = wire::pair().doing(|| "make a socket for the init".to_owned())?;
        let surroundings = Surroundings {
            view,
            mount,
            userns: self.userns.as_ref().map(AsFd::as_fd),
            netns: self.netns.as_ref().map(AsFd::as_fd),
        };
        self.init = Some(start_init(&surroundings, theirs)?);
        Ok(Shown { init: ours, root })
    }

    fn mount_root(&mut self, view: &ViewSpec) -> Result<OwnedFd, Failure> {
        let place = WritePlace::open(&view.writes, &self.spec.scratch)?;
        let writable = Writable { upper: &place.upper, work: &place.work };
        let userns = self.userns.as_ref().map(AsFd::as_fd);
        if let (Some(_), Some(base)) = (userns, self.spec.ids_base) {
            sys::set_filesystem_ids(base);
        }
        let scratch = &self.spec.scratch;
        let mounted =
            overlay::mount_with(&mut self.images, &view.layers, Some(writable), scratch, userns);
        sys::set_filesystem_ids(0);
        // Other file ids made the kernel forget whose end this process follows, and a frozen
        // one does not see its socket close.
        end_with_parent().doing(|| "follow the launcher's end".to_owned())?;
        mounted.map_err(|error| match error {
            MountError::Step { doing, source } => Failure::new(doing, &source),
            other => Failure::new(other.to_string(), &io::Error::from(rustix::io::Errno::ROFS)),
        })
    }

    /// Ends the init, and with it every process of the view, and waits until they are gone.
    fn end_view(&mut self) {
        let Some(pid) = self.init.take().and_then(Pid::from_raw) else { return };
        // Both can only fail because the init has ended already.
        let _ = rustix::process::kill_process(pid, Signal::KILL);
        let _ = rustix::io::retry_on_intr(|| {
            rustix::process::waitpid(Some(pid), WaitOptions::from_bits_retain(libc::__WALL as u32))
        });
    }
}

/// Where one view writes. Memory stays attached until this is dropped: the overlay over it keeps
/// it as long as it is needed.
struct WritePlace {
    upper: PathBuf,
    work: PathBuf,
    memory: Option<PathBuf>,
}

impl WritePlace {
    fn open(writes: &Writes, scratch: &Path) -> Result<Self, Failure> {
        let bytes_max = match writes {
            Writes::Dirs { upper, work } => {
                return Ok(Self { upper: upper.clone(), work: work.clone(), memory: None });
            }
            Writes::Memory { bytes_max } => bytes_max,
        };
        let doing = || "mount memory for a view's writes".to_owned();
        let point = scratch.join("writes");
        fs::create_dir_all(&point).doing(doing)?;
        let size = bytes_max.map_or("50%".to_owned(), |bytes| bytes.to_string());
        let options = CString::new(format!("mode=0755,size={size}")).unwrap_or_default();
        rustix::mount::mount("writes", &point, "tmpfs", MountFlags::empty(), &*options)
            .doing(doing)?;
        let (upper, work) = (point.join("upper"), point.join("work"));
        let place = Self { upper, work, memory: Some(point) };
        for dir in [&place.upper, &place.work] {
            fs::create_dir(dir).doing(doing)?;
        }
        Ok(place)
    }
}

impl Drop for WritePlace {
    fn drop(&mut self) {
        if let Some(point) = &self.memory {
            // It goes with the keeper's mounts at the latest.
            let _ = rustix::mount::unmount(point, UnmountFlags::DETACH);
        }
    }
}

/// Makes mounts of this process invisible to everybody else's namespaces, and gives it a place
/// of its own to attach layers.
fn private_mounts(scratch: &Path) -> Result<(), Failure> {
    // SAFETY: this process has one thread; it only gets a copy of the mount table.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }
        .doing(|| "make a mount namespace".to_owned())?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).doing(|| "make mounts private".to_owned())?;
    rustix::mount::mount("umbra", scratch, "tmpfs", MountFlags::empty(), c"mode=0711")
        .doing(|| format!("mount a scratch directory at {}", scratch.display()))?;
    // Inits begin here: the place to which their root is attached.
    rustix::process::chdir(scratch).doing(|| format!("enter {}", scratch.display()))
}

/// A user and a network namespace, made by a short-lived child so that this process stays in
/// the host's.
fn own_namespaces(spec: &KeeperSpec) -> Result<(Option<OwnedFd>, Option<OwnedFd>), Failure> {
    let own_network = spec.network != KeeperNetwork::Host;
    let mut flags = 0;
    if spec.ids_base.is_some() {
        flags |= libc::CLONE_NEWUSER;
    }
    if own_network {
        flags |= libc::CLONE_NEWNET;
    }
    if flags == 0 {
        return Ok((None, None));
    }
    let (ours, theirs) = wire::pair().doing(|| "make a socket".to_owned())?;
    let pid = match sys::fork(flags).doing(|| "make namespaces".to_owned())? {
        Fork::Child => {
            drop(ours);
            // Stays until the parent has opened the namespaces and closes its end.
            let _ = wire::receive::<()>(&theirs);
            sys::exit(0)
        }
        Fork::Parent(pid) => pid,
    };
    drop(theirs);
    let opened = open_namespaces(pid, spec.ids_base, own_network);
    drop(ours);
    let _ = rustix::process::waitpid(Pid::from_raw(pid), WaitOptions::empty());
    opened
}

fn open_namespaces(
    pid: i32,
    ids_base: Option<u32>,
    own_network: bool,
) -> Result<(Option<OwnedFd>, Option<OwnedFd>), Failure> {
    let userns = ids_base.map(|base| open_user_namespace(pid, base)).transpose()?;
    let netns = own_network.then(|| open_namespace(pid, "net")).transpose()?;
    Ok((userns, netns))
}

/// Writes the id maps of a child's new user namespace and opens it.
pub(super) fn open_user_namespace(pid: i32, ids_base: u32) -> Result<OwnedFd, Failure> {
    // All ids there are but the last few: an owner without a counterpart would show as nobody,
    // and a shadow must show what the state says.
    let map = format!("0 {ids_base} {}", u32::MAX - ids_base);
    for file in ["uid_map", "gid_map"] {
        fs::write(format!("/proc/{pid}/{file}"), &map)
            .doing(|| format!("write the user namespace's {file}"))?;
    }
    open_namespace(pid, "user")
}

fn open_namespace(pid: i32, kind: &str) -> Result<OwnedFd, Failure> {
    let path = format!("/proc/{pid}/ns/{kind}");
    open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .doing(|| format!("open the {kind} namespace"))
}

/// Forks twice: the first child enters the existing namespaces, its child (of which this
/// process is the parent) gets new ones and becomes the view's init.
fn start_init(surroundings: &Surroundings<'_>, socket: OwnedFd) -> Result<i32, Failure> {
    let (ours, theirs) = wire::pair().doing(|| "make a socket".to_owned())?;
    let pid = match sys::fork(0).doing(|| "fork an init".to_owned())? {
        Fork::Child => {
            drop(ours);
            let forked = enter_and_fork(surroundings, socket);
            let _ = wire::send(&theirs, &forked, &[]);
            sys::exit(0)
        }
        Fork::Parent(pid) => pid,
    };
    drop(theirs);
    let answer = wire::receive::<Result<i32, Failure>>(&ours);
    let _ = rustix::process::waitpid(Pid::from_raw(pid), WaitOptions::empty());
    match answer {
        Ok(Some((forked, _))) => forked,
        Ok(None) => Err(Failure::new("start an init", &io::Error::from(rustix::io::Errno::PIPE))),
        Err(error) => Err(Failure::new("start an init", &error)),
    }
}

fn enter_and_fork(surroundings: &Surroundings<'_>, socket: OwnedFd) -> Result<i32, Failure> {
    if let Some(userns) = surroundings.userns {
        enter(userns, LinkNameSpaceType::User)?;
        sys::set_ids(0, 0, &[]).doing(|| "become root of the user namespace".to_owned())?;
    }
    if let Some(netns) = surroundings.netns {
        enter(netns, LinkNameSpaceType::Network)?;
    }
    let namespaces = libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP;
    match sys::fork(namespaces | libc::CLONE_PARENT).doing(|| "make namespaces".to_owned())? {
        Fork::Child => view::become_init(surroundings, &socket),
        Fork::Parent(pid) => Ok(pid),
    }
}

fn enter(namespace: BorrowedFd<'_>, kind: LinkNameSpaceType) -> Result<(), Failure> {
    move_into_link_name_space(namespace, Some(kind))
        .doing(|| format!("enter the {kind:?} namespace"))
}
