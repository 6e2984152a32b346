//! A shadow's current view as the suite sees it.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use umbra_state::{Command, Exit, Output};
use umbra_suite::{ProbeError, Target};

use crate::error::ShadowError;
use crate::provider::Shadow;

/// What a shell returns for a program it does not find.
const NOT_FOUND: i32 = 127;

/// A shadow's current view, for one test.
pub struct ShadowTarget<'a> {
    shadow: &'a dyn Shadow,
    root: OwnedFd,
}

impl<'a> ShadowTarget<'a> {
    /// Of what the shadow shows now.
    pub fn new(shadow: &'a dyn Shadow) -> Result<Self, ShadowError> {
        Ok(Self { shadow, root: shadow.root()? })
    }
}

impl Target for ShadowTarget<'_> {
    fn run(&self, command: &Command) -> Result<Output, ProbeError> {
        match self.shadow.run(command) {
            Ok(output) => Ok(output),
            // As a shell would have it: that the image lacks a program is a finding.
            Err(ShadowError::Start { program, reason, .. }) => Ok(Output {
                exit: Exit::Code(NOT_FOUND),
                stdout: Vec::new(),
                stderr: format!("{program}: {reason}\n").into_bytes(),
                dropped_bytes: 0,
                duration: Duration::ZERO,
            }),
            Err(source) => {
                Err(ProbeError::Run { command: command.argv.join(" "), source: Box::new(source) })
            }
        }
    }

    fn connect(
        &self,
        to: SocketAddr,
        timeout: Duration,
    ) -> Result<io::Result<TcpStream>, ProbeError> {
        Ok(self.shadow.connect(to, timeout))
    }

    fn id_inside(&self, id: u32) -> u32 {
        id.checked_sub(self.shadow.ids_base()).unwrap_or(id)
    }

    fn address(&self) -> Option<IpAddr> {
        self.shadow.address()
    }

    fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}
