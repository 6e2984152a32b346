//! The store after a daemon was killed: brought to what the database says.
//!
//! Clients were told what is committed, so the database is right. A build sets an image's ref
//! before its seal is committed, and may name states before the build itself is.

use std::collections::BTreeMap;

use umbra_api::error::WireError;
use umbra_state::StateId;
use umbra_store::{Store, StoreError};

use crate::db::Db;
use crate::states::environment;

/// Gives refs the values the database knows, and removes those it knows nothing of. Only while
/// no build runs.
pub(crate) async fn settle_refs(db: &Db, store: &Store) -> Result<(), WireError> {
    let images = db.images().await?;
    let images = images.into_iter().map(|image| (format!("image/{}", image.name), image.state));
    let (images, next_build) = (images.collect(), db.next_build().await?);
    settle(store, &images, next_build).map_err(|error| environment(&error))
}

fn settle(
    store: &Store,
    images: &BTreeMap<String, StateId>,
    next_build: u64,
) -> Result<(), StoreError> {
    for (name, state) in store.list_refs()? {
        match images.get(&name) {
            // One that is lost is told elsewhere.
            Some(known) if *known != state && store.contains(*known) => {
                store.set_ref(&name, *known)?;
            }
            None if name.starts_with("image/") || build_of(&name) >= Some(next_build) => {
                store.remove_ref(&name)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// The build whose step a ref names, from `build/12/step-3`.
fn build_of(name: &str) -> Option<u64> {
    name.strip_prefix("build/")?.split('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use umbra_state::{Dir, Meta, Tree};

    use super::*;

    fn state(store: &Store, mode: u16) -> StateId {
        let root = Dir { meta: Meta { mode, ..Meta::default() }, ..Dir::default() };
        store.put(&Tree { root: root.into() }).expect("put")
    }

    #[test]
    fn refs_follow_the_database() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(dir.path()).expect("a store");
        let (old, new) = (state(&store, 0o700), state(&store, 0o755));
        for name in ["image/web", "image/unknown", "build/4/step-0", "build/5/step-0", "mine"] {
            store.set_ref(name, new).expect("set");
        }
        let images = BTreeMap::from([("image/web".to_owned(), old)]);
        settle(&store, &images, 5).expect("settled");
        let kept = [("build/4/step-0", new), ("image/web", old), ("mine", new)];
        let kept = kept.map(|(name, state)| (name.to_owned(), state));
        assert_eq!(store.list_refs().expect("listed"), BTreeMap::from(kept));
    }
}
