//! A step's writes become a state: hashed, stored and named beside the tests.

use std::path::{Path, PathBuf};

use umbra_state::{Delta, StateId, Tree, diff};
use umbra_store::Store;
use umbra_store::overlay::support::{ImageSupport, image_support};
use umbra_store::overlay::{Base, Layers};

use crate::error::{BuildError, system};

/// A step's files, before the state has an id.
pub(crate) struct Captured {
    pub(crate) tree: Tree,
    pub(crate) delta: Delta,
}

/// Reads what a step wrote on top of `parent`.
pub(crate) fn capture(store: &Store, parent: &Tree, upper: &Path) -> Result<Captured, BuildError> {
    let tree = store.capture_upper(parent, upper)?;
    let delta = diff(parent, &tree);
    Ok(Captured { tree, delta })
}

/// The layers that show an ingested state on this kernel.
pub(crate) fn layers(store: &Store, state: StateId) -> Result<Layers, BuildError> {
    base(store, state).map(Layers::of)
}

/// What shows an ingested state on this kernel: its image, or a directory written out once.
pub(crate) fn base(store: &Store, state: StateId) -> Result<Base, BuildError> {
    if image_support() != ImageSupport::Checkout {
        let (image, objects) = (store.image_path(state), store.objects_dir());
        return Ok(Base::Image { image, objects });
    }
    let checkouts = checkouts(store);
    let finished = checkouts.join(state.to_string());
    if !finished.exists() {
        let partial = checkouts.join(format!("{state}.partial"));
        let doing = || format!("write out {state:?}");
        match std::fs::remove_dir_all(&partial) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(system(doing)(error));
            }
            _ => std::fs::create_dir_all(&partial).map_err(system(doing))?,
        }
        store
            .export_dir(state, &partial)
            .map_err(|source| BuildError::Export { path: partial.display().to_string(), source })?;
        std::fs::rename(&partial, &finished).map_err(system(doing))?;
    }
    Ok(Base::Checkout(finished))
}

/// Where states are written out, for kernels that cannot mount their images.
fn checkouts(store: &Store) -> PathBuf {
    store.layers_dir().join("checkouts")
}

/// Removes written-out states that the store no longer has. Call it after collecting.
pub fn remove_stale_checkouts(store: &Store) -> Result<(), BuildError> {
    let dir = checkouts(store);
    let doing = || format!("clean {}", dir.display());
    let entries = match std::fs::read_dir(&dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(system(doing))?,
    };
    for entry in entries {
        let entry = entry.map_err(system(doing))?;
        let state = entry.file_name().to_str().and_then(|name| name.parse::<StateId>().ok());
        if state.is_some_and(|state| !store.contains(state)) {
            std::fs::remove_dir_all(entry.path()).map_err(system(doing))?;
        }
    }
    Ok(())
}
