//! What the daemon, the launcher, a shadow's keeper and its init say to one another.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
pub(crate) use umbra_guest::failure::{Doing, Failure};
pub(crate) use umbra_guest::wire::{pair, receive, send, take_fd};
use umbra_store::overlay::Layers;

/// From the launcher, once: it may make shadows, or why not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum LauncherHello {
    Ready,
    Failed(Failure),
}

/// To the launcher, with the keeper's end of a socket: start a keeper.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Keep {
    /// Of views on this machine's kernel.
    Views(KeeperSpec),
    /// Of a virtual machine.
    Machine(MachineSpec),
}

/// A keeper of a virtual machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct MachineSpec {
    /// As of [`KeeperSpec`].
    pub(crate) scratch: PathBuf,
    /// As of [`KeeperSpec`].
    pub(crate) cgroups: Vec<PathBuf>,
    /// Where frames of the machine go.
    pub(crate) port: Option<super::net::Port>,
    /// The user and group that the machine runs as, nobody's on this one.
    pub(crate) user: u32,
}

/// The directory that a machine shares with this one, in its keeper's scratch directory, which is
/// where that is.
pub(crate) const SHARED: &str = "views";

/// To a machine's keeper.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum MachineRequest {
    /// Show these layers in the shared directory under this name, with the mounted image of their
    /// base, if they have one. The answer carries the root.
    Show(ShareSpec),
    /// Do not show that any more.
    Hide(String),
    /// Run a program to its end that sees the shared directory, with a descriptor for what it
    /// says.
    Run(Vec<String>),
    /// End the machine that runs, if one does, and begin this one; with its monitor, port and
    /// console.
    Begin(ProgramsSpec),
}

/// A root in the shared directory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ShareSpec {
    pub(crate) name: String,
    pub(crate) layers: Layers,
    pub(crate) writes: Writes,
}

/// The programs a machine is made of. Descriptors are inherited under the numbers of
/// [`crate::qemu::inherited`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ProgramsSpec {
    /// QEMU, with arguments.
    pub(crate) machine: Vec<String>,
    /// What serves the shared directory, with arguments, if anything does.
    pub(crate) server: Option<Vec<String>>,
    /// Files it has, whoever may walk to them.
    pub(crate) files: Vec<PassedFile>,
}

/// A file that a program has open.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PassedFile {
    /// By which it knows it.
    pub(crate) number: i32,
    pub(crate) path: PathBuf,
}

/// A machine's keeper's answer to each request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum MachineReply {
    /// With the root, where one is shown.
    Done,
    Failed(Failure),
}

/// A keeper of views.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeeperSpec {
    /// The shadow's name, for its host name and the process list.
    pub(crate) name: String,
    /// An existing empty directory of the shadow's own, on which layers are attached.
    pub(crate) scratch: PathBuf,
    /// `cgroup.procs` files the keeper joins.
    pub(crate) cgroups: Vec<PathBuf>,
    /// First host uid and gid of a user namespace; `None` for none.
    pub(crate) ids_base: Option<u32>,
    /// The network it gets.
    pub(crate) network: KeeperNetwork,
    /// Which rights its views' commands have.
    pub(crate) profile: Profile,
    /// A control group of version 2 in which images' own systems get theirs: for
    /// [`Profile::System`].
    pub(crate) systems: Option<PathBuf>,
}

/// A keeper's network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum KeeperNetwork {
    /// The machine's own (build steps that fetch packages).
    Host,
    /// Loopback only.
    Loopback,
    /// A port on the fenced bridge.
    Port(super::net::Port),
}

/// From a keeper, once: it is ready for views, with its network namespace unless that is the
/// machine's; or why not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum KeeperHello {
    Ready,
    Failed(Failure),
}

/// To a keeper.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum KeeperRequest {
    /// End what runs and show this instead, with the mounted image of the layers' base, if it
    /// has one. The answer carries the init's socket and the root.
    View(ViewSpec),
    /// End what runs.
    Close,
}

/// A keeper's answer to each request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum KeeperReply {
    /// With descriptors: the init's socket, the root directory.
    Viewed,
    /// The view is gone, all its processes have ended.
    Closed,
    Failed(Failure),
}

/// A root to show and the processes' surroundings in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ViewSpec {
    pub(crate) layers: Layers,
    pub(crate) writes: Writes,
    /// The size of /dev/shm.
    pub(crate) shm_bytes_max: u64,
    pub(crate) hostname: String,
    /// Host directories and files shown inside.
    pub(crate) binds: Vec<Bind>,
}

/// From a keeper to an init that stands by, with the root, which is attached nowhere; what is
/// bound into it follows, one message each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct InitOrder {
    pub(crate) hostname: String,
    pub(crate) shm_bytes_max: u64,
    pub(crate) binds: Vec<Bind>,
}

/// Where a view's writes go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Writes {
    /// Memory of the view's own, gone with it; at most so many bytes, or half the machine's.
    Memory { bytes_max: Option<u64> },
    /// Directories on disk: both exist, empty, side by side.
    Dirs { upper: PathBuf, work: PathBuf },
}

/// A host path shown inside a view.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bind {
    pub(crate) source: PathBuf,
    /// Absolute path inside; made if missing.
    pub(crate) target: String,
    pub(crate) read_only: bool,
    pub(crate) required: bool,
}

/// Which rights a view's commands have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Profile {
    /// A build step: root enough to install packages, no way to the kernel or to devices.
    Builder,
    /// A shadow: as a container's root, and no new privileges.
    Shadow,
    /// A shadow whose image brings its own systemd, which mounts and administers within the
    /// shadow's own namespaces.
    System,
}

/// From an init, once: it is ready for commands, or why not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum InitHello {
    Up,
    /// With its console's descriptor: the image's own systemd has begun to start it.
    Booting,
    Failed(Failure),
}
