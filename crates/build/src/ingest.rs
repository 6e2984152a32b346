//! A step's writes become a state: hashed, stored and named beside the tests.

use std::path::Path;

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
    let checkouts = store.layers_dir().join("checkouts");
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
