//! What the daemon, the launcher, a shadow's keeper and its init say to one another: one JSON
//! message per packet on a unix socket, file descriptors beside it.
//!
//! An init runs among processes nobody trusts, so what comes from one is parsed as strictly as
//! anything from outside: bounded in size, refused when it does not fit.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
    sendmsg, socketpair,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use umbra_state::{Command, Exit};
use umbra_store::overlay::Layers;

use crate::provider::TerminalSize;

/// The largest message, environment and arguments of a command included.
pub(crate) const MESSAGE_BYTES_MAX: usize = 192 << 10;

/// How many descriptors travel with one message at most.
const FDS_MAX: usize = 4;

/// From the launcher, once: it may make shadows, or why not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum LauncherHello {
    Ready,
    Failed(Failure),
}

/// To the launcher, with the keeper's end of a socket: start a keeper.
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

/// To an init, with descriptors: the run's own socket, then stdin, stdout and stderr unless a
/// terminal is asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunRequest {
    pub(crate) command: Command,
    pub(crate) terminal: Option<TerminalSize>,
}

/// On a run's own socket, from the init.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum RunEvent {
    /// The program is running; with the terminal's descriptor where one was asked for.
    Started,
    /// It could not be started.
    NotStarted(String),
    /// It ended.
    Ended(Exit),
}

/// On a run's own socket, to the init. Closing the socket kills as well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum RunControl {
    Kill,
}

/// A failed step of set-up: what was being done and the kernel's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) doing: String,
    pub(crate) errno: i32,
}

impl Failure {
    pub(crate) fn new(doing: impl Into<String>, error: &io::Error) -> Self {
        let errno = error.raw_os_error().unwrap_or(rustix::io::Errno::IO.raw_os_error());
        Self { doing: doing.into(), errno }
    }

    pub(crate) fn into_error(self) -> crate::ShadowError {
        let source = io::Error::from_raw_os_error(self.errno);
        crate::ShadowError::System { doing: self.doing, source }
    }
}

/// Turns a kernel error into a [`Failure`] that says what was being done.
pub(crate) trait Doing<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(what(), &error.into()))
    }
}

/// A connected pair; both ends are closed on exec.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC;
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

/// Sends one message.
pub(crate) fn send<T: Serialize>(
    socket: impl AsFd,
    message: &T,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(io::Error::from(rustix::io::Errno::TOOBIG));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::from(rustix::io::Errno::INVAL));
    }
    let flags = SendFlags::NOSIGNAL;
    rustix::io::retry_on_intr(|| sendmsg(&socket, &[IoSlice::new(&bytes)], &mut ancillary, flags))?;
    Ok(())
}

/// Receives one message; `None` once the other side is closed. Blocking.
pub(crate) fn receive<T: DeserializeOwned>(
    socket: impl AsFd,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut bytes = vec![0u8; MESSAGE_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let message = rustix::io::retry_on_intr(|| {
        let flags = RecvFlags::CMSG_CLOEXEC;
        recvmsg(&socket, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, flags)
    });
    let message = match message {
        Ok(message) => message,
        Err(rustix::io::Errno::CONNRESET) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut fds = Vec::new();
    for item in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = item {
            fds.extend(rights);
        }
    }
    if message.bytes == 0 {
        return Ok(None);
    }
    if message.flags.contains(ReturnFlags::TRUNC) {
        return Err(io::Error::from(rustix::io::Errno::MSGSIZE));
    }
    let parsed = serde_json::from_slice(&bytes[..message.bytes])?;
    Ok(Some((parsed, fds)))
}

/// The next descriptor of a message.
pub(crate) fn take_fd(fds: &mut impl Iterator<Item = OwnedFd>) -> io::Result<OwnedFd> {
    fds.next().ok_or_else(|| io::Error::from(rustix::io::Errno::BADMSG))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_carry_descriptors() {
        let (a, b) = pair().expect("socket pair");
        let (passed, kept) = pair().expect("socket pair");
        send(&a, &RunControl::Kill, &[passed.as_fd()]).expect("sent");
        let (message, fds): (RunControl, _) = receive(&b).expect("received").expect("open");
        assert_eq!(message, RunControl::Kill);
        send(&fds[0], &InitHello::Up, &[]).expect("sent through the passed descriptor");
        let (hello, _): (InitHello, _) = receive(&kept).expect("received").expect("open");
        assert_eq!(hello, InitHello::Up);
    }

    #[test]
    fn a_closed_side_is_an_end_and_nonsense_an_error() {
        let (a, b) = pair().expect("socket pair");
        rustix::net::send(&a, b"{not json", SendFlags::NOSIGNAL).expect("sent");
        assert!(receive::<RunControl>(&b).is_err());
        drop(a);
        assert!(receive::<RunControl>(&b).expect("no error").is_none());
    }
}
