//! What a shadow or a workshop holds on this machine beside its processes. Every part gives
//! itself back when dropped, so that a start that fails half way leaves nothing.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use umbra_store::overlay::{Images, Layers, MountError};

use super::cgroup::Group;
use super::net::{Bridge, Port};
use super::sweeper::Sweeper;
use crate::error::ShadowError;
use crate::provider::Limits;

/// What a provider and all it made share; it ends with the last of them.
pub(crate) struct Shared {
    names: Mutex<BTreeSet<String>>,
    images: Mutex<Images>,
    pub(in crate::sandbox) sweeper: Sweeper,
    /// No other provider uses the directory before all this one made is gone.
    _lock: File,
}

impl Shared {
    pub(in crate::sandbox) fn new(sweeper: Sweeper, lock: File) -> Self {
        Self { names: Mutex::default(), images: Mutex::default(), sweeper, _lock: lock }
    }

    fn image(&self, layers: &Layers) -> Result<Option<OwnedFd>, ShadowError> {
        let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        images.of(layers.base.as_ref()).map_err(|error| match error {
            MountError::Step { doing, source } => ShadowError::System { doing, source },
            other => ShadowError::Launcher(other.to_string()),
        })
    }

    /// The names in use.
    pub(crate) fn names(&self) -> MutexGuard<'_, BTreeSet<String>> {
        // The set is consistent between any two statements.
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module. Fields are dropped in this order: processes first, the name last.
pub(crate) struct Grounds {
    pub(crate) group: Group,
    pub(crate) place: Option<Place>,
    pub(crate) dir: OwnedDir,
    /// The memory limit, which what views write counts against.
    pub(crate) memory_bytes_max: Option<u64>,
    /// The name of its control groups; then, where that is another, of its directory and of
    /// the shadow.
    pub(crate) names: Vec<TakenName>,
}

impl Grounds {
    pub(crate) fn name(&self) -> &str {
        self.names.last().map_or("", TakenName::as_str)
    }

    /// The mounted image of what `layers` have at their bottom, shared with other shadows.
    pub(crate) fn image(&self, layers: &Layers) -> Result<Option<OwnedFd>, ShadowError> {
        self.dir.shared.image(layers)
    }

    /// Makes what was made ahead, for any shadow, this shadow's.
    pub(crate) fn assign(&mut self, name: String, limits: &Limits) -> Result<(), ShadowError> {
        let name = TakenName::take(&self.dir.shared, name)?;
        let system = |doing: &str| {
            let doing = format!("{doing} {}", name.as_str());
            move |source| ShadowError::System { doing, source }
        };
        self.group.limit(limits).map_err(system("limit"))?;
        self.dir.rename(name.as_str()).map_err(system("name the directory of"))?;
        self.memory_bytes_max = limits.memory_bytes;
        self.names.push(name);
        Ok(())
    }
}

/// A name in use, free again when dropped.
pub(crate) struct TakenName {
    name: String,
    shared: Arc<Shared>,
}

impl TakenName {
    pub(crate) fn take(shared: &Arc<Shared>, name: String) -> Result<Self, ShadowError> {
        if !shared.names().insert(name.clone()) {
            return Err(ShadowError::Taken(name));
        }
        Ok(Self { name, shared: Arc::clone(shared) })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.name
    }
}

impl Drop for TakenName {
    fn drop(&mut self) {
        self.shared.names().remove(&self.name);
    }
}

/// A directory that goes when dropped.
pub(crate) struct OwnedDir {
    path: PathBuf,
    shared: Arc<Shared>,
}

impl OwnedDir {
    /// Makes the directory with an empty `scratch` in it.
    pub(crate) fn make(shared: &Arc<Shared>, path: PathBuf) -> Result<Self, ShadowError> {
        let owned = Self { path, shared: Arc::clone(shared) };
        fs::create_dir_all(owned.scratch()).map_err(|source| ShadowError::System {
            doing: format!("make {}", owned.path.display()),
            source,
        })?;
        Ok(owned)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn rename(&mut self, name: &str) -> io::Result<()> {
        let path = self.path.with_file_name(name);
        fs::rename(&self.path, &path)?;
        self.path = path;
        Ok(())
    }

    /// Where layers are attached.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.path.join("scratch")
    }

    /// Removes something in it, off the hot path.
    pub(crate) fn sweep(&self, path: &Path) {
        if let Err(error) = self.shared.sweeper.take(path) {
            tracing::warn!(path = %path.display(), %error, "could not remove a directory");
        }
    }
}

impl Drop for OwnedDir {
    fn drop(&mut self) {
        self.sweep(&self.path);
    }
}

/// A port and the bridge it belongs to.
pub(crate) struct Place {
    port: Port,
    bridge: Arc<Bridge>,
}

impl Place {
    pub(crate) fn new(port: Port, bridge: Arc<Bridge>) -> Self {
        Self { port, bridge }
    }

    pub(crate) fn port(&self) -> &Port {
        &self.port
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.bridge.give_back(&self.port);
    }
}
