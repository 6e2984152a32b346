//! Places at which a test may stop the program dead.
//!
//! Crash safety is a claim about every instant. The store calls [`FaultPoints`] between the
//! steps that change the disk; a test's hook kills the process there and then looks at what
//! is left. Without a hook a point costs one branch. What else promises to survive has points of
//! its own kind and the same hook.

use std::fmt;
use std::sync::Arc;

/// A step that just happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// A content object is written but has no name yet.
    ObjectWritten,
    /// A content object has its name.
    ObjectLinked,
    /// A state's image is stored as an object but is not listed.
    ImageStored,
    /// A state's image is listed.
    ImageListed,
    /// A ref's new value is written beside the old one.
    RefWritten,
    /// A ref has its new value.
    RefReplaced,
    /// The collector took an image off the list.
    ImageUnlisted,
    /// The collector removed an object.
    ObjectRemoved,
}

/// A test's hook at points of one kind; the store's are passed in [`crate::StoreOptions`].
pub struct FaultPoints<P = Fault>(Option<Arc<dyn Fn(P) + Send + Sync>>);

impl<P> FaultPoints<P> {
    /// Calls `hook` at every point.
    pub fn new(hook: impl Fn(P) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hook)))
    }

    /// Passes a point.
    pub fn hit(&self, point: P) {
        if let Some(hook) = &self.0 {
            hook(point);
        }
    }
}

impl<P> Default for FaultPoints<P> {
    fn default() -> Self {
        Self(None)
    }
}

impl<P> Clone for FaultPoints<P> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<P> fmt::Debug for FaultPoints<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "FaultPoints(hooked)" } else { "FaultPoints" })
    }
}
