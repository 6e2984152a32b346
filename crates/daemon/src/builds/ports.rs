//! The seam between the daemon and what builds.
//!
//! `umbra-build`'s engine is the implementation that counts; tests script another.

use std::sync::Arc;

use umbra_api::build::{Answer, BuildPhase, BuildRequest};
use umbra_api::error::WireError;
use umbra_build::{EventSink, StepCache};

/// Starts builds. Blocking; called from threads that may block.
pub trait Builder: Send + Sync {
    /// Begins a build and returns at once. All it does from then on are events; the last is
    /// [`umbra_api::build::Event::Ended`].
    fn start(
        &self,
        id: u64,
        request: BuildRequest,
        sink: Arc<dyn EventSink>,
        cache: Arc<dyn StepCache>,
    ) -> Result<Box<dyn Running>, WireError>;
}

/// A build that runs, or ran and still keeps the shadow it failed on. Dropping it cancels
/// it, waits, and removes that shadow.
pub trait Running: Send + Sync {
    /// Asks it to end at once; returns before it has. Idempotent.
    fn cancel(&self);

    /// Answers a question; false where nothing was asked.
    fn answer(&self, answer: Answer) -> bool;

    /// Waits for its end. May be called from several threads.
    fn wait(&self) -> BuildPhase;
}
