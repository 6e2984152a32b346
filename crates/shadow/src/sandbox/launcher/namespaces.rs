//! A shadow's lasting namespaces, and the inits that are started in them.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, WaitOptions};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::system_group::SystemGroup;
use super::view;
use crate::sandbox::wire::{self, Doing, Failure, KeeperNetwork, KeeperSpec, Profile};
use umbra_guest::sys::{self, Fork};

/// What outlives views.
pub(super) struct Namespaces {
    /// Absent where root inside is root outside.
    pub(super) user: Option<OwnedFd>,
    /// Absent where the network is the machine's.
    pub(super) net: Option<OwnedFd>,
}

/// An init that waits for its order.
pub(super) struct Standby {
    pub(super) pid: i32,
    /// The control group of the system it may become.
    pub(super) system: Option<SystemGroup>,
    /// Where it is told what to show, and later what to run.
    pub(super) socket: OwnedFd,
}

impl Namespaces {
    /// Made by a short-lived child, so that this process stays in the host's.
    pub(super) fn make(spec: &KeeperSpec) -> Result<Self, Failure> {
        Self::of(spec.ids_base, spec.network != KeeperNetwork::Host)
    }

    fn of(ids_base: Option<u32>, own_network: bool) -> Result<Self, Failure> {
        let mut flags = 0;
        if ids_base.is_some() {
            flags |= libc::CLONE_NEWUSER;
        }
        if own_network {
            flags |= libc::CLONE_NEWNET;
        }
        if flags == 0 {
            return Ok(Self { user: None, net: None });
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
        let opened = Self::open(pid, ids_base, own_network);
        drop(ours);
        let _ = rustix::process::waitpid(Pid::from_raw(pid), WaitOptions::empty());
        opened
    }

    fn open(pid: i32, ids_base: Option<u32>, own_network: bool) -> Result<Self, Failure> {
        let user = ids_base.map(|base| open_user_namespace(pid, base)).transpose()?;
        let net = own_network.then(|| open_namespace(pid, "net")).transpose()?;
        Ok(Self { user, net })
    }

    /// A network namespace with nothing in it.
    pub(super) fn empty_network() -> Result<OwnedFd, Failure> {
        let made = Self::of(None, true)?.net;
        made.ok_or_else(|| {
            let error = io::Error::from(rustix::io::Errno::NONET);
            Failure::new("make a network namespace", &error)
        })
    }

    /// Starts an init. Forks twice: the first child enters these namespaces, its child (of
    /// which this process is the parent) gets new ones and becomes the init.
    pub(super) fn start_init(
        &self,
        profile: Profile,
        system: Option<SystemGroup>,
    ) -> Result<Standby, Failure> {
        let doing = || "start an init".to_owned();
        let (socket, its_socket) = wire::pair().doing(doing)?;
        let (ours, theirs) = wire::pair().doing(doing)?;
        let pid = match sys::fork(0).doing(doing)? {
            Fork::Child => {
                drop((ours, socket));
                let joined = system.as_ref().map_or(Ok(()), SystemGroup::join);
                let forked = joined.and_then(|()| self.enter_and_fork(profile, &its_socket));
                let _ = wire::send(&theirs, &forked, &[]);
                sys::exit(0)
            }
            Fork::Parent(pid) => pid,
        };
        drop((theirs, its_socket));
        let answer = wire::receive::<Result<i32, Failure>>(&ours).doing(doing);
        let _ = rustix::process::waitpid(Pid::from_raw(pid), WaitOptions::empty());
        match answer? {
            Some((forked, _)) => Ok(Standby { pid: forked?, system, socket }),
            None => Err(Failure::new(doing(), &io::Error::from(rustix::io::Errno::PIPE))),
        }
    }

    fn enter_and_fork(&self, profile: Profile, socket: &OwnedFd) -> Result<i32, Failure> {
        if let Some(user) = &self.user {
            enter(user.as_fd(), LinkNameSpaceType::User)?;
            sys::set_ids(0, 0, &[]).doing(|| "become root of the user namespace".to_owned())?;
        }
        if let Some(net) = &self.net {
            enter(net.as_fd(), LinkNameSpaceType::Network)?;
        }
        let namespaces = libc::CLONE_NEWNS
            | libc::CLONE_NEWPID
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWCGROUP;
        match sys::fork(namespaces | libc::CLONE_PARENT).doing(|| "make namespaces".to_owned())? {
            Fork::Child => view::become_init(profile, socket),
            Fork::Parent(pid) => Ok(pid),
        }
    }
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

fn enter(namespace: BorrowedFd<'_>, kind: LinkNameSpaceType) -> Result<(), Failure> {
    move_into_link_name_space(namespace, Some(kind))
        .doing(|| format!("enter the {kind:?} namespace"))
}
