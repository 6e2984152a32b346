//! What a test looks at: a running shadow, seen through three small windows.

mod dir;
pub mod root;

use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::BorrowedFd;
use std::time::Duration;

pub(crate) use umbra_state::chain;
use umbra_state::{Command, Output};

pub use dir::DirTarget;

/// A shadow as tests see it.
///
/// Every method may be called from several threads at once. None of them changes the shadow
/// by itself; a command may, which is why every test gets a fresh view.
pub trait Target: Send + Sync {
    /// Runs a command inside and waits for it. A command that cannot be found ends with
    /// exit code 127; an `Err` means that nobody could look.
    fn run(&self, command: &Command) -> Result<Output, ProbeError>;

    /// Where its services answer, if it has a network.
    fn address(&self) -> Option<IpAddr>;

    /// Its root directory, opened on the host with `O_PATH`, owners and groups as the
    /// shadow itself sees them. Read below it with [`root`] only.
    fn root(&self) -> BorrowedFd<'_>;

    /// What an id on [`Target::root`]'s files is called inside: a shadow whose users are mapped
    /// elsewhere shows other numbers to the host.
    fn id_inside(&self, id: u32) -> u32 {
        id
    }

    /// Connects to an address as a process inside would see it.
    ///
    /// The outer error means nobody could look, the inner that nothing answered. What is
    /// provided here reaches [`Target::address`] for every loopback address; a provider that
    /// can enter the shadow's network should do so, since a service that listens on loopback
    /// only cannot be reached from outside.
    fn connect(
        &self,
        to: SocketAddr,
        timeout: Duration,
    ) -> Result<io::Result<TcpStream>, ProbeError> {
        let own = self.address().ok_or(ProbeError::NoAddress)?;
        if !to.ip().is_loopback() && !to.ip().is_unspecified() && to.ip() != own {
            return Err(ProbeError::Unreachable { address: to });
        }
        Ok(TcpStream::connect_timeout(&SocketAddr::new(own, to.port()), timeout))
    }
}

/// Why nobody could look. Never the result of having looked.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The shadow has no network.
    #[error("connect to the shadow, which has no address")]
    NoAddress,
    /// An address outside the shadow's fence.
    #[error("connect to {address} from inside the shadow")]
    Unreachable {
        /// Where to.
        address: SocketAddr,
    },
    /// The shadow could not run a command.
    #[error("run `{command}` in the shadow")]
    Run {
        /// The program.
        command: String,
        /// What the provider says.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A program needed for looking is not there.
    #[error("find `{tool}`; Debian has it in the package {package}")]
    ToolMissing {
        /// The program.
        tool: String,
        /// Where to get it.
        package: String,
    },
    /// A program needed for looking broke.
    #[error("use `{tool}`: {detail}")]
    Tool {
        /// The program.
        tool: String,
        /// How it ended and what it said, escaped.
        detail: String,
    },
    /// A file of the shadow could not be read.
    #[error("read /{path} in the shadow")]
    File {
        /// Which, escaped.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of the shadow is larger than anyone should have to read.
    #[error("read /{path} in the shadow, which is larger than {bytes_max} bytes")]
    FileTooLarge {
        /// Which, escaped.
        path: String,
        /// The bound.
        bytes_max: u64,
    },
    /// What was read cannot be understood.
    #[error("understand {what}: {detail}")]
    Malformed {
        /// What it is.
        what: String,
        /// Where and why.
        detail: String,
    },
    /// There was more to look at than the test has time for.
    #[error("{what} in the test's time")]
    Late {
        /// What was tried, as a verb phrase.
        what: &'static str,
    },
    /// The test needs something its caller did not give.
    #[error("find {what}, which this test needs")]
    Missing {
        /// What.
        what: &'static str,
    },
    /// The host has too little of something.
    #[error("{what} on this machine")]
    Host {
        /// What was tried, as a verb phrase.
        what: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Somebody no longer wants to know.
    #[error("finish, since the test was cancelled")]
    Cancelled,
    /// The check itself broke: a bug, told apart from everything a shadow can do.
    #[error("finish: the check broke: {0}")]
    Bug(String),
}
