//! From the EROFS part of an image to a tree.
//!
//! The library's own reader drops attributes that a nested overlay may own
//! (`trusted.overlay.opaque`, `user.overlay.whiteout` and the like) and turns marked files into
//! devices; this one gives back what was handed in.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use composefs::erofs::format::{self, DataLayout, XATTR_PREFIXES};
use composefs::erofs::reader::{ErofsReaderError, Image, InodeHeader as _};
use composefs::erofs::reader::{InodeOps as _, InodeType, XAttr};
use umbra_state::{Content, Digest, Dir, Leaf, LinkId, Meta, Mtime, Node, Tree};

use crate::object::INLINE_MAX;
use crate::stack::DEPTH_MAX;

/// The longest target of a symbolic link that Linux allows.
const SYMLINK_MAX: usize = 4095;

const OWN_PREFIX: &[u8] = b"trusted.overlay.";
const ESCAPED_PREFIX: &[u8] = b"trusted.overlay.overlay.";
const METACOPY: &[u8] = b"trusted.overlay.metacopy";

/// Reads a whole tree.
pub(super) fn tree(image: &[u8]) -> Result<Tree, String> {
    let image = Image::open(image).and_then(Image::restrict_to_composefs).map_err(text)?;
    let root = u64::from(image.sb.root_nid.get());
    let mut decoder =
        Decoder { image: &image, leaves: HashMap::new(), dirs: HashSet::new(), next_link: 0 };
    let root = decoder.dir(root, 0)?;
    Ok(Tree { root: Arc::new(root) })
}

struct Decoder<'a> {
    image: &'a Image<'a>,
    /// Inodes of several names.
    leaves: HashMap<u64, Arc<Leaf>>,
    dirs: HashSet<u64>,
    next_link: u64,
}

impl Decoder<'_> {
    fn dir(&mut self, nid: u64, depth: usize) -> Result<Dir, String> {
        if depth > DEPTH_MAX {
            return Err("it has too many nested directories".into());
        }
        if !self.dirs.insert(nid) {
            return Err("it has one directory in two places".into());
        }
        let image = self.image;
        let inode = image.inode(nid).map_err(text)?;
        let meta = self.read_meta(&inode)?.0;
        let mut entries = BTreeMap::new();
        for (name, child) in names(image, &inode)? {
            let inode = image.inode(child).map_err(text)?;
            if depth == 0 && is_stub(name, &inode) {
                continue;
            }
            let node = match inode.mode().is_dir() {
                true => Node::Dir(Arc::new(self.dir(child, depth + 1)?)),
                false => Node::Leaf(self.leaf(child, &inode)?),
            };
            if entries.insert(name.into(), node).is_some() {
                return Err("it has one name twice".into());
            }
        }
        Ok(Dir { meta, entries })
    }

    fn leaf(&mut self, nid: u64, inode: &InodeType<'_>) -> Result<Arc<Leaf>, String> {
        if let Some(leaf) = self.leaves.get(&nid) {
            return Ok(Arc::clone(leaf));
        }
        let (meta, digest) = self.read_meta(inode)?;
        let content = self.content(inode, digest)?;
        let is_linked = inode.nlink() > 1;
        let link = is_linked.then_some(LinkId(self.next_link));
        let leaf = Arc::new(Leaf { meta, content, link });
        if is_linked {
            self.next_link += 1;
            self.leaves.insert(nid, Arc::clone(&leaf));
        }
        Ok(leaf)
    }

    fn content(&self, inode: &InodeType<'_>, digest: Option<Digest>) -> Result<Content, String> {
        let device = || u64::from(inode.u());
        Ok(match inode.mode().0.get() & format::S_IFMT {
            format::S_IFREG => match digest {
                Some(digest) => Content::Object { digest, size: inode.size() },
                None if inode.data_layout().map_err(text)? == DataLayout::ChunkBased => {
                    return Err("it has a file without content".into());
                }
                None => Content::Inline(self.data(inode, INLINE_MAX)?.into()),
            },
            format::S_IFLNK => Content::Symlink(self.data(inode, SYMLINK_MAX)?.into()),
            format::S_IFCHR => Content::Char(device()),
            format::S_IFBLK => Content::Block(device()),
            format::S_IFIFO => Content::Fifo,
            format::S_IFSOCK => Content::Socket,
            kind => return Err(format!("it has an inode of unknown type {kind:o}")),
        })
    }

    /// An inode's metadata, and the digest of the object that holds its content.
    fn read_meta(&self, inode: &InodeType<'_>) -> Result<(Meta, Option<Digest>), String> {
        let (uid, gid, sec, nsec) = match inode {
            // Compact inodes share the earliest time of the image.
            InodeType::Compact(inode) => (
                u32::from(inode.header.uid.get()),
                u32::from(inode.header.gid.get()),
                self.image.sb.build_time.get(),
                self.image.sb.build_time_nsec.get(),
            ),
            InodeType::Extended(inode) => (
                inode.header.uid.get(),
                inode.header.gid.get(),
                inode.header.mtime.get(),
                inode.header.mtime_nsec.get(),
            ),
        };
        let mtime = super::checked(Mtime { sec: sec as i64, nsec })?;
        let mode = inode.mode().0.get() & 0o7777;
        let (xattrs, digest) = self.xattrs(inode)?;
        Ok((Meta { mode, uid, gid, mtime, xattrs }, digest))
    }

    #[expect(clippy::type_complexity, reason = "a pair used once")]
    fn xattrs(
        &self,
        inode: &InodeType<'_>,
    ) -> Result<(BTreeMap<Box<[u8]>, Box<[u8]>>, Option<Digest>), String> {
        let mut kept = BTreeMap::new();
        let mut digest = None;
        let Some(section) = inode.xattrs().map_err(text)? else {
            return Ok((kept, digest));
        };
        let mut take = |xattr: &XAttr| -> Result<(), String> {
            let name = full_name(xattr)?;
            let value = xattr.value().map_err(text)?;
            if let Some(rest) = name.strip_prefix(ESCAPED_PREFIX) {
                kept.insert([OWN_PREFIX, rest].concat().into(), value.into());
            } else if name == METACOPY {
                digest = Some(object_of(value)?);
            } else if !name.starts_with(OWN_PREFIX) {
                kept.insert(name.into(), value.into());
            }
            Ok(())
        };
        for id in section.shared().map_err(text)? {
            take(self.image.shared_xattr(id.get()).map_err(text)?)?;
        }
        for xattr in section.local().map_err(text)? {
            take(xattr.map_err(text)?)?;
        }
        Ok((kept, digest))
    }

    /// The bytes of a small file or symbolic link. Larger ones are refused unread: any number of
    /// names may lead to them.
    fn data(&self, inode: &InodeType<'_>, bytes_max: usize) -> Result<Vec<u8>, String> {
        if inode.size() > bytes_max as u64 {
            return Err(format!("it has a file or link of more than {bytes_max} bytes inside"));
        }
        let mut data = Vec::new();
        for block in self.image.inode_blocks(inode).map_err(text)? {
            data.extend_from_slice(self.image.block(block).map_err(text)?);
        }
        data.extend_from_slice(inode.inline().unwrap_or_default());
        let size = usize::try_from(inode.size()).map_err(|error| error.to_string())?;
        if data.len() < size {
            return Err("it has a file that is cut short".into());
        }
        data.truncate(size);
        Ok(data)
    }
}

/// The names in a directory and the inodes they stand for, `.` and `..` left out.
fn names<'b>(
    image: &'b Image<'_>,
    inode: &'b InodeType<'_>,
) -> Result<Vec<(&'b [u8], u64)>, String> {
    let mut names = Vec::new();
    for block in image.inode_blocks(inode).map_err(text)? {
        names_in_block(image.block(block).map_err(text)?, &mut names)?;
    }
    if let Some(inline) = inode.inline().filter(|inline| !inline.is_empty()) {
        names_in_block(inline, &mut names)?;
    }
    Ok(names)
}

/// A directory block is an array of 12-byte headers (u64 inode, u16 offset of the name, type,
/// padding) and then the names, each up to the next one's start.
fn names_in_block<'b>(block: &'b [u8], names: &mut Vec<(&'b [u8], u64)>) -> Result<(), String> {
    const HEADER: usize = 12;
    let offset_at = |at: usize| -> Option<usize> {
        let bytes = block.get(at * HEADER + 8..at * HEADER + 10)?;
        Some(usize::from(u16::from_le_bytes(bytes.try_into().ok()?)))
    };
    let broken = || "it has a broken directory".to_owned();
    let first = offset_at(0).ok_or_else(broken)?;
    if first == 0 || first % HEADER != 0 {
        return Err(broken());
    }
    let count = first / HEADER;
    for at in 0..count {
        let start = offset_at(at).ok_or_else(broken)?;
        let name = if at + 1 < count {
            block.get(start..offset_at(at + 1).ok_or_else(broken)?).ok_or_else(broken)?
        } else {
            let padded = block.get(start..).ok_or_else(broken)?;
            padded.split(|&byte| byte == 0).next().unwrap_or_default()
        };
        let inode = block.get(at * HEADER..at * HEADER + 8).and_then(|bytes| bytes.try_into().ok());
        let inode = u64::from_le_bytes(inode.ok_or_else(broken)?);
        match name {
            b"." | b".." => {}
            b"" => return Err(broken()),
            name if name.contains(&b'/') || name.contains(&0) || name.len() > 255 => {
                return Err(broken());
            }
            name => names.push((name, inode)),
        }
    }
    Ok(())
}

/// Format V1 fills the root with devices named `00` to `ff` that mean nothing here.
fn is_stub(name: &[u8], inode: &InodeType<'_>) -> bool {
    inode.is_whiteout() && is_stub_name(name)
}

pub(super) fn is_stub_name(name: &[u8]) -> bool {
    name.len() == 2 && name.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn full_name(xattr: &XAttr) -> Result<Vec<u8>, String> {
    let prefix = XATTR_PREFIXES
        .get(usize::from(xattr.header.name_index))
        .ok_or("it has an attribute of unknown kind")?;
    Ok([prefix, xattr.suffix().map_err(text)?].concat())
}

/// The digest in a `struct ovl_metacopy`: version, length, flags, algorithm, then 32 bytes.
fn object_of(value: &[u8]) -> Result<Digest, String> {
    match value {
        [0, 36, 0, 1, digest @ ..] => digest.try_into().ok().map(Digest::new),
        _ => None,
    }
    .ok_or_else(|| "it has a file whose content is named in an unknown way".to_owned())
}

fn text(error: ErofsReaderError) -> String {
    error.to_string()
}
