//! Doors to parts that are no part of this crate's interface, for the fuzz targets.

use std::io;

use umbra_state::{Digest, StateId, Tree};
use umbra_store::Store;

use crate::ext4::{self, BLOCK, Plan};
use crate::fstab;
use crate::ids::Ids;
use crate::layout::Layout;
use crate::medium::Medium;

/// What was written where when a tree became a root: the filesystem's size, and the offset and
/// length of each write. `None` if ext4 cannot hold the tree.
pub fn root(store: &Store, tree: &Tree) -> Option<(u64, Vec<(u64, u64)>)> {
    let plan = Plan::new(store, tree).ok()?;
    let layout = Layout::new(&plan, None).ok()?;
    let mut writes = Writes(Vec::new());
    // What was planned fits.
    ext4::write(&plan, &layout.geometry, &ids(), &mut writes).ok()?;
    Some((layout.geometry.blocks * BLOCK, writes.0))
}

/// What is warned of in an `/etc/fstab`.
pub fn warnings(bytes: &[u8]) -> Vec<String> {
    fstab::warnings(bytes, &ids())
}

fn ids() -> Ids {
    Ids::of(StateId(Digest::new([0; 32])))
}

struct Writes(Vec<(u64, u64)>);

impl Medium for Writes {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.push((offset, bytes.len() as u64));
        Ok(())
    }
}
