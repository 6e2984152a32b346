//! The seam between those who need shadows and those who make them.
//!
//! Every implementation runs the suite in [`crate::conformance`].

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use serde::{Deserialize, Serialize};
pub use umbra_guest::run::TerminalSize;
use umbra_state::{Command, Exit, Output};
use umbra_store::overlay::Layers;

use crate::error::ShadowError;

/// Makes, lists and removes shadows by one kind of isolation.
pub trait Provider: Send + Sync {
    /// What this provider can do on this machine, found by probing. Callers decide by these
    /// values, never by the provider's name.
    fn capabilities(&self) -> &Capabilities;

    /// Starts a shadow that shows `layers`. When this returns, commands can run in it.
    /// `spec.name` must be free. Blocking.
    fn spawn(&self, layers: &Layers, spec: &ShadowSpec) -> Result<Box<dyn Shadow>, ShadowError>;

    /// Makes ready that shadows like `spec` showing `layers` begin from where `ready` leaves one:
    /// they are forked from it, memory and all. Does nothing where `capabilities` have no
    /// `memory_fork`, or it was done. Blocking.
    fn prepare(
        &self,
        _layers: &Layers,
        _spec: &ShadowSpec,
        _ready: &dyn Fn(&dyn Shadow) -> Result<(), ShadowError>,
    ) -> Result<(), ShadowError> {
        Ok(())
    }

    /// The names of all shadows of this provider that exist on this machine, whoever made them.
    fn list(&self) -> Result<Vec<String>, ShadowError>;

    /// Removes everything that a dead owner left behind: processes, mounts, interfaces,
    /// control groups, directories. Idempotent; never touches what a living owner has.
    fn reap(&self) -> Result<Reaped, ShadowError>;
}

/// An isolated running instance of one state. Dropping it destroys it.
pub trait Shadow: Send + Sync {
    /// Its name.
    fn name(&self) -> &str;

    /// Where its services can be reached from this machine, if it has a network.
    fn address(&self) -> Option<IpAddr>;

    /// Makes it show `layers` from now on: a fresh copy-on-write view in which nothing of the
    /// former one is left, neither files nor processes. Its name and address stay.
    fn apply(&self, layers: &Layers) -> Result<(), ShadowError>;

    /// Runs a command to its end. Several may run at once. Blocking.
    fn run(&self, command: &Command) -> Result<Output, ShadowError>;

    /// Starts a command that stays until the handle is dropped, the next [`Shadow::apply`] or
    /// the shadow's end, whichever comes first.
    fn start(&self, command: &Command) -> Result<Box<dyn Running>, ShadowError>;

    /// Starts a command on a new terminal inside the shadow.
    fn attach(
        &self,
        command: &Command,
        size: TerminalSize,
    ) -> Result<Box<dyn Attached>, ShadowError>;

    /// Whether the current view's first process is the image's own systemd.
    fn runs_systemd(&self) -> bool {
        false
    }

    /// The last bytes of what the current view's system wrote to its console, at most
    /// `bytes_max`; nothing where it has none.
    fn console_tail(&self, _bytes_max: u64) -> Vec<u8> {
        Vec::new()
    }

    /// The shadow's root directory, for reading files below it with `openat2` and
    /// `RESOLVE_IN_ROOT`. It stays valid until the next [`Shadow::apply`].
    fn root(&self) -> Result<OwnedFd, ShadowError>;

    /// The id that 0 on [`Shadow::root`]'s files has on this machine: not 0 where the shadow's
    /// users are mapped.
    fn ids_base(&self) -> u32 {
        0
    }

    /// Connects to an address as a process inside would, its own loopback included; the
    /// provided implementation reaches [`Shadow::address`] only.
    fn connect(&self, to: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        let own = self.address().ok_or(io::ErrorKind::AddrNotAvailable)?;
        if to.ip() != own && !to.ip().is_loopback() && !to.ip().is_unspecified() {
            return Err(io::ErrorKind::HostUnreachable.into());
        }
        TcpStream::connect_timeout(&SocketAddr::new(own, to.port()), timeout)
    }

    /// Stops every process in it where it stands.
    fn freeze(&self) -> Result<(), ShadowError>;

    /// Lets them go on.
    fn thaw(&self) -> Result<(), ShadowError>;

    /// Ends it and removes all that belonged to it. Idempotent.
    fn destroy(&self) -> Result<(), ShadowError>;
}

/// A command that goes on by itself, such as a service. Dropping it kills it.
pub trait Running: Send + Sync {
    /// The last bytes of what it printed, both streams together, at most `bytes_max`.
    fn log_tail(&self, bytes_max: u64) -> Vec<u8>;

    /// How it ended; `None` while it runs.
    fn ended(&self) -> Option<Exit>;
}

/// A command on a terminal of its own.
pub trait Attached: Send {
    /// The terminal's other side: read what it prints, write what is typed.
    fn terminal(&self) -> std::os::fd::BorrowedFd<'_>;

    /// Tells the terminal its new size.
    fn resize(&self, size: TerminalSize) -> Result<(), ShadowError>;

    /// Waits for the command's end.
    fn wait(&mut self) -> Result<Exit, ShadowError>;
}

/// What a shadow is to be like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowSpec {
    /// Its name and host name: 1 to 40 of `a-z`, `0-9` and `-`, not beginning with `-`.
    pub name: String,
    /// Limits on what it may use.
    pub limits: Limits,
    /// What it may reach.
    pub network: Network,
    /// The first process of its views.
    pub init: Init,
    /// How a virtual machine has its files.
    #[serde(default)]
    pub files: Files,
    /// The address it should have, as one before it did; another where that is somebody's, or
    /// where this provider does not choose.
    #[serde(default)]
    pub address: Option<IpAddr>,
}

/// How a virtual machine has its files; other shadows have them one way only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Files {
    /// Shared with this machine, on which they can be read and changed while it runs.
    #[default]
    Shared,
    /// On a disk, which machines with memory of their own can be forked with.
    Disk,
}

/// The first process in a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Init {
    /// A small one of ours, which reaps and starts what it is asked to.
    #[default]
    Small,
    /// The image's own systemd; a small one where the image has none.
    Systemd,
}

impl ShadowSpec {
    /// With a small init, at any address.
    pub fn new(name: impl Into<String>, limits: Limits, network: Network) -> Self {
        Self {
            name: name.into(),
            limits,
            network,
            init: Init::Small,
            files: Files::Shared,
            address: None,
        }
    }

    /// Whether the name follows its rules.
    pub fn check_name(&self) -> Result<(), ShadowError> {
        check_name(&self.name)
    }
}

pub(crate) fn check_name(name: &str) -> Result<(), ShadowError> {
    let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    let fine =
        (1..=40).contains(&name.len()) && !name.starts_with('-') && name.bytes().all(allowed);
    if fine { Ok(()) } else { Err(ShadowError::Name(name.chars().take(60).collect())) }
}

/// Limits on a shadow's use of the machine; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Limits {
    /// Memory, page cache included.
    pub memory_bytes: Option<u64>,
    /// Processor time in thousandths of one processor.
    pub cpu_millis: Option<u32>,
    /// Processes and threads.
    pub pids: Option<u32>,
}

/// What a shadow may reach, and who may reach it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// Loopback only.
    None,
    /// An address on the fenced bridge: this machine reaches the shadow, the shadow reaches
    /// nobody.
    Fenced,
    /// Like `Fenced`, and the shadow may open connections to these.
    Egress(Vec<Egress>),
}

/// Somewhere a shadow may connect to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Egress {
    /// The address.
    pub address: IpAddr,
    /// The TCP port.
    pub port: u16,
}

/// What a provider can do here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// The provider's name: `sandbox`, `qemu`, `incus`.
    pub provider: String,
    /// A delta can be applied while the shadow keeps its name and address.
    pub live_edit: bool,
    /// What a shadow wrote can be captured from outside.
    pub host_capture: bool,
    /// Shadows can be forked with their memory.
    pub memory_fork: bool,
    /// Frames can be mirrored to a shadow's interface.
    pub network_mirror: bool,
    /// Shadows have a kernel of their own.
    pub vm: bool,
    /// An image's own systemd can be the first process ([`Init::Systemd`]).
    pub systemd: bool,
    /// Shadows can run on several machines.
    pub clustered: bool,
    /// Root inside is nobody outside.
    pub user_namespace: bool,
    /// Which limits are enforced.
    pub limits: EnforcedLimits,
    /// Sentences about what this machine lacks and what that costs.
    pub missing: Vec<String>,
}

/// Which of [`Limits`] this machine enforces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EnforcedLimits {
    /// [`Limits::memory_bytes`].
    pub memory: bool,
    /// [`Limits::cpu_millis`].
    pub cpu: bool,
    /// [`Limits::pids`].
    pub pids: bool,
}

/// What [`Provider::reap`] removed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Reaped {
    /// Names of the shadows whose remains are gone.
    pub shadows: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_host_names() {
        for good in ["web-1", "a", "0x", &"a".repeat(40)] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "Web", "a_b", "a/b", "..", &"a".repeat(41), "ä"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
