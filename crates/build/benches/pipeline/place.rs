//! A store and a provider in a directory that goes with them.

use std::path::{Path, PathBuf};

use umbra_shadow::provider::{Limits, Network};
use umbra_shadow::sandbox::{SandboxConfig, SandboxProvider};
use umbra_shadow::{Provider, Shadow, ShadowSpec};
use umbra_state::{Command, StateId, Tree};
use umbra_store::overlay::Layers;
use umbra_store::{CaptureOptions, Store, StoreOptions, SyncPolicy};

use crate::Failure;

/// See the module. The provider goes first: its shadows have the directory mounted.
pub(crate) struct Place {
    pub(crate) provider: SandboxProvider,
    pub(crate) store: Store,
    dir: tempfile::TempDir,
}

/// A tree of files, ingested.
pub(crate) struct Known {
    pub(crate) id: StateId,
    pub(crate) tree: Tree,
    pub(crate) layers: Layers,
}

impl Place {
    pub(crate) fn new() -> Result<Self, Failure> {
        let dir = tempfile::Builder::new().prefix("umbra-bench-").tempdir()?;
        let provider = SandboxProvider::open(SandboxConfig {
            dir: dir.path().join("shadows"),
            launcher: std::env::current_exe()?,
            user_namespaces: true,
            warm: 4,
        })?;
        // A benchmark's state need not survive a power failure.
        let options = StoreOptions { sync: SyncPolicy::Never, ..StoreOptions::default() };
        let store = Store::open_with(&dir.path().join("store"), options)?;
        Ok(Self { provider, store, dir })
    }

    /// A path for this benchmark's own use.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Captures a directory and makes it mountable.
    pub(crate) fn ingest(&self, root: &Path) -> Result<Known, Failure> {
        let tree = self.store.capture_dir(root, &CaptureOptions::default())?;
        self.known(tree)
    }

    /// Writes a captured tree's image and makes it mountable.
    pub(crate) fn known(&self, tree: Tree) -> Result<Known, Failure> {
        let id = self.store.put(&tree)?;
        let base = self.store.base(id)?;
        Ok(Known { id, tree, layers: Layers::of(base) })
    }

    /// A shadow as builds use it.
    pub(crate) fn shadow(&self, name: &str, layers: &Layers) -> Result<Box<dyn Shadow>, Failure> {
        let network = Network::Fenced;
        let spec = ShadowSpec::new(name, Limits::default(), network);
        Ok(self.provider.spawn(layers, &spec)?)
    }
}

/// Runs a command that must succeed.
pub(crate) fn must_run(shadow: &dyn Shadow, argv: &[&str]) -> Result<(), Failure> {
    let output = shadow.run(&Command::new(argv.iter().copied()))?;
    if output.exit.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("{} in shadow {}: {}: {said}", argv.join(" "), shadow.name(), output.exit).into())
}
