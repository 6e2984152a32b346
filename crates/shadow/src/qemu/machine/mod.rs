//! A virtual machine as a value, and the arguments QEMU makes it from.
//!
//! QEMU 7.2 and 10 take the same arguments.

mod arguments;
mod device;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub(crate) use device::{Disk, Share};

/// One virtual machine, as QEMU is to make it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Machine {
    /// What it is called in the list of processes: letters, digits and `-`.
    pub(crate) name: String,
    /// What runs its processors.
    pub(crate) accel: Accel,
    /// Its mainboard.
    pub(crate) board: Board,
    /// How many processors it has, at least one.
    pub(crate) cpus: u16,
    /// Its memory.
    pub(crate) memory: Memory,
    /// What it boots.
    pub(crate) boot: Boot,
    /// Where its serial console goes.
    pub(crate) console: Console,
    /// Where the monitor is, if it has one.
    pub(crate) monitor: Option<Endpoint>,
    /// Its virtio-serial ports, in order; it sees them as `/dev/virtio-ports/NAME`.
    pub(crate) ports: Vec<Port>,
    /// A directory of this machine that it sees.
    pub(crate) share: Option<Share>,
    /// Its disks, in order. It can only read them.
    pub(crate) disks: Vec<Disk>,
    /// Its network.
    pub(crate) network: Network,
    /// How it begins. A reboot in it ends QEMU.
    pub(crate) start: Start,
}

/// What runs a machine's processors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Accel {
    /// This machine's own processors.
    Kvm,
    /// QEMU's translator; slow, and works everywhere.
    Tcg,
}

/// A mainboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Board {
    /// With PCI; for [`Accel::Tcg`].
    Pc,
    /// With PCI Express; for [`Accel::Kvm`].
    Q35,
}

impl Board {
    /// The one that goes with what runs the processors.
    pub(crate) fn for_accel(accel: Accel) -> Self {
        match accel {
            Accel::Kvm => Self::Q35,
            Accel::Tcg => Self::Pc,
        }
    }
}

/// A machine's memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Memory {
    /// How much, a multiple of a MiB.
    pub(crate) bytes: u64,
    /// Where it is.
    pub(crate) backing: Backing,
}

/// Where a machine's memory is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Backing {
    /// In QEMU alone.
    Own,
    /// In QEMU and whoever serves its [`Share`].
    Shared,
    /// In this file, written as the machine runs: what a template is made of.
    Template(PathBuf),
    /// A copy-on-write copy of this file, which stays as it is: a clone of a template.
    Clone(PathBuf),
}

/// What a machine boots: a kernel and its initrd, without a boot loader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Boot {
    /// The kernel.
    pub(crate) kernel: PathBuf,
    /// The initrd.
    pub(crate) initrd: PathBuf,
    /// The kernel's command line, at most [`CMDLINE_BYTES_MAX`].
    pub(crate) cmdline: String,
}

/// The longest command line that Linux reads whole on x86, without its end.
pub(crate) const CMDLINE_BYTES_MAX: usize = 2047;

/// Where a machine's serial console goes. The guest may write without end: whoever is at the
/// other end keeps some of it only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Console {
    /// To QEMU's standard output.
    Stdout,
    /// To a socket.
    Socket(Endpoint),
}

/// A connected stream socket that QEMU inherits, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Endpoint(pub(crate) i32);

/// A virtio-serial port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Port {
    /// What the guest knows it by.
    pub(crate) name: String,
    /// Where its other end is.
    pub(crate) endpoint: Endpoint,
}

/// A machine's network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Network {
    /// None.
    None,
    /// An interface whose frames go through an open tap device.
    Tap {
        /// The number of the descriptor that QEMU inherits.
        descriptor: i32,
        /// The interface's address.
        mac: Mac,
    },
}

/// An interface's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mac(pub(crate) [u8; 6]);

/// How a machine begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// It runs.
    Runs,
    /// It waits for `migrate-incoming` and begins where that machine was.
    Incoming,
}

/// A machine that QEMU would not make, or not as it was meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("describe the virtual machine to qemu: {0}")]
pub(crate) struct MachineError(String);

#[cfg(test)]
mod tests;
