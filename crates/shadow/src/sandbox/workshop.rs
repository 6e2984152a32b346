//! Where build steps run: isolated like a shadow, but the directory that takes their writes is
//! the caller's and is kept, because it is the step's delta.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use umbra_state::{Command, Output};
use umbra_store::overlay::Layers;

use super::cgroup::Group;
use super::client::Keeper;
use super::grounds::Grounds;
use super::maker::Site;
use super::views;
use super::wire::{self, ViewSpec, Writes};
use crate::error::ShadowError;
use crate::inside::Inside;
use crate::provider::Limits;

/// What a workshop is to be like.
#[derive(Debug, Clone)]
pub struct WorkshopSpec {
    /// Its name: as of a shadow.
    pub name: String,
    /// Limits on its steps.
    pub limits: Limits,
    /// Whether steps reach the network, as the machine itself does; otherwise loopback only.
    pub network: bool,
}

/// A place for build steps, one at a time. Dropping it ends what runs in it.
pub struct Workshop {
    name: String,
    keeper: Option<Keeper>,
    grounds: Grounds,
}

/// A host path that steps see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// On this machine.
    pub source: PathBuf,
    /// Inside, absolute; made if missing.
    pub target: String,
    /// Whether steps may only read it.
    pub read_only: bool,
    /// Whether the stage fails where it cannot be shown (a target that is a dangling link, say).
    pub required: bool,
}

/// A root in which a step runs.
pub struct Stage<'a> {
    workshop: &'a Workshop,
    inside: Inside,
    upper: PathBuf,
    work: PathBuf,
}

impl Workshop {
    pub(super) fn new(name: String, site: Site) -> Self {
        Self { name, keeper: Some(site.keeper), grounds: site.grounds }
    }

    /// Prepares a root that shows `layers` and writes to `dir/upper`, which must not exist.
    pub fn stage(
        &self,
        layers: &Layers,
        dir: &Path,
        binds: &[Bind],
    ) -> Result<Stage<'_>, ShadowError> {
        let keeper = self.keeper()?;
        let writable = views::make_writable(dir)?;
        let binds = binds.iter().map(|bind| wire::Bind {
            source: bind.source.clone(),
            target: bind.target.clone(),
            read_only: bind.read_only,
            required: bind.required,
        });
        let image = self.grounds.image(layers)?;
        let view = ViewSpec {
            layers: layers.clone(),
            writes: Writes::Dirs { upper: writable.upper.clone(), work: writable.work.clone() },
            shm_bytes_max: views::SHM_BYTES_MAX,
            hostname: self.name.clone(),
            binds: binds.collect(),
        };
        let inside = keeper.show(view, image.as_ref())?.inside;
        Ok(Stage { workshop: self, inside, upper: writable.upper, work: writable.work })
    }

    /// Stops whatever runs where it stands.
    pub fn freeze(&self) -> Result<(), ShadowError> {
        self.with_group("freeze", Group::freeze)
    }

    /// Lets it go on.
    pub fn thaw(&self) -> Result<(), ShadowError> {
        self.with_group("thaw", Group::thaw)
    }

    /// Ends whatever runs, frozen or not. A running [`Stage::run`] returns an error; no further
    /// stage can be made.
    pub fn kill(&self) -> Result<(), ShadowError> {
        self.with_group("end", Group::remove)
    }

    fn with_group(
        &self,
        verb: &str,
        act: impl FnOnce(&Group) -> io::Result<()>,
    ) -> Result<(), ShadowError> {
        act(&self.grounds.group).map_err(|source| ShadowError::System {
            doing: format!("{verb} {}", self.name),
            source,
        })
    }

    fn keeper(&self) -> Result<&Keeper, ShadowError> {
        self.keeper.as_ref().ok_or_else(|| ShadowError::Gone(self.name.clone()))
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        // First the processes, then what they had open.
        if let Err(error) = self.grounds.group.remove() {
            tracing::warn!(%error, "could not end a workshop");
        }
        self.keeper = None;
    }
}

impl Stage<'_> {
    /// Runs a command to its end; `on_output` sees what it prints as it comes.
    pub fn run(
        &self,
        command: &Command,
        on_output: &(dyn Fn(&[u8]) + Sync),
    ) -> Result<Output, ShadowError> {
        self.inside.run(command, on_output)
    }

    /// The stage's root, for changes made from outside: `openat2` with `RESOLVE_IN_ROOT`.
    pub fn root(&self) -> Result<OwnedFd, ShadowError> {
        self.inside.root()
    }

    /// Ends every process of the stage. The root stays mounted until the result is dropped.
    pub fn finish(self) -> Result<Finished, ShadowError> {
        self.workshop.keeper()?.close()?;
        let root = self.root()?;
        Ok(Finished { root, upper: self.upper, work: self.work })
    }
}

/// A stage in which nothing runs any more.
pub struct Finished {
    /// The root as the stage's commands saw it, less /proc, /sys and /dev.
    pub root: OwnedFd,
    /// What was written: the delta.
    pub upper: PathBuf,
    /// overlayfs's own directory, of no use after this.
    pub work: PathBuf,
}
