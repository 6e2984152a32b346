//! The difference of two trees, path by path.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::escape::escape;
use crate::tree::{Dir, Leaf, LinkId, Meta, Node, Tree, push_name};

/// Everything that must change to turn one state into another.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Delta {
    /// What changes, in byte order of paths; one entry per path.
    pub changes: Vec<Change>,
}

/// What happens at one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Where, without a leading slash; empty for the root.
    pub path: Vec<u8>,
    /// What.
    pub kind: ChangeKind,
    /// What stood there.
    pub before: Option<Node>,
    /// What stands there.
    pub after: Option<Node>,
}

/// What happens at one path, in a word or a set of aspects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// A name that was not there.
    Added,
    /// A name that is gone.
    Removed,
    /// The name stays, its thing differs in these aspects (at least one).
    Modified(Aspects),
}

/// Which aspects of a path differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Aspects {
    /// A file became a directory, a link a device, and so on.
    pub r#type: bool,
    /// Bytes of a file, target of a symbolic link, number of a device.
    pub content: bool,
    /// Permission bits.
    pub mode: bool,
    /// User or group.
    pub owner: bool,
    /// Modification time.
    pub mtime: bool,
    /// Extended attributes, ACLs and capabilities included.
    pub xattr: bool,
    /// Which other names share the inode.
    pub link: bool,
}

impl Aspects {
    fn any(self) -> bool {
        self != Self::default()
    }

    /// Whether nothing but the modification time differs.
    pub fn only_mtime(self) -> bool {
        self == Self { mtime: true, ..Self::default() }
    }
}

impl fmt::Display for Aspects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = [
            (self.r#type, "type"),
            (self.content, "content"),
            (self.mode, "mode"),
            (self.owner, "owner"),
            (self.xattr, "xattr"),
            (self.link, "link"),
            (self.mtime, "mtime"),
        ];
        let mut separator = "";
        for (_, name) in named.into_iter().filter(|(set, _)| *set) {
            write!(f, "{separator}{name}")?;
            separator = " ";
        }
        Ok(())
    }
}

impl Delta {
    /// Whether both states are the same.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The changed paths.
    pub fn paths(&self) -> impl Iterator<Item = &[u8]> {
        self.changes.iter().map(|change| change.path.as_slice())
    }

    /// How many were added, modified and removed.
    pub fn counts(&self) -> DeltaCounts {
        let mut counts = DeltaCounts::default();
        for change in &self.changes {
            match change.kind {
                ChangeKind::Added => counts.added += 1,
                ChangeKind::Removed => counts.removed += 1,
                ChangeKind::Modified(_) => counts.modified += 1,
            }
            let content_changed = match change.kind {
                ChangeKind::Added => true,
                ChangeKind::Removed => false,
                ChangeKind::Modified(aspects) => aspects.content || aspects.r#type,
            };
            if content_changed && let Some(Node::Leaf(leaf)) = &change.after {
                counts.content_bytes += leaf.content.size();
            }
        }
        counts
    }
}

/// The size of a [`Delta`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DeltaCounts {
    /// Names that appeared.
    pub added: u64,
    /// Names whose thing differs.
    pub modified: u64,
    /// Names that are gone.
    pub removed: u64,
    /// Bytes of all files whose content is new.
    pub content_bytes: u64,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = escape(&self.path);
        match self.kind {
            ChangeKind::Added => write!(f, "+ /{path}"),
            ChangeKind::Removed => write!(f, "- /{path}"),
            ChangeKind::Modified(aspects) => write!(f, "~ /{path} ({aspects})"),
        }
    }
}

/// What must change to turn `before` into `after`.
///
/// The cost is that of the directories the two trees do not share, plus one pass over
/// both where either has hard links.
pub fn diff(before: &Tree, after: &Tree) -> Delta {
    let links = Links { before: before.links(), after: after.links() };
    let mut changes = Vec::new();
    let (a, b) = (Node::Dir(before.root.clone()), Node::Dir(after.root.clone()));
    diff_nodes(&mut Vec::new(), Some(&a), Some(&b), &links, &mut changes);
    Delta { changes }
}

/// The full set of names of each linked inode, by id: what identifies a group across trees.
struct Links {
    before: BTreeMap<LinkId, Vec<Vec<u8>>>,
    after: BTreeMap<LinkId, Vec<Vec<u8>>>,
}

impl Links {
    fn differ(&self, before: &Leaf, after: &Leaf) -> bool {
        let names_before = before.link.and_then(|id| self.before.get(&id));
        let names_after = after.link.and_then(|id| self.after.get(&id));
        names_before != names_after
    }

    fn any(&self) -> bool {
        !self.before.is_empty() || !self.after.is_empty()
    }
}

fn diff_nodes(
    path: &mut Vec<u8>,
    before: Option<&Node>,
    after: Option<&Node>,
    links: &Links,
    changes: &mut Vec<Change>,
) {
    if let (Some(a), Some(b)) = (before, after)
        && a.is_shared_with(b)
        && !links.any()
    {
        return;
    }
    let kind = match (before, after) {
        (None, None) => None,
        (None, Some(_)) => Some(ChangeKind::Added),
        (Some(_), None) => Some(ChangeKind::Removed),
        (Some(a), Some(b)) => {
            let aspects = compare(a, b, links);
            aspects.any().then_some(ChangeKind::Modified(aspects))
        }
    };
    if let Some(kind) = kind {
        let (before, after) = (before.cloned(), after.cloned());
        changes.push(Change { path: path.clone(), kind, before, after });
    }
    diff_children(path, before, after, links, changes);
}

fn diff_children(
    path: &mut Vec<u8>,
    before: Option<&Node>,
    after: Option<&Node>,
    links: &Links,
    changes: &mut Vec<Change>,
) {
    let empty = Dir::default();
    let (a, b) = (as_dir(before).unwrap_or(&empty), as_dir(after).unwrap_or(&empty));
    let mut names: Vec<&[u8]> =
        a.entries.keys().chain(b.entries.keys()).map(|name| &**name).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let parent_len = path.len();
        push_name(path, name);
        diff_nodes(path, a.entries.get(name), b.entries.get(name), links, changes);
        path.truncate(parent_len);
    }
}

fn as_dir(node: Option<&Node>) -> Option<&Dir> {
    match node {
        Some(Node::Dir(dir)) => Some(dir),
        _ => None,
    }
}

fn compare(before: &Node, after: &Node, links: &Links) -> Aspects {
    let mut aspects = compare_meta(before.meta(), after.meta());
    match (before, after) {
        (Node::Dir(_), Node::Dir(_)) => {}
        (Node::Leaf(a), Node::Leaf(b)) => {
            aspects.r#type = before.type_name() != after.type_name();
            aspects.content = a.content != b.content;
            aspects.link = links.differ(a, b);
        }
        _ => aspects.r#type = true,
    }
    aspects
}

fn compare_meta(before: &Meta, after: &Meta) -> Aspects {
    Aspects {
        mode: before.mode != after.mode,
        owner: (before.uid, before.gid) != (after.uid, after.gid),
        mtime: before.mtime != after.mtime,
        xattr: before.xattrs != after.xattrs,
        ..Aspects::default()
    }
}
