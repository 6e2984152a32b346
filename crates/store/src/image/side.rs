//! The side record: what composefs cannot hold, path by path.
//!
//! ```text
//!   record  = u32 number of items, items in byte order of paths
//!   item    = bytes path, u8 kind, then
//!             kind 0: xattrs                                  replace those of the node there
//!             kind 1: u32 mode, u32 uid, u32 gid, i64 sec, u32 nsec, u32 link, xattrs
//!                     a character device 0:0 stands there, in the EROFS part a leaf or, in the
//!                     root, nothing but a stub; link 0: one name, else a number shared by the
//!                     names of one inode, counted from 1 in byte order of paths
//!   xattrs  = u32 number, then (bytes name, bytes value) in byte order of names
//!   bytes   = u32 length, then that many
//! ```
//! All numbers are little-endian.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use umbra_state::{Content, Dir, Leaf, LinkId, Meta, Mtime, Node, Tree};

use super::decode::is_stub_name;

const MAGIC: &[u8; 8] = b"umbraX01";
const BLOCK: usize = 4096;
const SUPERBLOCK: usize = 1024;

type Xattrs = BTreeMap<Box<[u8]>, Box<[u8]>>;

/// A side record.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Side {
    items: BTreeMap<Vec<u8>, Item>,
    /// Numbers given to linked whiteouts while encoding.
    numbers: HashMap<LinkId, u32>,
}

#[derive(Debug, PartialEq, Eq)]
enum Item {
    Xattrs(Xattrs),
    Whiteout { meta: Meta, link: u32 },
}

impl Side {
    pub(super) fn keep_xattrs(&mut self, path: &[u8], xattrs: &Xattrs) {
        self.items.insert(path.to_vec(), Item::Xattrs(xattrs.clone()));
    }

    /// Keeps a character device 0:0 (overlayfs's whiteout). Called in byte order of paths.
    pub(super) fn keep_leaf(&mut self, path: &[u8], leaf: &Leaf) {
        let next = self.numbers.len() as u32 + 1;
        let link = leaf.link.map_or(0, |link| *self.numbers.entry(link).or_insert(next));
        self.items.insert(path.to_vec(), Item::Whiteout { meta: leaf.meta.clone(), link });
    }

    /// Appends the record to an image, if there is anything in it.
    pub(super) fn append_to(mut self, image: &mut Vec<u8>) {
        if self.items.is_empty() {
            return;
        }
        self.unlink_single_names();
        let mut record = Writer::default();
        record.number(self.items.len() as u32);
        for (path, item) in &self.items {
            record.bytes(path);
            match item {
                Item::Xattrs(xattrs) => {
                    record.0.push(0);
                    record.xattrs(xattrs);
                }
                Item::Whiteout { meta, link } => {
                    record.0.push(1);
                    record.number(u32::from(meta.mode));
                    record.number(meta.uid);
                    record.number(meta.gid);
                    record.0.extend_from_slice(&meta.mtime.sec.to_le_bytes());
                    record.number(meta.mtime.nsec);
                    record.number(*link);
                    record.xattrs(&meta.xattrs);
                }
            }
        }
        image.extend_from_slice(MAGIC);
        image.extend_from_slice(&(record.0.len() as u64).to_le_bytes());
        image.extend_from_slice(&record.0);
        image.resize(image.len().next_multiple_of(BLOCK), 0);
    }

    /// A link of one name is none; the rest is numbered without gaps in byte order of paths, so
    /// that equal trees give equal records.
    fn unlink_single_names(&mut self) {
        let mut names: HashMap<u32, u32> = HashMap::new();
        for item in self.items.values() {
            if let Item::Whiteout { link, .. } = item {
                *names.entry(*link).or_default() += 1;
            }
        }
        let mut numbers: HashMap<u32, u32> = HashMap::new();
        for item in self.items.values_mut() {
            if let Item::Whiteout { link, .. } = item
                && *link != 0
            {
                let next = numbers.len() as u32 + 1;
                *link = match names[link] {
                    1 => 0,
                    _ => *numbers.entry(*link).or_insert(next),
                };
            }
        }
    }

    /// Puts back what was kept here.
    pub(super) fn restore(self, tree: Tree) -> Result<Tree, String> {
        let mut links: HashMap<u32, LinkId> = HashMap::new();
        let mut free = first_free_link(&tree, self.items.is_empty());
        let mut root = tree.root;
        for (path, item) in self.items {
            let names: Vec<&[u8]> = match path.is_empty() {
                true => Vec::new(),
                false => path.split(|&byte| byte == b'/').collect(),
            };
            let lost = || format!("its side record names {:?}, which is not there", names);
            match item {
                Item::Xattrs(xattrs) => {
                    replace(&mut root, &names, &mut |node| {
                        node.map(|node| with_xattrs(node, &xattrs))
                    })
                    .ok_or_else(lost)?;
                }
                Item::Whiteout { meta, link } => {
                    let link = (link != 0).then(|| {
                        *links.entry(link).or_insert_with(|| {
                            free += 1;
                            LinkId(free - 1)
                        })
                    });
                    let leaf = Arc::new(Leaf { meta, content: Content::Char(0), link });
                    let is_stub = matches!(names.as_slice(), [name] if is_stub_name(name));
                    replace(&mut root, &names, &mut |node| match node {
                        Some(Node::Leaf(_)) => Some(Node::Leaf(Arc::clone(&leaf))),
                        None if is_stub => Some(Node::Leaf(Arc::clone(&leaf))),
                        Some(Node::Dir(_)) | None => None,
                    })
                    .ok_or_else(lost)?;
                }
            }
        }
        Ok(Tree { root })
    }
}

fn first_free_link(tree: &Tree, unneeded: bool) -> u64 {
    if unneeded {
        return 0;
    }
    tree.links().last_key_value().map_or(0, |(link, _)| link.0 + 1)
}

fn with_xattrs(node: &Node, xattrs: &Xattrs) -> Node {
    match node {
        Node::Dir(dir) => {
            let mut dir = Dir::clone(dir);
            dir.meta.xattrs = xattrs.clone();
            Node::Dir(Arc::new(dir))
        }
        Node::Leaf(leaf) => {
            let mut leaf = Leaf::clone(leaf);
            leaf.meta.xattrs = xattrs.clone();
            Node::Leaf(Arc::new(leaf))
        }
    }
}

/// Replaces the node at a path by what `change` makes of it; `None` if the folder is missing or
/// `change` says so.
fn replace(
    dir: &mut Arc<Dir>,
    names: &[&[u8]],
    change: &mut dyn FnMut(Option<&Node>) -> Option<Node>,
) -> Option<()> {
    let Some((name, rest)) = names.split_first() else {
        let Some(Node::Dir(changed)) = change(Some(&Node::Dir(Arc::clone(dir)))) else {
            return None;
        };
        *dir = changed;
        return Some(());
    };
    let dir = Arc::make_mut(dir);
    if rest.is_empty() {
        let changed = change(dir.entries.get(*name))?;
        dir.entries.insert((*name).into(), changed);
        return Some(());
    }
    match dir.entries.get_mut(*name)? {
        Node::Dir(child) => replace(child, rest, change),
        Node::Leaf(_) => None,
    }
}

/// Splits an image file into its EROFS part and its side record.
pub(super) fn split(image: &[u8]) -> Result<(&[u8], Side), String> {
    let blocks = image
        .get(SUPERBLOCK + 36..SUPERBLOCK + 40)
        .and_then(|bytes| bytes.try_into().ok())
        .map(u32::from_le_bytes)
        .ok_or("it is too short for a superblock")?;
    let end = blocks as usize * BLOCK;
    let (erofs, rest) = image.split_at_checked(end).ok_or("it is shorter than it says")?;
    if rest.is_empty() {
        return Ok((erofs, Side::default()));
    }
    let mut reader = Reader(rest);
    if reader.take(8)? != MAGIC {
        return Err("what follows the EROFS part is no side record".into());
    }
    let length = u64::from_le_bytes(reader.array()?);
    let record = reader.take(usize::try_from(length).map_err(|error| error.to_string())?)?;
    if reader.0.len() >= BLOCK || reader.0.iter().any(|&byte| byte != 0) {
        return Err("something follows its side record".into());
    }
    Ok((erofs, parse(record)?))
}

fn parse(record: &[u8]) -> Result<Side, String> {
    let mut reader = Reader(record);
    let mut items = BTreeMap::new();
    for _ in 0..reader.number()? {
        let path = reader.bytes()?.to_vec();
        let item = match reader.array::<1>()?[0] {
            0 => Item::Xattrs(reader.xattrs()?),
            1 => {
                let mode = u16::try_from(reader.number()?).ok().filter(|mode| *mode <= 0o7777);
                let mode = mode.ok_or("its side record has a mode out of range")?;
                let (uid, gid) = (reader.number()?, reader.number()?);
                let sec = i64::from_le_bytes(reader.array()?);
                let (nsec, link) = (reader.number()?, reader.number()?);
                let mtime = super::checked(Mtime { sec, nsec })?;
                let xattrs = reader.xattrs()?;
                Item::Whiteout { meta: Meta { mode, uid, gid, mtime, xattrs }, link }
            }
            kind => return Err(format!("its side record has an item of unknown kind {kind}")),
        };
        if items.last_key_value().is_some_and(|(last, _)| *last >= path) {
            return Err("the paths of its side record are out of order".into());
        }
        items.insert(path, item);
    }
    match reader.0 {
        [] => Ok(Side { items, numbers: HashMap::new() }),
        _ => Err("its side record is longer than its items".into()),
    }
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, number: u32) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u32);
        self.0.extend_from_slice(bytes);
    }

    fn xattrs(&mut self, xattrs: &Xattrs) {
        self.number(xattrs.len() as u32);
        for (name, value) in xattrs {
            self.bytes(name);
            self.bytes(value);
        }
    }
}

/// What is left to read. Nothing is allocated that is not there.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) =
            self.0.split_at_checked(length).ok_or("its side record is cut short")?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.take(N)?.try_into().map_err(|_| "its side record is cut short".into())
    }

    fn number(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    fn bytes(&mut self) -> Result<&'a [u8], String> {
        let length = self.number()?;
        self.take(length as usize)
    }

    fn xattrs(&mut self) -> Result<Xattrs, String> {
        let mut xattrs = Xattrs::new();
        for _ in 0..self.number()? {
            let name = self.bytes()?;
            xattrs.insert(name.into(), self.bytes()?.into());
        }
        Ok(xattrs)
    }
}
