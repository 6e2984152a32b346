//! What a guest is told to do beside running commands.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::network::Place;
use crate::run::{RunEvent, RunRequest};

/// The name of the virtio-serial port between host and guest.
pub const PORT: &str = "umbra";

/// The tag of the directory that the host shares, in which roots are.
pub const SHARE_TAG: &str = "views";

/// The serial number of the disk with a root on it.
pub const ROOT_DISK: &str = "root";

/// What a channel is opened for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Opening {
    /// A command in the current view.
    Run(RunRequest),
    /// A connection from inside.
    Connect(SocketAddr),
    /// Something for the guest itself.
    Order(Order),
}

/// What is told on a channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Told {
    /// Of a command.
    Run(RunEvent),
    /// The connection is there.
    Connected,
    /// It is not; the kernel's number says why.
    Refused(i32),
    /// What became of an order.
    Done(Answer),
}

/// What became of an order.
pub type Answer = Result<(), Failure>;

/// Something for the guest itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Order {
    /// Say that you are there.
    Hello,
    /// Be this machine: the one you were before you were copied has another name.
    Be(Identity),
    /// End the view there is, and show another one.
    View(View),
    /// Become the image's own system. There is no way back but a reset.
    Boot(View),
}

/// What makes one machine another than its copy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// Nanoseconds since 1970.
    pub now_ns: u64,
    /// What the machine is called.
    pub hostname: String,
    /// What `/etc/machine-id` is to say, where there is one.
    pub machine_id: String,
    /// Fresh random bytes, for a kernel that may have drawn from the same pool as its copies.
    pub entropy: Vec<u8>,
    /// Its place in a network, if it has one.
    pub network: Option<Place>,
}

/// Where a root is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Root {
    /// In the shared directory, under this name.
    Shared(String),
    /// On the disk [`ROOT_DISK`], which is only read; what is written stays in memory.
    Disk,
}

/// A root to show, and what its processes find around them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Where it is.
    pub root: Root,
    /// What the machine is called.
    pub hostname: String,
    /// The size of /dev/shm.
    pub shm_bytes_max: u64,
    /// Memory of the view.
    pub memory_bytes_max: Option<u64>,
    /// Processes and threads of the view.
    pub pids_max: Option<u32>,
}
