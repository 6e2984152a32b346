//! A provider and its shadows that tell the registry what they do.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use umbra_shadow::provider::{Attached, Capabilities, Reaped, Running, TerminalSize};
use umbra_shadow::{Provider, Shadow, ShadowError, ShadowSpec};
use umbra_state::{Command, Output};
use umbra_store::overlay::Layers;

use super::{Owner, Registry};

/// A provider whose shadows are noted as one owner's.
pub struct Tagged {
    registry: Arc<Registry>,
    provider: Arc<dyn Provider>,
    owner: Owner,
}

impl Tagged {
    pub(super) fn new(registry: Arc<Registry>, provider: Arc<dyn Provider>, owner: Owner) -> Self {
        Self { registry, provider, owner }
    }
}

impl Provider for Tagged {
    fn capabilities(&self) -> &Capabilities {
        self.provider.capabilities()
    }

    fn spawn(&self, layers: &Layers, spec: &ShadowSpec) -> Result<Box<dyn Shadow>, ShadowError> {
        let shadow: Arc<dyn Shadow> = Arc::from(self.provider.spawn(layers, spec)?);
        self.registry.note(&*self.provider, Arc::clone(&shadow), self.owner.clone(), None)?;
        Ok(Box::new(Tracked { registry: Arc::clone(&self.registry), shadow }))
    }

    fn prepare(
        &self,
        layers: &Layers,
        spec: &ShadowSpec,
        ready: &dyn Fn(&dyn Shadow) -> Result<(), ShadowError>,
    ) -> Result<(), ShadowError> {
        self.provider.prepare(layers, spec, ready)
    }

    fn list(&self) -> Result<Vec<String>, ShadowError> {
        self.provider.list()
    }

    fn reap(&self) -> Result<Reaped, ShadowError> {
        self.provider.reap()
    }
}

/// A shadow that passes everything on.
struct Tracked {
    registry: Arc<Registry>,
    shadow: Arc<dyn Shadow>,
}

/// Somebody uses the shadow until this is dropped.
struct Use<'a>(&'a Tracked);

impl<'a> Use<'a> {
    fn begin(tracked: &'a Tracked) -> Self {
        tracked.registry.mark(tracked.shadow.name(), |entry| entry.visitors += 1);
        Self(tracked)
    }
}

impl Drop for Use<'_> {
    fn drop(&mut self) {
        // Its owner decides about freezing; only a visitor's leaving restores that.
        self.0.registry.mark(self.0.shadow.name(), |entry| {
            entry.visitors = entry.visitors.saturating_sub(1);
        });
    }
}

impl Shadow for Tracked {
    fn name(&self) -> &str {
        self.shadow.name()
    }

    fn address(&self) -> Option<IpAddr> {
        self.shadow.address()
    }

    fn apply(&self, layers: &Layers) -> Result<(), ShadowError> {
        self.shadow.apply(layers)?;
        self.registry.mark(self.shadow.name(), |entry| entry.info.state = None);
        Ok(())
    }

    fn runs_systemd(&self) -> bool {
        self.shadow.runs_systemd()
    }

    fn console_tail(&self, bytes_max: u64) -> Vec<u8> {
        self.shadow.console_tail(bytes_max)
    }

    fn run(&self, command: &Command) -> Result<Output, ShadowError> {
        let _use = Use::begin(self);
        self.shadow.run(command)
    }

    fn start(&self, command: &Command) -> Result<Box<dyn Running>, ShadowError> {
        self.shadow.start(command)
    }

    fn attach(
        &self,
        command: &Command,
        size: TerminalSize,
    ) -> Result<Box<dyn Attached>, ShadowError> {
        self.shadow.attach(command, size)
    }

    fn root(&self) -> Result<OwnedFd, ShadowError> {
        self.shadow.root()
    }

    fn ids_base(&self) -> u32 {
        self.shadow.ids_base()
    }

    fn connect(&self, to: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        self.shadow.connect(to, timeout)
    }

    fn freeze(&self) -> Result<(), ShadowError> {
        self.shadow.freeze()?;
        self.registry.mark(self.shadow.name(), |entry| entry.frozen = true);
        Ok(())
    }

    fn thaw(&self) -> Result<(), ShadowError> {
        self.shadow.thaw()?;
        self.registry.mark(self.shadow.name(), |entry| entry.frozen = false);
        Ok(())
    }

    fn destroy(&self) -> Result<(), ShadowError> {
        self.registry.forget(self.shadow.name(), &self.shadow);
        self.shadow.destroy()
    }
}

impl Drop for Tracked {
    /// A visitor may still hold the shadow itself, so dropping that would not end it.
    fn drop(&mut self) {
        if let Err(error) = self.destroy() {
            tracing::warn!(shadow = self.shadow.name(), %error, "a shadow could not be removed");
        }
    }
}
