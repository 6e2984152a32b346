//! Hard links of a tree: who has any, and what is left of a group that lost names.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, Weak};

use umbra_state::{Dir, Leaf, LinkId, Node, Tree};

/// How many trees are remembered.
const CACHE_MAX: usize = 64;

/// What must be known of a tree's links before names are added to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LinkSummary {
    /// Whether any inode has several names.
    pub(crate) any: bool,
    /// Link numbers from here on are unused.
    pub(crate) free: u64,
}

/// Summaries of recent trees, so that a capture on top of one does not walk it.
#[derive(Debug, Default)]
pub(crate) struct LinkCache(Mutex<VecDeque<(Weak<Dir>, LinkSummary)>>);

impl LinkCache {
    /// The summary of a tree: remembered, or found by one pass.
    pub(crate) fn summary(&self, tree: &Tree) -> LinkSummary {
        let known = {
            let cache = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            let is_it = |root: &Weak<Dir>| std::ptr::eq(root.as_ptr(), Arc::as_ptr(&tree.root));
            cache.iter().find(|(root, _)| is_it(root)).map(|(_, summary)| *summary)
        };
        known.unwrap_or_else(|| self.learn(tree))
    }

    /// Walks a tree and remembers its summary.
    pub(crate) fn learn(&self, tree: &Tree) -> LinkSummary {
        let mut summary = LinkSummary { any: false, free: 0 };
        tree.walk(&mut |_, node| {
            if let Node::Leaf(leaf) = node
                && let Some(link) = leaf.link
            {
                summary = LinkSummary { any: true, free: summary.free.max(link.0 + 1) };
            }
        });
        self.remember(tree, summary);
        summary
    }

    /// Remembers a summary that is known anyway.
    pub(crate) fn remember(&self, tree: &Tree, summary: LinkSummary) {
        let mut cache = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // A weak pointer keeps the allocation, so an address is never one of another tree.
        cache.push_back((Arc::downgrade(&tree.root), summary));
        if cache.len() > CACHE_MAX {
            cache.pop_front();
        }
    }
}

/// Makes groups right after names went: the names that still hold a leaf of `adopted` get the
/// leaf given for it, and a group of one name is no group.
pub(crate) fn settle(tree: Tree, adopted: &BTreeMap<LinkId, Arc<Leaf>>) -> Tree {
    let mut groups = tree.links();
    let mut tree = tree;
    for (link, leaf) in adopted {
        for path in groups.remove(link).unwrap_or_default() {
            set_leaf(&mut tree, &path, Arc::clone(leaf));
            if let Some(new) = leaf.link {
                groups.entry(new).or_default().push(path);
            }
        }
    }
    for names in groups.into_values().filter(|names| names.len() == 1) {
        if let Some(Node::Leaf(leaf)) = tree.get(&names[0]) {
            let single = Leaf { link: None, ..Leaf::clone(&leaf) };
            set_leaf(&mut tree, &names[0], Arc::new(single));
        }
    }
    tree
}

/// Replaces the leaf at a path that exists; folders on the way are copied, nothing else.
fn set_leaf(tree: &mut Tree, path: &[u8], leaf: Arc<Leaf>) {
    let mut dir = &mut tree.root;
    let mut names = path.split(|&byte| byte == b'/').peekable();
    while let Some(name) = names.next() {
        let entry = Arc::make_mut(dir).entries.get_mut(name);
        match (entry, names.peek()) {
            (Some(node), None) => {
                *node = Node::Leaf(leaf);
                return;
            }
            (Some(Node::Dir(child)), Some(_)) => dir = child,
            _ => return,
        }
    }
}
