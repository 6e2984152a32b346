//! A planned filesystem, written: contents first, then what refers to them.

use std::io;
use std::os::unix::fs::FileExt;

use umbra_state::{Content, Digest, Dir, Leaf, Meta};

use super::attributes::{Attributes, seal_block};
use super::content::{self, WHOLE_MAX};
use super::directory::{self, Entry, Kind};
use super::extents::{Extents, ROOT_BYTES};
use super::geometry::Geometry;
use super::inode::{BY_EXTENTS, Inode, LINKS_MAX, device, kind_of, seed};
use super::inodes::Inodes;
use super::plan::{Plan, What};
use super::space::Space;
use super::tables::Tables;
use super::{BLOCK, JOURNAL_INODE, RESIZE_INODE, Run, journal, resize};
use crate::crc::crc32c;
use crate::error::DiskError;
use crate::ids::Ids;
use crate::medium::{Bytes, Medium};

/// Writes the filesystem on a medium of zeros.
pub(crate) fn write(
    plan: &Plan<'_>,
    geometry: &Geometry,
    ids: &Ids,
    medium: &mut dyn Medium,
) -> Result<(), DiskError> {
    let seed = crc32c(!0, &ids.filesystem.0);
    let space = Space::new(geometry.kept(), geometry.blocks);
    let inodes = Inodes::new(geometry);
    let mut writer = Writer { plan, medium, seed, space, inodes, buffer: Vec::new() };
    writer.resize_inode(geometry)?;
    let journal = writer.journal(geometry)?;
    for place in 0..plan.inodes.len() {
        writer.inode(place)?;
    }
    let Writer { medium, space, mut inodes, .. } = writer;
    inodes.flush(medium).map_err(written)?;
    let journal_bytes = geometry.journal_blocks * BLOCK;
    let (space, inodes) = (&space, &inodes);
    let tables = Tables { geometry, ids, seed, space, inodes, journal: &journal, journal_bytes };
    tables.write(medium).map_err(written)
}

struct Writer<'a> {
    plan: &'a Plan<'a>,
    medium: &'a mut dyn Medium,
    seed: u32,
    space: Space,
    inodes: Inodes<'a>,
    /// For the bytes of one file.
    buffer: Vec<u8>,
}

impl Writer<'_> {
    fn resize_inode(&mut self, geometry: &Geometry) -> Result<(), DiskError> {
        let upper = self.space.take_one().ok_or_else(full)?;
        let mut inode = own_inode();
        inode.blocks = resize::write(geometry, upper, self.medium).map_err(written)?;
        inode.size = resize::SIZE;
        Bytes(&mut inode.map).u32(resize::MAP_AT, upper as u32);
        self.put(RESIZE_INODE, &inode)
    }

    /// Gives the journal's map.
    fn journal(&mut self, geometry: &Geometry) -> Result<[u8; ROOT_BYTES], DiskError> {
        let mut inode = own_inode();
        let blocks = geometry.journal_blocks;
        let superblock = journal::superblock(blocks);
        self.bytes(JOURNAL_INODE, &mut inode, &[Run { start: 0, blocks }], &superblock)?;
        inode.size = blocks * BLOCK;
        self.put(JOURNAL_INODE, &inode)?;
        Ok(inode.map)
    }

    fn inode(&mut self, place: usize) -> Result<(), DiskError> {
        let planned = &self.plan.inodes[place];
        let number = Plan::inode_number(place);
        let meta = planned.what.meta();
        let inode = match planned.what {
            What::Dir(dir) => self.dir(place, dir)?,
            What::Leaf(leaf) => self.leaf(place, leaf)?,
        };
        let inode = self.attributes(place, inode, meta)?;
        self.put(number, &inode)
    }

    fn attributes(
        &mut self,
        place: usize,
        mut inode: Inode,
        meta: &Meta,
    ) -> Result<Inode, DiskError> {
        let attributes = Attributes::of(&meta.xattrs)
            .map_err(|why| DiskError::cannot_hold(self.plan.path(place), why))?;
        inode.attributes = attributes.in_inode;
        if let Some(mut block) = attributes.block {
            let at = self.space.take_one().ok_or_else(full)?;
            seal_block(&mut block, self.seed, at);
            self.medium.write_at(&block, at * BLOCK).map_err(written)?;
            inode.attribute_block = at;
            inode.blocks += 1;
        }
        Ok(inode)
    }

    fn dir(&mut self, place: usize, dir: &Dir) -> Result<Inode, DiskError> {
        let planned = &self.plan.inodes[place];
        let number = Plan::inode_number(place);
        let own: [(&[u8], usize); 2] = [(b".", place), (b"..", planned.parent)];
        let own = own.map(|(name, place)| Entry {
            name,
            inode: Plan::inode_number(place),
            kind: Kind::Dir,
        });
        let targets = &self.plan.targets[planned.targets_at..];
        let entries = dir.entries.keys().zip(targets).map(|(name, &target)| Entry {
            name,
            inode: Plan::inode_number(target as usize),
            kind: kind(&self.plan.inodes[target as usize].what),
        });
        let bytes = directory::write(own.into_iter().chain(entries), seed(self.seed, number));
        // More subdirectories than are counted.
        let links = if planned.links > LINKS_MAX { 1 } else { planned.links };
        let mut inode = Inode::new(Kind::Dir, &dir.meta, links);
        self.bytes(number, &mut inode, &[directory::whole(&bytes)], &bytes)?;
        inode.size = bytes.len() as u64;
        Ok(inode)
    }

    fn leaf(&mut self, place: usize, leaf: &Leaf) -> Result<Inode, DiskError> {
        let number = Plan::inode_number(place);
        let links = self.plan.inodes[place].links;
        let mut inode = Inode::new(kind_of(&leaf.content), &leaf.meta, links);
        inode.size = leaf.content.size();
        match &leaf.content {
            Content::Inline(bytes) => {
                self.bytes(number, &mut inode, &content::runs(bytes), bytes)?;
            }
            Content::Object { digest, size } if *size <= WHOLE_MAX => {
                self.small_object(place, &mut inode, *digest)?;
            }
            Content::Object { digest, .. } => self.large_object(place, &mut inode, *digest)?,
            Content::Symlink(target) if target.len() < ROOT_BYTES => {
                inode.map[..target.len()].copy_from_slice(target);
            }
            Content::Symlink(target) => {
                self.bytes(number, &mut inode, &[Run { start: 0, blocks: 1 }], target)?;
            }
            Content::Char(device_number) | Content::Block(device_number) => {
                inode.map = device(*device_number).unwrap_or([0; ROOT_BYTES]);
            }
            Content::Fifo | Content::Socket => {}
        }
        Ok(inode)
    }

    fn small_object(
        &mut self,
        place: usize,
        inode: &mut Inode,
        digest: Digest,
    ) -> Result<(), DiskError> {
        let file = self.plan.open(place, digest)?;
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(inode.size as usize, 0);
        file.read_exact_at(&mut buffer, 0).map_err(read)?;
        let runs = content::runs(&buffer);
        self.bytes(Plan::inode_number(place), inode, &runs, &buffer)?;
        self.buffer = buffer;
        Ok(())
    }

    fn large_object(
        &mut self,
        place: usize,
        inode: &mut Inode,
        digest: Digest,
    ) -> Result<(), DiskError> {
        let file = self.plan.open(place, digest)?;
        let runs = self.plan.scanned.get(&place).map_or(&[][..], |runs| runs);
        let mut extents = Extents::default();
        for run in runs {
            let mut logical = run.start;
            for physical in self.space.take(run.blocks).ok_or_else(full)? {
                extents.add(logical, physical);
                let piece = Run { start: logical, blocks: physical.blocks };
                let medium = &mut *self.medium;
                let mut write =
                    |bytes: &[u8], offset| medium.write_at(bytes, physical.start * BLOCK + offset);
                content::copy(&file, inode.size, piece, &mut write)
                    .map_err(DiskError::io("copy a large file to the disk"))?;
                logical += physical.blocks;
            }
        }
        self.map(Plan::inode_number(place), inode, extents)
    }

    /// Writes the runs of blocks of what is in memory, as far as the bytes go.
    fn bytes(
        &mut self,
        number: u32,
        inode: &mut Inode,
        runs: &[Run],
        bytes: &[u8],
    ) -> Result<(), DiskError> {
        let mut extents = Extents::default();
        for run in runs {
            let mut logical = run.start;
            for physical in self.space.take(run.blocks).ok_or_else(full)? {
                extents.add(logical, physical);
                let end = (logical + physical.blocks) * BLOCK;
                let range = (logical * BLOCK) as usize..bytes.len().min(end as usize);
                if !range.is_empty() {
                    let at = physical.start * BLOCK;
                    self.medium.write_at(&bytes[range], at).map_err(written)?;
                }
                logical += physical.blocks;
            }
        }
        self.map(number, inode, extents)
    }

    /// Makes the inode lead to its blocks.
    fn map(&mut self, number: u32, inode: &mut Inode, extents: Extents) -> Result<(), DiskError> {
        inode.blocks += extents.blocks;
        let space = &mut self.space;
        let tree = extents.tree(seed(self.seed, number), || space.take_one()).ok_or_else(full)?;
        for (block, bytes) in &tree.nodes {
            self.medium.write_at(bytes, block * BLOCK).map_err(written)?;
        }
        inode.blocks += tree.nodes.len() as u64;
        inode.flags |= BY_EXTENTS;
        inode.map = tree.root;
        Ok(())
    }

    fn put(&mut self, number: u32, inode: &Inode) -> Result<(), DiskError> {
        let bytes = inode.bytes(seed(self.seed, number));
        let is_dir = inode.kind == Kind::Dir;
        self.inodes.put(number, &bytes, is_dir, self.medium).map_err(written)
    }
}

fn kind(what: &What<'_>) -> Kind {
    match what {
        What::Dir(_) => Kind::Dir,
        What::Leaf(leaf) => kind_of(&leaf.content),
    }
}

/// An inode of the filesystem itself.
fn own_inode() -> Inode {
    Inode::new(Kind::File, &Meta { mode: 0o600, ..Meta::default() }, 1)
}

fn written(error: io::Error) -> DiskError {
    DiskError::io("write the disk")(error)
}

fn read(error: io::Error) -> DiskError {
    DiskError::io("read an object of the store")(error)
}

/// Cannot be where the plan's blocks fit.
fn full() -> DiskError {
    written(io::ErrorKind::StorageFull.into())
}
