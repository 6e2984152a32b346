//! The tables of inodes, written group by group as their numbers go up.

use std::io;

use super::geometry::Geometry;
use super::{BLOCK, INODE_BYTES};
use crate::medium::Medium;

/// The tables under way.
pub(super) struct Inodes<'a> {
    geometry: &'a Geometry,
    group: u64,
    /// That group's inodes up to the last that was put.
    table: Vec<u8>,
    /// How many directories each group has.
    pub(super) dirs: Vec<u64>,
    /// The highest number that was put.
    pub(super) last: u32,
}

impl<'a> Inodes<'a> {
    pub(super) fn new(geometry: &'a Geometry) -> Self {
        let dirs = vec![0; geometry.groups as usize];
        Self { geometry, group: 0, table: Vec::new(), dirs, last: 0 }
    }

    /// Puts an inode; none of an earlier group may come after it.
    pub(super) fn put(
        &mut self,
        number: u32,
        bytes: &[u8; INODE_BYTES],
        is_dir: bool,
        medium: &mut dyn Medium,
    ) -> io::Result<()> {
        let index = u64::from(number - 1);
        let group = index / self.geometry.inodes_per_group;
        if group != self.group {
            self.flush(medium)?;
            self.group = group;
        }
        let at = (index % self.geometry.inodes_per_group) as usize * INODE_BYTES;
        self.table.resize(self.table.len().max(at + INODE_BYTES), 0);
        self.table[at..at + INODE_BYTES].copy_from_slice(bytes);
        self.dirs[group as usize] += u64::from(is_dir);
        self.last = self.last.max(number);
        Ok(())
    }

    /// Writes what was put and not yet written.
    pub(super) fn flush(&mut self, medium: &mut dyn Medium) -> io::Result<()> {
        medium.write_at(&self.table, self.geometry.inode_table(self.group) * BLOCK)?;
        self.table.clear();
        Ok(())
    }
}
