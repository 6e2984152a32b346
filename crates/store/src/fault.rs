//! Places at which a test may stop the store dead.
//!
//! Crash safety is a claim about every instant. The store calls [`FaultPoints`] between the
//! steps that change the disk; a test's hook kills the process there and then looks at what
//! is left. Without a hook a point costs one branch.

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

/// The hook a test passes to [`crate::StoreOptions`].
#[derive(Clone, Default)]
pub struct FaultPoints(Option<Arc<dyn Fn(Fault) + Send + Sync>>);

impl FaultPoints {
    /// Calls `hook` at every point.
    pub fn new(hook: impl Fn(Fault) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hook)))
    }

    pub(crate) fn hit(&self, fault: Fault) {
        if let Some(hook) = &self.0 {
            hook(fault);
        }
    }
}

impl fmt::Debug for FaultPoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "FaultPoints(hooked)" } else { "FaultPoints" })
    }
}
