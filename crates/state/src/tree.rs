//! A machine's files as a value: every name, every piece of metadata that survives a
//! reboot, and where the contents are.
//!
//! Directories are shared (`Arc`), so a delta that touches a few paths makes a new tree
//! in time proportional to those paths, and [`crate::diff()`] skips what two trees share.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::digest::Digest;

/// All files of one state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// The directory that becomes `/`.
    pub root: Arc<Dir>,
}

/// A directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dir {
    /// Its own metadata.
    pub meta: Meta,
    /// What it holds, by raw name (never empty, `.`, `..` or with a slash or NUL).
    pub entries: BTreeMap<Box<[u8]>, Node>,
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A directory.
    Dir(Arc<Dir>),
    /// Anything else.
    Leaf(Arc<Leaf>),
}

/// Anything that is not a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Its metadata.
    pub meta: Meta,
    /// Its type and content.
    pub content: Content,
    /// Set when several names share this inode: the same id at each of them.
    pub link: Option<LinkId>,
}

/// Names with equal ids within one tree are hard links to one inode.
///
/// The number itself means nothing: trees that differ only in numbering are equal states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// Type and content of a [`Leaf`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A small regular file, kept in the tree itself.
    Inline(Box<[u8]>),
    /// A regular file kept as an object; the digest is its fs-verity SHA-256 digest.
    Object {
        /// Which object.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
    },
    /// A symbolic link and its target's bytes.
    Symlink(Box<[u8]>),
    /// A character device (encoded as by `makedev`).
    Char(u64),
    /// A block device (encoded as by `makedev`).
    Block(u64),
    /// A named pipe.
    Fifo,
    /// A socket's name.
    Socket,
}

impl Content {
    /// The size a regular file or a symbolic link reports; 0 for the rest.
    pub fn size(&self) -> u64 {
        match self {
            Self::Inline(bytes) | Self::Symlink(bytes) => bytes.len() as u64,
            Self::Object { size, .. } => *size,
            Self::Char(_) | Self::Block(_) | Self::Fifo | Self::Socket => 0,
        }
    }

    /// Whether this is a regular file.
    pub fn is_file(&self) -> bool {
        matches!(self, Self::Inline(_) | Self::Object { .. })
    }

    /// The type as a noun.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Inline(_) | Self::Object { .. } => "file",
            Self::Symlink(_) => "symlink",
            Self::Char(_) => "character device",
            Self::Block(_) => "block device",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
        }
    }
}

/// What is kept of an inode besides its content. Access, change and birth times and the
/// inode number are not: they say something about a copy, not about the state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meta {
    /// Permission bits with setuid, setgid and sticky (`& 0o7777`).
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last modification.
    pub mtime: Mtime,
    /// Extended attributes by name, ACLs and capabilities included.
    pub xattrs: BTreeMap<Box<[u8]>, Box<[u8]>>,
}

/// A modification time, exact to the nanosecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mtime {
    /// Seconds since 1970-01-01 UTC, negative before.
    pub sec: i64,
    /// Nanoseconds on top, below 1,000,000,000.
    pub nsec: u32,
}

impl Node {
    /// The metadata of either kind.
    pub fn meta(&self) -> &Meta {
        match self {
            Self::Dir(dir) => &dir.meta,
            Self::Leaf(leaf) => &leaf.meta,
        }
    }

    /// The type as a noun.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Dir(_) => "directory",
            Self::Leaf(leaf) => leaf.content.type_name(),
        }
    }

    /// Whether both are the very same shared value, so that comparing is unnecessary.
    pub fn is_shared_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Dir(a), Self::Dir(b)) => Arc::ptr_eq(a, b),
            (Self::Leaf(a), Self::Leaf(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

impl Tree {
    /// A tree with nothing in it but a root directory.
    pub fn empty() -> Self {
        Self {
            root: Arc::new(Dir { meta: Meta { mode: 0o755, ..Meta::default() }, ..Dir::default() }),
        }
    }

    /// What stands at `path` (slash-separated, with or without a leading slash), symbolic
    /// links not followed; `None` where nothing does or the path leaves the tree.
    pub fn get(&self, path: &[u8]) -> Option<Node> {
        let mut node = Node::Dir(Arc::clone(&self.root));
        for name in path.split(|&b| b == b'/').filter(|name| !name.is_empty()) {
            node = match &node {
                Node::Dir(dir) => dir.entries.get(name)?.clone(),
                Node::Leaf(_) => return None,
            };
        }
        Some(node)
    }

    /// Calls `visit` with the path (no leading slash; empty for the root) and node of
    /// everything, parents before children, in byte order of names.
    pub fn walk(&self, visit: &mut dyn FnMut(&[u8], &Node)) {
        walk_node(&mut Vec::new(), &Node::Dir(Arc::clone(&self.root)), visit);
    }

    /// All names of each hard-linked inode, in byte order.
    pub fn links(&self) -> BTreeMap<LinkId, Vec<Vec<u8>>> {
        let mut links: BTreeMap<LinkId, Vec<Vec<u8>>> = BTreeMap::new();
        self.walk(&mut |path, node| {
            if let Node::Leaf(leaf) = node
                && let Some(link) = leaf.link
            {
                links.entry(link).or_default().push(path.to_vec());
            }
        });
        links
    }

    /// How many names the tree has, its root included.
    pub fn entry_count(&self) -> usize {
        let mut count = 0;
        self.walk(&mut |_, _| count += 1);
        count
    }
}

fn walk_node(path: &mut Vec<u8>, node: &Node, visit: &mut dyn FnMut(&[u8], &Node)) {
    visit(path, node);
    if let Node::Dir(dir) = node {
        for (name, child) in &dir.entries {
            let parent_len = path.len();
            push_name(path, name);
            walk_node(path, child, visit);
            path.truncate(parent_len);
        }
    }
}

/// Appends one name to a path as [`Tree::walk`] writes it.
pub fn push_name(path: &mut Vec<u8>, name: &[u8]) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}
