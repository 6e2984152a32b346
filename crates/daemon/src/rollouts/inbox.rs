//! What arrives at a rollout's desk.

use std::path::PathBuf;

use tokio::sync::oneshot;
use umbra_api::error::WireError;
use umbra_api::rollout::{Happened, RolloutStatus, Told};
use umbra_gateway::routes::setup::TargetSetup;
use umbra_gateway::split::wire::SplitStatus;
use umbra_rollout::controller::{Event, Role, Winner};

use super::made::Held;
use crate::instances::Instance;

/// Who waits for how a rollout stands.
pub(super) type Answer = oneshot::Sender<Result<RolloutStatus, WireError>>;

/// Something that arrives.
pub(super) enum Input {
    /// A job on its way is done.
    Did {
        /// Whose threads did it.
        lane: Lane,
        /// What it led to.
        news: Vec<News>,
    },
    /// A job has something to say before it is done.
    News(News),
    /// The gateway's split, looked at.
    Looked(Look),
    /// A person says something.
    Told(Told, Answer),
    /// The daemon goes down.
    Close,
}

/// Whose threads do a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// What the gateway is told, in order.
    Gate,
    /// What is done with instances, in order.
    Instances,
    /// Everything else, at once.
    Rest,
}

/// What a job led to.
pub(super) enum News {
    /// The controller is to know.
    Event(Box<Event>),
    /// An instance is so now.
    Instance {
        /// Whose.
        role: Role,
        /// How it is.
        held: Held,
        /// Why, where that is not plain.
        why: Option<String>,
    },
    /// People are to know.
    Happened(Box<Happened>),
    /// The gateway splits, and keeps outcomes there.
    Begun(PathBuf),
    /// The route led nowhere, and leads to the candidate.
    Assigned,
    /// All requests are this one's: the split has ended.
    Ended(Winner),
    /// There is no split of this rollout; the route leads there.
    Gone(Vec<TargetSetup>),
    /// A previous instance is so now.
    Previous(Held),
    /// The instances of all services, as they are now.
    Listed(Vec<Instance>),
    /// Nobody can say how they are.
    Unlisted,
}

/// What came of looking at a split.
pub(super) enum Look {
    /// How it stands, and how many mirrored requests both shadows were compared by.
    Split(Box<SplitStatus>, u64),
    /// The gateway does not answer.
    Lost(String),
    /// There is none; the route leads there.
    Nothing(Vec<TargetSetup>),
}

impl From<Event> for News {
    fn from(event: Event) -> Self {
        Self::Event(Box::new(event))
    }
}
