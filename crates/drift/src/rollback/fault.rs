//! Places at which a test may stop the program dead: after every write of the journal and after
//! every change of the disk. Without a hook a point costs one branch.

use std::fmt;
use std::sync::Arc;

/// A step that just happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The journal has another record.
    Recorded,
    /// The journal keeps what will be displaced.
    Saved,
    /// A new version lies beside the old one.
    Staged,
    /// A flag that forbids changes is off.
    Unlocked,
    /// A new version is in its place.
    Placed,
    /// An old version is in its place again.
    Undone,
    /// A file that is no longer needed is gone.
    Cleared,
}

type Hook = dyn Fn(Fault) + Send + Sync;

/// A test's hook at these points.
#[derive(Clone, Default)]
pub struct Faults(Option<Arc<Hook>>);

impl Faults {
    /// Calls `hook` at every point.
    pub fn new(hook: impl Fn(Fault) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hook)))
    }

    /// Passes a point.
    pub(super) fn hit(&self, point: Fault) {
        if let Some(hook) = &self.0 {
            hook(point);
        }
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Faults(hooked)" } else { "Faults" })
    }
}
