//! What a build needs from whoever runs it: a place for its events, a memory, and shadows.

use std::sync::Arc;

use umbra_api::build::Event;
use umbra_shadow::{Provider, ShadowError};
use umbra_state::{Digest, StateId};

/// Receives a build's events in order. Must not block for long: the build waits for it.
pub trait EventSink: Send + Sync {
    /// Takes one event.
    fn emit(&self, event: Event);
}

/// Remembers what earlier builds found out. Keys cover everything that can alter the result.
pub trait StepCache: Send + Sync {
    /// The state that followed for this key, if it is remembered.
    fn get(&self, key: &StepKey) -> Option<StateId>;

    /// Remembers a result. The last one for a key counts.
    fn put(&self, key: &StepKey, state: StateId);

    /// The key remembered last for this image's step of this name, to say what differs.
    fn last(&self, image: &str, step: &str) -> Option<StepKey>;

    /// Whether this very test passed on this very state.
    fn passed(&self, key: &TestKey) -> bool;

    /// Remembers that it did.
    fn put_passed(&self, key: &TestKey);
}

/// Knows what makes shadows, by the names that recipes call it.
pub trait Providers: Send + Sync {
    /// The one of this name. It may be made ready only now, which takes its time. Blocking.
    fn provider(&self, name: &str) -> Result<Arc<dyn Provider>, ShadowError>;
}

/// What a step's result depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepKey {
    /// The image's name; only for [`StepCache::last`].
    pub image: String,
    /// The step's name; only for [`StepCache::last`].
    pub step: String,
    /// The state the step starts from.
    pub parent: StateId,
    /// Digest of the step's definition.
    pub definition: Digest,
    /// Digest of the files it reads.
    pub inputs: Digest,
}

/// What a test's verdict depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TestKey {
    /// The state it looked at.
    pub state: StateId,
    /// The state before, which a test of deltas compares with.
    pub before: Option<StateId>,
    /// Digest of the test's definition, of the services it uses and of what isolates the shadow.
    pub definition: Digest,
}
