//! A shadow that outlives the pool, because a test failed on it.

use std::sync::Arc;

use umbra_shadow::Shadow;
use umbra_shadow::provider::Running;

/// A shadow kept as a test left it, with the services that run in it. It is gone when dropped.
pub(crate) struct KeptShadow {
    pub(super) shadow: Arc<dyn Shadow>,
    pub(super) _services: Vec<Box<dyn Running>>,
}

impl KeptShadow {
    /// Its name.
    pub(crate) fn name(&self) -> &str {
        self.shadow.name()
    }

    /// The shadow itself.
    pub(crate) fn shadow(&self) -> Arc<dyn Shadow> {
        Arc::clone(&self.shadow)
    }
}
