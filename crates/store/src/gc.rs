//! Collecting: removing what no ref and no caller needs.
//!
//! The collector works alone: whoever adds holds the lock shared. Images leave the list before
//! their objects go, so that an interrupted collection leaves only objects nobody lists.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;

use rustix::fs::{AtFlags, unlinkat};
use umbra_state::{Digest, StateId, Tree};

use crate::error::{StoreError, io_error};
use crate::fault::Fault;
use crate::lock::Lock;
use crate::object::{each_object, object_name};
use crate::state::object_of;
use crate::store::Store;

/// What a collection removed, or would remove.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GcReport {
    /// States that are no longer there.
    pub states_removed: Vec<StateId>,
    /// Content objects and images that are no longer there.
    pub objects_removed: u64,
    /// Bytes on disk they took.
    pub bytes_freed: u64,
    /// States that stay.
    pub states_kept: u64,
    /// States that were to be kept and are not in the store.
    pub missing: Vec<StateId>,
}

impl Store {
    /// Removes every state that neither a ref nor `keep` names, and every object that no
    /// remaining state needs. Waits until nobody adds to the store (see [`Store::pin`]).
    pub fn gc(&self, keep: &[StateId]) -> Result<GcReport, StoreError> {
        let _alone = Lock::exclusive(&self.inner.root)?;
        self.collect(keep, false)
    }

    /// What [`Store::gc`] would remove; removes nothing and keeps nobody waiting.
    pub fn gc_dry_run(&self, keep: &[StateId]) -> Result<GcReport, StoreError> {
        let _lock = Lock::shared(&self.inner.root)?;
        self.collect(keep, true)
    }

    fn collect(&self, keep: &[StateId], is_dry: bool) -> Result<GcReport, StoreError> {
        let mut report = GcReport::default();
        let roots: BTreeSet<StateId> =
            self.list_refs()?.into_values().chain(keep.iter().copied()).collect();
        let mut live = HashSet::new();
        for &id in &roots {
            if !self.contains(id) {
                report.missing.push(id);
                continue;
            }
            report.states_kept += 1;
            live.insert(object_name(id.0));
            live.extend(objects(&self.load(id)?).into_iter().map(object_name));
        }
        for id in self.states()?.into_iter().filter(|id| !roots.contains(id)) {
            if !is_dry {
                unlinkat(&self.inner.images, id.to_string(), AtFlags::empty())
                    .map_err(io_error(format!("remove state {id}")))?;
                self.inner.faults.hit(Fault::ImageUnlisted);
            }
            report.states_removed.push(id);
        }
        each_object(&self.inner, &mut |name, entry| {
            let failed = || io_error(format!("remove object {name}"));
            let metadata = entry.metadata().map_err(failed())?;
            if live.contains(&name) || !metadata.is_file() {
                return Ok(());
            }
            report.objects_removed += 1;
            report.bytes_freed += metadata.blocks() * 512;
            if !is_dry {
                fs::remove_file(entry.path()).map_err(failed())?;
                self.inner.faults.hit(Fault::ObjectRemoved);
            }
            Ok(())
        })?;
        if !is_dry {
            self.remove_stale_checkouts()?;
        }
        Ok(report)
    }
}

/// All objects a tree needs.
pub(crate) fn objects(tree: &Tree) -> HashSet<Digest> {
    let mut objects = HashSet::new();
    tree.walk(&mut |_, node| objects.extend(object_of(node).map(|(digest, _)| digest)));
    objects
}
