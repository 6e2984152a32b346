//! What one layer of an image says: what became of the tree before it.

use std::collections::{BTreeMap, BTreeSet};

use umbra_state::{Content, Node, Tree, diff};

/// What stands before a name that a layer takes away, in place of the name.
pub(super) const WHITEOUT: &[u8] = b".wh.";

/// The part of a tree that differs from another, as a layer holds it.
#[derive(Debug, Default)]
pub(super) struct Layer {
    /// Paths that are in it: what is new or different, all names of such a file, and the
    /// directories on the way, whose times would change otherwise.
    pub(super) paths: BTreeSet<Vec<u8>>,
    /// Names that are gone, by the directory they were in.
    pub(super) gone: BTreeMap<Vec<u8>, Vec<Vec<u8>>>,
}

impl Layer {
    /// What turns `before` into `after`.
    pub(super) fn between(before: &Tree, after: &Tree) -> Self {
        let mut layer = Self::default();
        for change in diff(before, after).changes {
            let was_held = change.before.as_ref().is_some_and(|it| is_held(&change.path, it));
            match &change.after {
                Some(node) if is_held(&change.path, node) => layer.add(change.path),
                _ if was_held => layer.take_away(&change.path, after),
                _ => {}
            }
        }
        // A link leads to a file of its own layer.
        for names in after.links().into_values() {
            if names.iter().any(|name| layer.paths.contains(name)) {
                names.into_iter().for_each(|name| layer.add(name));
            }
        }
        layer
    }

    /// Whether both trees look the same in an image.
    pub(super) fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    fn add(&mut self, path: Vec<u8>) {
        let mut parent = path.clone();
        while !parent.is_empty() {
            parent.truncate(split(&parent).0.len());
            self.paths.insert(parent.clone());
        }
        self.paths.insert(path);
    }

    fn take_away(&mut self, path: &[u8], after: &Tree) {
        let (parent, name) = split(path);
        // Else it went with its directory.
        if matches!(after.get(parent), Some(Node::Dir(_))) {
            self.add(parent.to_vec());
            self.gone.entry(parent.to_vec()).or_default().push(name.to_vec());
        }
    }
}

/// Whether a layer can hold this: no socket, and no name that would take another away.
pub(super) fn is_held(path: &[u8], node: &Node) -> bool {
    let is_socket = matches!(node, Node::Leaf(leaf) if leaf.content == Content::Socket);
    !is_socket && !path.split(|&byte| byte == b'/').any(|name| name.starts_with(WHITEOUT))
}

/// All paths that no layer of this tree holds.
pub(super) fn not_held(tree: &Tree) -> Vec<Vec<u8>> {
    let mut paths = Vec::new();
    tree.walk(&mut |path, node| {
        if !is_held(path, node) {
            paths.push(path.to_vec());
        }
    });
    paths
}

/// The directory and the name in it.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&[], path),
    }
}
