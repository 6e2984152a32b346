//! Watched directories: found by what the kernel calls them, and by path.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::path::{Path, PathBuf};

/// What watching a tree came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Watched {
    /// Directories watched.
    pub watches: usize,
    /// Directories that could not be watched.
    pub unwatched: usize,
}

/// Directories by key and by path.
#[derive(Debug)]
pub(super) struct Tree<K> {
    by_key: HashMap<K, PathBuf>,
    by_path: BTreeMap<PathBuf, K>,
}

impl<K: Clone + Eq + Hash> Tree<K> {
    pub(super) fn new() -> Self {
        Self { by_key: HashMap::new(), by_path: BTreeMap::new() }
    }

    /// `key` is what is at `path` now.
    pub(super) fn insert(&mut self, path: &Path, key: K) {
        if let Some(before) = self.by_path.insert(path.to_owned(), key.clone())
            && before != key
        {
            self.by_key.remove(&before);
        }
        self.by_key.insert(key, path.to_owned());
    }

    pub(super) fn path<Q>(&self, key: &Q) -> Option<&PathBuf>
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.by_key.get(key)
    }

    pub(super) fn remove(&mut self, key: &K) {
        if let Some(path) = self.by_key.remove(key)
            && self.by_path.get(&path) == Some(key)
        {
            self.by_path.remove(&path);
        }
    }

    /// Forget `top` and what is below it, which is elsewhere now.
    pub(super) fn remove_below(&mut self, top: &Path) -> Vec<K> {
        let below = self.by_path.range(top.to_owned()..);
        let below = below.take_while(|(path, _)| path.starts_with(top));
        let gone: Vec<_> = below.map(|(path, key)| (path.clone(), key.clone())).collect();
        for (path, key) in &gone {
            self.by_path.remove(path);
            self.by_key.remove(key);
        }
        gone.into_iter().map(|(_, key)| key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_agree() {
        let mut tree = Tree::new();
        for (path, key) in [("/a", 1), ("/a/b", 2), ("/a-", 3), ("/a/b/c", 4)] {
            tree.insert(Path::new(path), key);
        }
        // Another directory of the same name.
        tree.insert(Path::new("/a/b"), 5);
        assert_eq!((tree.path(&2), tree.path(&5)), (None, Some(&PathBuf::from("/a/b"))));
        let mut gone = tree.remove_below(Path::new("/a"));
        gone.sort();
        assert_eq!(gone, [1, 4, 5]);
        tree.remove(&3);
        assert!(tree.by_key.is_empty() && tree.by_path.is_empty());
    }
}
