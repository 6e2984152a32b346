//! A step's writes become a state: hashed, stored and named beside the tests.

use std::path::Path;

use umbra_state::{Delta, StateId, Tree, diff};
use umbra_store::Store;
use umbra_store::overlay::{Base, Layers};

use crate::error::BuildError;

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

/// What shows an ingested state on this kernel.
pub(crate) fn base(store: &Store, state: StateId) -> Result<Base, BuildError> {
    store.base(state).map_err(|source| BuildError::Show { state, source })
}
