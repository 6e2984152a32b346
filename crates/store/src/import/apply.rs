//! Entries of an archive put onto a tree.

use std::collections::BTreeMap;
use std::sync::Arc;

use umbra_state::{Dir, Leaf, LinkId, Meta, Node, Tree};

use super::ImportError;
use super::archive::{Entry, EntryKind};
use crate::links::settle;

/// Marks of an OCI layer: the name after it is deleted; everything in the directory is.
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// Puts entries onto `tree`, in their order. In a layer, marks delete what was there before,
/// wherever in the archive they stand.
pub(super) fn entries(
    tree: Tree,
    entries: Vec<Entry>,
    is_layer: bool,
) -> Result<Tree, ImportError> {
    let next_link = tree.links().last_key_value().map_or(0, |(link, _)| link.0 + 1);
    let mut target = Target { root: tree.root, next_link };
    let mut added = Vec::with_capacity(entries.len());
    for entry in entries {
        let (parent, name) = split(&entry.path);
        match name {
            OPAQUE if is_layer => target.empty(parent),
            name if is_layer && name.starts_with(WHITEOUT) => {
                target.remove(parent, &name[WHITEOUT.len()..]);
            }
            _ => added.push(entry),
        }
    }
    for entry in added {
        let path = entry.path.clone();
        target.add(entry).map_err(|why| ImportError::Archive { path, why: why.into() })?;
    }
    Ok(settle(Tree { root: target.root }, &BTreeMap::new()))
}

struct Target {
    root: Arc<Dir>,
    next_link: u64,
}

impl Target {
    fn add(&mut self, entry: Entry) -> Result<(), &'static str> {
        let (parent, name) = split(&entry.path);
        let node = match entry.kind {
            EntryKind::Dir if entry.path.is_empty() => {
                Arc::make_mut(&mut self.root).meta = entry.meta;
                return Ok(());
            }
            _ if entry.path.is_empty() => return Err("the root is a directory"),
            EntryKind::Dir => return self.add_dir(parent, name, entry.meta),
            EntryKind::Leaf(content) => Arc::new(Leaf { meta: entry.meta, content, link: None }),
            EntryKind::Link(to) => self.linked(&to)?,
        };
        let dir = dir_at(&mut self.root, parent, true)?;
        dir.entries.insert(name.into(), Node::Leaf(node));
        Ok(())
    }

    /// A directory that is there keeps its entries and gets the metadata.
    fn add_dir(&mut self, parent: &[u8], name: &[u8], meta: Meta) -> Result<(), &'static str> {
        let dir = dir_at(&mut self.root, parent, true)?;
        match dir.entries.get_mut(name) {
            Some(Node::Dir(there)) => Arc::make_mut(there).meta = meta,
            _ => {
                let new = Dir { meta, ..Dir::default() };
                dir.entries.insert(name.into(), Node::Dir(Arc::new(new)));
            }
        }
        Ok(())
    }

    /// The leaf at a path, marked as one of several names.
    fn linked(&mut self, to: &[u8]) -> Result<Arc<Leaf>, &'static str> {
        const NOWHERE: &str = "it is a hard link to something that is not there";
        let (parent, name) = split(to);
        let dir = dir_at(&mut self.root, parent, false).map_err(|_| NOWHERE)?;
        match dir.entries.get_mut(name) {
            Some(Node::Leaf(leaf)) => {
                if leaf.link.is_none() {
                    let link = Some(LinkId(self.next_link));
                    self.next_link += 1;
                    *leaf = Arc::new(Leaf { link, ..Leaf::clone(leaf) });
                }
                Ok(Arc::clone(leaf))
            }
            Some(Node::Dir(_)) => Err("it is a hard link to a directory"),
            None => Err(NOWHERE),
        }
    }

    fn remove(&mut self, parent: &[u8], name: &[u8]) {
        if let Ok(dir) = dir_at(&mut self.root, parent, false) {
            dir.entries.remove(name);
        }
    }

    fn empty(&mut self, path: &[u8]) {
        if let Ok(dir) = dir_at(&mut self.root, path, false) {
            dir.entries.clear();
        }
    }
}

/// The directory at a path, to be changed. Those that are missing are made on request.
fn dir_at<'a>(
    root: &'a mut Arc<Dir>,
    path: &[u8],
    make: bool,
) -> Result<&'a mut Dir, &'static str> {
    let mut dir = Arc::make_mut(root);
    for name in path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
        if make && !dir.entries.contains_key(name) {
            let meta = Meta { mode: 0o755, ..Meta::default() };
            let new = Dir { meta, ..Dir::default() };
            dir.entries.insert(name.into(), Node::Dir(Arc::new(new)));
        }
        dir = match dir.entries.get_mut(name) {
            Some(Node::Dir(child)) => Arc::make_mut(child),
            Some(Node::Leaf(_)) => {
                return Err("its path leads through something that is no directory");
            }
            None => return Err("its path leads nowhere"),
        };
    }
    Ok(dir)
}

/// A path's directory and last name.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}
