//! Rollouts: what a client asks and tells.

use super::{Client, ClientError, Events, percent};
use crate::rollout::{RolloutEvent, RolloutStatus, StartRollout, Told};

impl Client {
    /// Starts a rollout.
    pub fn start_rollout(&self, request: &StartRollout) -> Result<RolloutStatus, ClientError> {
        self.post("/v1/rollouts", request)
    }

    /// The last `limit` rollouts, newest first.
    pub fn rollouts(&self, limit: u32) -> Result<Vec<RolloutStatus>, ClientError> {
        self.get(&format!("/v1/rollouts?limit={limit}"))
    }

    /// One rollout: by its number, or the last one of a service.
    pub fn rollout(&self, name: &str) -> Result<RolloutStatus, ClientError> {
        self.get(&format!("/v1/rollouts/{}", percent(name)))
    }

    /// A rollout's events from number `from` on; follows a running one to its end.
    pub fn rollout_events(&self, id: u64, from: u64) -> Result<Events<RolloutEvent>, ClientError> {
        self.follow(&format!("/v1/rollouts/{id}/events?from={from}"))
    }

    /// A rollout's events so far, without waiting for more.
    pub fn rollout_events_so_far(&self, id: u64) -> Result<Events<RolloutEvent>, ClientError> {
        self.follow(&format!("/v1/rollouts/{id}/events?from=0&follow=false"))
    }

    /// Tells a rollout something. What comes back is how it stands; after
    /// [`Told::Retry`] and [`Told::Undo`] that is the new rollout.
    pub fn tell_rollout(&self, id: u64, told: Told) -> Result<RolloutStatus, ClientError> {
        self.post(&format!("/v1/rollouts/{id}/tell"), &told)
    }
}
