//! From a tree to composefs, setting aside what composefs cannot hold.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use composefs::erofs::format::FormatVersion;
use composefs::erofs::writer::{ValidatedFileSystem, mkfs_erofs_versioned};
use composefs::fsverity::Sha256HashValue;
use composefs::generic_tree::LeafId;
use composefs::tree::{Directory, FileSystem, Inode, Leaf as ComposefsLeaf};
use composefs::tree::{LeafContent, RegularFile, Stat};
use umbra_state::tree::push_name;
use umbra_state::{Content, Digest, Dir, Leaf, LinkId, Meta, Node, Tree};

use super::side::Side;
use crate::error::StoreError;
use crate::object::INLINE_MAX;
use crate::stack::DEPTH_MAX;

/// Largest value composefs can write (its length field has 16 bits).
const XATTR_VALUE_MAX: usize = u16::MAX as usize;
/// Most attributes of one inode: composefs counts shared ones in 8 bits.
const XATTR_COUNT_MAX: usize = 255;
/// Most bytes of one inode's attributes: composefs counts 4-byte words in 16 bits. Half of that
/// leaves room for headers, padding and its own attributes.
const XATTR_BYTES_MAX: usize = 128 << 10;

/// Attributes composefs adds to a directory that holds a whiteout, under the names it gives
/// them on disk, unescaped. Ours must not meet them there.
const WHITEOUT_DIR_XATTRS: [&[u8]; 4] = [
    b"trusted.overlay.opaque",
    b"trusted.overlay.whiteouts",
    b"user.overlay.opaque",
    b"user.overlay.whiteouts",
];

/// The composefs form of a tree and what it leaves out.
pub(super) fn filesystem(tree: &Tree) -> Result<(FileSystem<Sha256HashValue>, Side), StoreError> {
    let mut encoder = Encoder::default();
    let root = encoder.dir(&tree.root, 0)?;
    let filesystem = FileSystem { root, leaves: encoder.leaves };
    Ok((filesystem, encoder.side))
}

/// The EROFS image of a composefs tree.
pub(super) fn erofs(filesystem: FileSystem<Sha256HashValue>) -> Result<Vec<u8>, StoreError> {
    let valid = ValidatedFileSystem::new(filesystem).map_err(|error| StoreError::Corrupt {
        what: "a tree before it is written".into(),
        why: error.to_string(),
    })?;
    Ok(mkfs_erofs_versioned(&valid, FormatVersion::V1).into_vec())
}

#[derive(Default)]
struct Encoder<'a> {
    leaves: Vec<ComposefsLeaf<Sha256HashValue>>,
    /// Where each linked inode went, and the leaf all its names must equal.
    links: HashMap<LinkId, (LeafId, &'a Leaf)>,
    side: Side,
    path: Vec<u8>,
}

impl<'a> Encoder<'a> {
    fn dir(
        &mut self,
        dir: &'a Dir,
        depth: usize,
    ) -> Result<Directory<Sha256HashValue>, StoreError> {
        if depth > DEPTH_MAX {
            return Err(self.refuse("it is too many directories deep"));
        }
        let holds_whiteout = dir.entries.values().any(is_whiteout);
        let mut directory = Directory::new(self.stat(&dir.meta, holds_whiteout)?);
        for (name, node) in &dir.entries {
            let parent_len = self.path.len();
            push_name(&mut self.path, name);
            self.check_name(name)?;
            let inode = match node {
                Node::Dir(dir) => Inode::Directory(Box::new(self.dir(dir, depth + 1)?)),
                Node::Leaf(leaf) => Inode::leaf(self.leaf(leaf)?),
            };
            directory.insert(OsStr::from_bytes(name), inode);
            self.path.truncate(parent_len);
        }
        Ok(directory)
    }

    fn leaf(&mut self, leaf: &'a Leaf) -> Result<LeafId, StoreError> {
        if leaf.content == Content::Char(0) {
            // composefs turns it into a marked regular file and refuses links to it.
            self.side.keep_leaf(&self.path, leaf);
            return self.push(&Leaf {
                meta: Meta { xattrs: BTreeMap::new(), ..leaf.meta.clone() },
                ..leaf.clone()
            });
        }
        let Some(link) = leaf.link else {
            return self.push(leaf);
        };
        if let Some(&(id, first)) = self.links.get(&link) {
            if (&first.meta, &first.content) != (&leaf.meta, &leaf.content) {
                return Err(self.refuse("it differs from another name of the same hard link"));
            }
            if self.is_too_much(&leaf.meta) {
                self.side.keep_xattrs(&self.path, &leaf.meta.xattrs);
            }
            return Ok(id);
        }
        let id = self.push(leaf)?;
        self.links.insert(link, (id, leaf));
        Ok(id)
    }

    fn push(&mut self, leaf: &Leaf) -> Result<LeafId, StoreError> {
        let content = self.content(&leaf.content)?;
        let stat = self.stat(&leaf.meta, false)?;
        self.leaves.push(ComposefsLeaf { stat, content });
        Ok(LeafId(self.leaves.len() - 1))
    }

    fn content(&self, content: &Content) -> Result<LeafContent<Sha256HashValue>, StoreError> {
        Ok(match content {
            Content::Inline(bytes) if bytes.len() <= INLINE_MAX => {
                LeafContent::Regular(RegularFile::Inline(bytes.clone()))
            }
            Content::Inline(_) => return Err(self.refuse("it is too large to be kept inline")),
            Content::Object { size, .. } if *size <= INLINE_MAX as u64 => {
                return Err(self.refuse("it is small enough to be kept inline, but is an object"));
            }
            Content::Object { size, .. } if *size > i64::MAX as u64 => {
                return Err(self.refuse("it is larger than a file can be"));
            }
            Content::Object { digest, size } => {
                LeafContent::Regular(RegularFile::External(to_composefs(*digest), *size))
            }
            Content::Symlink(target) if target.is_empty() || target.len() > 4095 => {
                return Err(self.refuse("a symbolic link's target has 1 to 4095 bytes"));
            }
            Content::Symlink(target) if target.contains(&0) => {
                return Err(self.refuse("a symbolic link's target has no NUL"));
            }
            Content::Symlink(target) => LeafContent::Symlink(OsStr::from_bytes(target).into()),
            Content::Char(number) => LeafContent::CharacterDevice(self.device(*number)?),
            Content::Block(number) => LeafContent::BlockDevice(self.device(*number)?),
            Content::Fifo => LeafContent::Fifo,
            Content::Socket => LeafContent::Socket,
        })
    }

    /// Linux has 12 bits of major and 20 of minor number.
    fn device(&self, number: u64) -> Result<u64, StoreError> {
        let fits = u32::try_from(number).is_ok();
        fits.then_some(number).ok_or_else(|| self.refuse("its device number has more than 32 bits"))
    }

    fn stat(&mut self, meta: &Meta, holds_whiteout: bool) -> Result<Stat, StoreError> {
        if meta.mode > 0o7777 {
            return Err(self.refuse("its mode has bits beyond 07777"));
        }
        if meta.mtime.nsec >= 1_000_000_000 {
            return Err(self.refuse("its modification time has a second or more of nanoseconds"));
        }
        if meta.xattrs.keys().any(|name| name.is_empty() || name.len() > 255 || name.contains(&0)) {
            return Err(self.refuse("an extended attribute's name has 1 to 255 bytes and no NUL"));
        }
        let mut kept = &meta.xattrs;
        let without;
        if self.is_too_much(meta) {
            self.side.keep_xattrs(&self.path, &meta.xattrs);
            without = BTreeMap::new();
            kept = &without;
        } else if holds_whiteout {
            self.side.keep_xattrs(&self.path, &meta.xattrs);
            let clashes = |name: &[u8]| WHITEOUT_DIR_XATTRS.contains(&name);
            without = kept.clone().into_iter().filter(|(name, _)| !clashes(name)).collect();
            kept = &without;
        }
        let xattrs = kept
            .iter()
            .map(|(name, value)| (Box::from(OsStr::from_bytes(name)), value.clone()))
            .collect();
        Ok(Stat {
            st_mode: u32::from(meta.mode),
            st_uid: meta.uid,
            st_gid: meta.gid,
            st_mtim_sec: meta.mtime.sec,
            st_mtim_nsec: meta.mtime.nsec,
            xattrs,
        })
    }

    fn is_too_much(&self, meta: &Meta) -> bool {
        let bytes: usize =
            meta.xattrs.iter().map(|(name, value)| 16 + name.len() + value.len()).sum();
        meta.xattrs.len() > XATTR_COUNT_MAX
            || bytes > XATTR_BYTES_MAX
            || meta.xattrs.values().any(|value| value.len() > XATTR_VALUE_MAX)
    }

    fn check_name(&self, name: &[u8]) -> Result<(), StoreError> {
        if name.is_empty() || name.len() > 255 {
            return Err(self.refuse("a name has 1 to 255 bytes"));
        }
        if name == b"." || name == b".." || name.contains(&b'/') || name.contains(&0) {
            return Err(self.refuse("a name is not '.' or '..' and has no slash or NUL"));
        }
        Ok(())
    }

    fn refuse(&self, why: &'static str) -> StoreError {
        StoreError::NoTree { path: self.path.clone(), why }
    }
}

/// Whether overlayfs would take this for a deletion.
fn is_whiteout(node: &Node) -> bool {
    matches!(node, Node::Leaf(leaf) if leaf.content == Content::Char(0))
}

fn to_composefs(digest: Digest) -> Sha256HashValue {
    Sha256HashValue::from(*digest.as_bytes())
}
