//! What one sandbox shadow lives on: its keeper, its current view, and what belongs to it on this
//! machine.

use std::io;
use std::sync::Arc;

use umbra_store::overlay::Layers;

use super::client::Keeper;
use super::grounds::Grounds;
use super::maker::Site;
use super::net;
use super::views::Views;
use super::wire::ViewSpec;
use crate::error::ShadowError;
use crate::held::{Connect, Life};
use crate::inside::{Inside, Printed};

/// See the module.
pub(super) struct SandboxLife {
    /// Absent where the last view could not be shown.
    inside: Option<Arc<Inside>>,
    /// What the view's own systemd prints, where that is its first process.
    console: Option<Printed>,
    keeper: Keeper,
    views: Views,
    grounds: Grounds,
}

impl SandboxLife {
    pub(super) fn begin(site: Site, layers: &Layers) -> Result<Self, ShadowError> {
        let Site { grounds, keeper } = site;
        let views = Views::new(grounds.memory_bytes_max);
        let mut life = Self { inside: None, console: None, keeper, views, grounds };
        life.show(layers)?;
        Ok(life)
    }

    fn show(&mut self, layers: &Layers) -> Result<(), ShadowError> {
        let name = self.grounds.name();
        let image = self.grounds.image(layers)?;
        let view = ViewSpec {
            layers: layers.clone(),
            writes: self.views.next(&self.grounds.dir)?,
            shm_bytes_max: self.views.shm_bytes_max(),
            hostname: name.to_owned(),
            binds: Vec::new(),
        };
        let shown = self.keeper.show(view, image.as_ref())?;
        let console = shown.console.map(Printed::read).transpose();
        self.console = console.map_err(|source| ShadowError::System {
            doing: format!("read the console of {name}"),
            source,
        })?;
        self.inside = Some(Arc::new(shown.inside));
        Ok(())
    }
}

impl Life for SandboxLife {
    fn inside(&self) -> Option<&Arc<Inside>> {
        self.inside.as_ref()
    }

    fn apply(&mut self, layers: &Layers) -> Result<(), ShadowError> {
        self.inside = None;
        self.console = None;
        if let Some(limit) = self.grounds.memory_bytes_max {
            // What the former view kept in memory is freed a moment after its last process; the
            // next view must not be killed for it.
            self.keeper.close()?;
            self.grounds.group.await_memory(limit / 8);
        }
        let shown = self.show(layers);
        self.views.remove_former(&self.grounds.dir);
        shown
    }

    fn set_frozen(&mut self, frozen: bool) -> Result<(), ShadowError> {
        let Grounds { group, .. } = &self.grounds;
        let (verb, done) = if frozen { ("freeze", group.freeze()) } else { ("thaw", group.thaw()) };
        done.map_err(|source| ShadowError::System {
            doing: format!("{verb} {}", self.grounds.name()),
            source,
        })
    }

    fn connect(&self) -> io::Result<Connect> {
        let netns = self.keeper.netns()?;
        Ok(Box::new(move |to, timeout| net::connect_from(&netns, to, timeout)))
    }

    fn runs_systemd(&self) -> bool {
        self.console.is_some()
    }

    fn console_tail(&self, bytes_max: u64) -> Vec<u8> {
        let console = self.console.as_ref();
        console.map(|printed| printed.tail(bytes_max)).unwrap_or_default()
    }

    fn grounds(&self) -> &Grounds {
        &self.grounds
    }
}
