//! A shadow as the suite sees it, and a shadow that outlives the pool.

use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use umbra_shadow::provider::Running;
use umbra_shadow::{Shadow, ShadowError};
use umbra_state::{Command, Exit, Output};
use umbra_suite::{ProbeError, Target};

/// What a shell returns for a program it does not find.
const NOT_FOUND: i32 = 127;

/// A shadow's current view, for one test.
pub(super) struct ShadowTarget<'a> {
    shadow: &'a dyn Shadow,
    root: OwnedFd,
}

impl<'a> ShadowTarget<'a> {
    pub(super) fn new(shadow: &'a dyn Shadow) -> Result<Self, ShadowError> {
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
            Err(source) => Err(ProbeError::Run {
                command: command.argv.join(" "),
                source: Box::new(source),
            }),
        }
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

/// A shadow kept as a test left it, with the services that run in it. It is gone when dropped.
pub(crate) struct KeptShadow {
    pub(super) shadow: Arc<dyn Shadow>,
    pub(super) _services: Vec<Box<dyn Running>>,
}

impl KeptShadow {
    /// Its name.
    pub(crate) fn name(&self) -> &str {
        self.shadow.name()
    }

    /// The shadow itself.
    pub(crate) fn shadow(&self) -> Arc<dyn Shadow> {
        Arc::clone(&self.shadow)
    }
}
