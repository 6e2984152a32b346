//! The newest root of a build: the last ingested state with the finished upper directories of
//! later steps on top.
//!
//! Steps end faster than their results are hashed. The next step and the shadows do not wait:
//! they stack the finished upper directories. Each ingested state shortens the stack again; only
//! when it would grow past [`UPPERS_MAX`] does the next step wait.

use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use umbra_state::Tree;
use umbra_store::overlay::{Base, Layers, UPPERS_MAX};

/// Shared by the stepper, which pushes, and the ingester, which shortens.
pub(crate) struct Frontier {
    inner: Mutex<Inner>,
    changed: Condvar,
}

struct Inner {
    base: Base,
    /// Files of the state in `base`.
    tree: Tree,
    /// Steps above the base, oldest first.
    pending: Vec<(usize, PathBuf)>,
    /// Nothing more will be ingested: waiting is in vain.
    closed: bool,
}

impl Frontier {
    pub(crate) fn new(base: Base, tree: Tree) -> Self {
        let inner = Inner { base, tree, pending: Vec::new(), closed: false };
        Self { inner: Mutex::new(inner), changed: Condvar::new() }
    }

    /// The root for the next step, as soon as its stack is short enough.
    pub(crate) fn layers(&self) -> Layers {
        let mut inner = self.lock();
        while inner.pending.len() >= UPPERS_MAX && !inner.closed {
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        let uppers = inner.pending.iter().rev().map(|(_, upper)| upper.clone()).collect();
        Layers { uppers, base: Some(inner.base.clone()) }
    }

    /// A step ended and left this upper directory.
    pub(crate) fn push(&self, step: usize, upper: PathBuf) {
        self.lock().pending.push((step, upper));
    }

    /// A step's state is in the store.
    pub(crate) fn ingested(&self, step: usize, base: Base, tree: Tree) {
        let mut inner = self.lock();
        inner.base = base;
        inner.tree = tree;
        inner.pending.retain(|(pending, _)| *pending > step);
        self.changed.notify_all();
    }

    /// The files below the newest step: waits until everything pending is ingested.
    pub(crate) fn tree(&self) -> Tree {
        let mut inner = self.lock();
        while !inner.pending.is_empty() && !inner.closed {
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        inner.tree.clone()
    }

    /// Releases whoever waits.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(name: &str) -> Base {
        Base::Checkout(PathBuf::from(name))
    }

    #[test]
    fn ingestion_shortens_the_stack_from_below() {
        let frontier = Frontier::new(base("zero"), Tree::empty());
        frontier.push(0, "u0".into());
        frontier.push(1, "u1".into());
        let layers = frontier.layers();
        assert_eq!(layers.uppers, [PathBuf::from("u1"), PathBuf::from("u0")]);
        frontier.ingested(0, base("one"), Tree::empty());
        let layers = frontier.layers();
        assert_eq!((layers.uppers, layers.base), (vec!["u1".into()], Some(base("one"))));
    }
}
