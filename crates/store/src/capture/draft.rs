//! A tree whose leaves are still being read, and how it becomes one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use umbra_state::{Content, Dir, Leaf, LinkId, Meta, Node, Tree};

use super::CaptureError;
use super::leaf::RawLeaf;

/// A directory on its way.
#[derive(Debug, Default)]
pub(super) struct DraftDir {
    pub(super) meta: Meta,
    /// What is there where `entries` says nothing: the directory of the layers below.
    pub(super) base: Option<Arc<Dir>>,
    /// What is different from `base`, by name; `None` takes a name away.
    pub(super) entries: BTreeMap<Box<[u8]>, Option<Draft>>,
}

/// An entry on its way.
#[derive(Debug)]
pub(super) enum Draft {
    Dir(DraftDir),
    Leaf(DraftLeaf),
}

/// A leaf that is read as the job of this number.
#[derive(Debug)]
pub(super) struct DraftLeaf {
    pub(super) number: usize,
    /// For a leaf of an upper directory: the directory of the layers below in which it stands.
    pub(super) lower: Option<Arc<Dir>>,
}

/// A finished tree, and the parent's link groups that a copied-up inode replaces.
pub(super) struct Finished {
    pub(super) tree: Tree,
    pub(super) adopted: BTreeMap<LinkId, Arc<Leaf>>,
    /// Link numbers from here on are unused.
    pub(super) free_link: u64,
}

/// Puts leaves in their places. `parent` is what the layers below show, if there are any;
/// `free_link` and what follows are numbers its links do not have.
pub(super) fn finish(
    root: DraftDir,
    leaves: Vec<RawLeaf>,
    parent: Option<&Tree>,
    free_link: u64,
) -> Result<Finished, CaptureError> {
    let mut finisher = Finisher {
        links: link_ids(&leaves, free_link),
        leaves: leaves.into_iter().map(Some).collect(),
        parent,
        adopted: BTreeMap::new(),
        path: Vec::new(),
    };
    let free_link = finisher.links.values().map(|link| link.0 + 1).fold(free_link, u64::max);
    let root = finisher.dir(root)?;
    Ok(Finished { tree: Tree { root }, adopted: finisher.adopted, free_link })
}

/// Numbers for the inodes that were found under several names.
fn link_ids(leaves: &[RawLeaf], free: u64) -> HashMap<(u64, u64), LinkId> {
    let mut names: HashMap<(u64, u64), u32> = HashMap::new();
    for inode in leaves.iter().filter_map(|leaf| leaf.inode) {
        *names.entry(inode).or_default() += 1;
    }
    let mut links = HashMap::new();
    for inode in leaves.iter().filter_map(|leaf| leaf.inode) {
        // One that is indexed may have names in the layers below besides those found.
        let next = LinkId(free + links.len() as u64);
        if names[&inode] > 1 {
            links.entry(inode).or_insert(next);
        }
    }
    for leaf in leaves.iter().filter(|leaf| leaf.marks.indexed) {
        let next = LinkId(free + links.len() as u64);
        if let Some(inode) = leaf.inode {
            links.entry(inode).or_insert(next);
        }
    }
    links
}

struct Finisher<'a> {
    leaves: Vec<Option<RawLeaf>>,
    links: HashMap<(u64, u64), LinkId>,
    parent: Option<&'a Tree>,
    adopted: BTreeMap<LinkId, Arc<Leaf>>,
    path: Vec<u8>,
}

impl Finisher<'_> {
    fn dir(&mut self, draft: DraftDir) -> Result<Arc<Dir>, CaptureError> {
        let mut entries = match &draft.base {
            Some(base) if !draft.entries.is_empty() => base.entries.clone(),
            _ => BTreeMap::new(),
        };
        let mut is_changed = draft.base.as_ref().is_none_or(|base| base.meta != draft.meta);
        if let (Some(base), true) = (&draft.base, draft.entries.is_empty()) {
            if !is_changed {
                return Ok(Arc::clone(base));
            }
            entries = base.entries.clone();
        }
        for (name, entry) in draft.entries {
            let parent_len = self.path.len();
            umbra_state::tree::push_name(&mut self.path, &name);
            let node = match entry {
                None => None,
                Some(Draft::Dir(dir)) => Some(Node::Dir(self.dir(dir)?)),
                Some(Draft::Leaf(leaf)) => Some(Node::Leaf(self.leaf(leaf, &name)?)),
            };
            self.path.truncate(parent_len);
            is_changed |= match (&node, entries.get(&name)) {
                (Some(new), Some(old)) => !new.is_shared_with(old),
                (None, None) => false,
                _ => true,
            };
            match node {
                Some(node) => entries.insert(name, node),
                None => entries.remove(&name),
            };
        }
        match draft.base {
            Some(base) if !is_changed => Ok(base),
            _ => Ok(Arc::new(Dir { meta: draft.meta, entries })),
        }
    }

    fn leaf(&mut self, draft: DraftLeaf, name: &[u8]) -> Result<Arc<Leaf>, CaptureError> {
        let Some(raw) = self.leaves.get_mut(draft.number).and_then(Option::take) else {
            unreachable!("every leaf is read once and placed once");
        };
        let below = draft.lower.as_ref().and_then(|dir| match dir.entries.get(name) {
            Some(Node::Leaf(leaf)) => Some(Arc::clone(leaf)),
            _ => None,
        });
        let content = match raw.content {
            Some(content) => content,
            None => {
                self.content_below(draft.lower.as_ref(), name, raw.marks.redirect.as_deref())?
            }
        };
        let link = raw.inode.and_then(|inode| self.links.get(&inode).copied());
        let leaf = Leaf { meta: raw.meta, content, link };
        if let Some(below) = &below
            && **below == leaf
        {
            return Ok(Arc::clone(below));
        }
        let leaf = Arc::new(leaf);
        if raw.marks.indexed
            && let Some(group) = below.and_then(|below| below.link)
        {
            self.adopted.insert(group, Arc::clone(&leaf));
        }
        Ok(leaf)
    }

    /// The content of a file of which only the metadata was copied up: that of the file at its
    /// redirect (from the root, or a name beside it), or of the same name.
    fn content_below(
        &self,
        lower: Option<&Arc<Dir>>,
        name: &[u8],
        redirect: Option<&[u8]>,
    ) -> Result<Content, CaptureError> {
        let node = match redirect {
            Some(path) if path.starts_with(b"/") => self.parent.and_then(|tree| tree.get(path)),
            redirect => {
                let name = redirect.unwrap_or(name);
                lower.and_then(|dir| dir.entries.get(name).cloned())
            }
        };
        match node {
            Some(Node::Leaf(leaf)) if leaf.content.is_file() => Ok(leaf.content.clone()),
            _ => Err(CaptureError::Overlay {
                path: self.path.clone(),
                why: "only its metadata was copied up, and the layers below have no such file",
            }),
        }
    }
}
