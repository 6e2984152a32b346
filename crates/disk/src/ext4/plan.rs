//! Which inodes a tree needs, with which numbers, and how many blocks they will take.

use std::collections::HashMap;
use std::fs::File;

use umbra_state::tree::push_name;
use umbra_state::{Content, Digest, Dir, Leaf, LinkId, Meta, Node, Tree};
use umbra_store::Store;

use super::attributes::Attributes;
use super::content::{WHOLE_MAX, scan};
use super::extents::ROOT_BYTES;
use super::inode::{LINKS_MAX, device, has_time};
use super::{BLOCK, FIRST_INODE, ROOT_INODE, Run, directory};
use crate::error::DiskError;

/// Blocks that one inode can name.
const FILE_BLOCKS_MAX: u64 = u32::MAX as u64;
/// Extents that one block of a tree names, about.
const EXTENTS: u64 = 340;

/// The inodes of a tree in the order of their numbers.
pub(crate) struct Plan<'a> {
    store: &'a Store,
    pub(super) inodes: Vec<Planned<'a>>,
    /// The places in `inodes` of what directories hold, one directory after the other.
    pub(super) targets: Vec<u32>,
    /// Where large files are not only zeros, by their place in `inodes`.
    pub(super) scanned: HashMap<usize, Vec<Run>>,
    /// Blocks needed at most, without what the filesystem takes for itself.
    pub(crate) blocks: u64,
}

/// An inode to be.
pub(super) struct Planned<'a> {
    pub(super) what: What<'a>,
    /// The place of the directory with its first name; the root's is itself.
    pub(super) parent: usize,
    name: &'a [u8],
    pub(super) links: u32,
    /// Of a directory: where in the targets its own begin.
    pub(super) targets_at: usize,
}

/// What it is.
#[derive(Clone, Copy)]
pub(super) enum What<'a> {
    Dir(&'a Dir),
    Leaf(&'a Leaf),
}

impl What<'_> {
    pub(super) fn meta(&self) -> &Meta {
        match self {
            Self::Dir(dir) => &dir.meta,
            Self::Leaf(leaf) => &leaf.meta,
        }
    }
}

impl<'a> Plan<'a> {
    /// The plan for a tree whose contents are in `store`; refuses what ext4 cannot hold.
    pub(crate) fn new(store: &'a Store, tree: &'a Tree) -> Result<Self, DiskError> {
        let mut plan = Self {
            store,
            inodes: Vec::new(),
            targets: Vec::new(),
            scanned: HashMap::new(),
            blocks: 0,
        };
        plan.number(tree)?;
        for place in 0..plan.inodes.len() {
            plan.blocks += plan.measure(place)?;
        }
        Ok(plan)
    }

    /// How many inodes there are.
    pub(crate) fn inode_count(&self) -> u64 {
        self.inodes.len() as u64
    }

    /// The inode number of a place.
    pub(super) fn inode_number(place: usize) -> u32 {
        if place == 0 { ROOT_INODE } else { FIRST_INODE + place as u32 - 1 }
    }

    /// The path of what is at a place.
    pub(super) fn path(&self, place: usize) -> Vec<u8> {
        let mut names = Vec::new();
        let mut at = place;
        while at != 0 {
            names.push(self.inodes[at].name);
            at = self.inodes[at].parent;
        }
        let mut path = Vec::new();
        names.iter().rev().for_each(|name| push_name(&mut path, name));
        path
    }

    /// Opens the object of what is at a place.
    pub(super) fn open(&self, place: usize, digest: Digest) -> Result<File, DiskError> {
        Ok(self.store.open_object(digest, &self.path(place))?)
    }

    fn number(&mut self, tree: &'a Tree) -> Result<(), DiskError> {
        let mut linked: HashMap<LinkId, u32> = HashMap::new();
        self.add(What::Dir(&tree.root), 0, b"")?;
        let mut place = 0;
        while let Some(planned) = self.inodes.get(place) {
            if let What::Dir(dir) = planned.what {
                self.inodes[place].targets_at = self.targets.len();
                for (name, node) in &dir.entries {
                    let target = self.target(node, place, name, &mut linked)?;
                    self.targets.push(target);
                }
            }
            place += 1;
        }
        Ok(())
    }

    /// The place of what a name stands for: a new one, unless it is another name of a file.
    fn target(
        &mut self,
        node: &'a Node,
        parent: usize,
        name: &'a [u8],
        linked: &mut HashMap<LinkId, u32>,
    ) -> Result<u32, DiskError> {
        match node {
            Node::Dir(dir) => {
                self.inodes[parent].links += 1;
                self.add(What::Dir(dir), parent, name)
            }
            Node::Leaf(leaf) => {
                if let Some(&place) = leaf.link.as_ref().and_then(|link| linked.get(link)) {
                    self.inodes[place as usize].links += 1;
                    return Ok(place);
                }
                let place = self.add(What::Leaf(leaf), parent, name)?;
                if let Some(link) = leaf.link {
                    linked.insert(link, place);
                }
                Ok(place)
            }
        }
    }

    fn add(&mut self, what: What<'a>, parent: usize, name: &'a [u8]) -> Result<u32, DiskError> {
        let place = self.inodes.len();
        let links = if matches!(what, What::Dir(_)) { 2 } else { 1 };
        self.inodes.push(Planned { what, parent, name, links, targets_at: 0 });
        if name.len() > 255 || place > (u32::MAX / 2) as usize {
            return Err(self.refused(place, "its name is too long, or there are too many"));
        }
        Ok(place as u32)
    }

    /// How many blocks it takes at most.
    fn measure(&mut self, place: usize) -> Result<u64, DiskError> {
        let what = self.inodes[place].what;
        if !has_time(what.meta().mtime) {
            return Err(self.refused(place, "its time is before 1901 or after 2446"));
        }
        let attributes = Attributes::of(&what.meta().xattrs);
        let attributes = attributes.map_err(|why| self.refused(place, why))?;
        let own = match what {
            What::Dir(dir) => directory::blocks(dir.entries.keys().map(|name| name.len())),
            What::Leaf(leaf) => self.measure_leaf(place, leaf)?,
        };
        Ok(own + u64::from(attributes.block.is_some()))
    }

    fn measure_leaf(&mut self, place: usize, leaf: &Leaf) -> Result<u64, DiskError> {
        if self.inodes[place].links > LINKS_MAX {
            return Err(self.refused(place, "it has more than 65000 names"));
        }
        match &leaf.content {
            Content::Inline(bytes) => Ok((bytes.len() as u64).div_ceil(BLOCK)),
            Content::Object { size, .. } if *size <= WHOLE_MAX => Ok(size.div_ceil(BLOCK)),
            Content::Object { digest, size } => self.measure_large(place, *digest, *size),
            Content::Symlink(target) if target.len() >= BLOCK as usize => {
                Err(self.refused(place, "its target is too long"))
            }
            Content::Symlink(target) => Ok(u64::from(target.len() >= ROOT_BYTES)),
            Content::Char(number) | Content::Block(number) if device(*number).is_none() => {
                Err(self.refused(place, "its device number is too large"))
            }
            _ => Ok(0),
        }
    }

    fn measure_large(&mut self, place: usize, digest: Digest, size: u64) -> Result<u64, DiskError> {
        if size.div_ceil(BLOCK) > FILE_BLOCKS_MAX {
            return Err(self.refused(place, "it is larger than 16 TiB"));
        }
        let file = self.open(place, digest)?;
        let runs = scan(&file, size).map_err(DiskError::io("read an object of the store"))?;
        let blocks: u64 = runs.iter().map(|run| run.blocks).sum();
        let nodes = (runs.len() as u64 + blocks / 32_768).div_ceil(EXTENTS) + 1;
        self.scanned.insert(place, runs);
        Ok(blocks + nodes)
    }

    fn refused(&self, place: usize, why: impl Into<String>) -> DiskError {
        DiskError::cannot_hold(self.path(place), why)
    }
}
