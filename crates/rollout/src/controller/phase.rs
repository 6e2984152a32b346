//! Where a rollout is in its life. Each phase owns what only it needs.

use serde::{Deserialize, Serialize};
use umbra_api::rollout::RolloutPhase;

use super::calls::Calls;
use super::promoting::Promoting;
use super::rolling_back::RollingBack;
use super::running::Running;
use super::starting::Starting;

/// Where a rollout is in its life.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Phase {
    Starting(Starting),
    Running(Running),
    /// As it was, and why it waits for a person.
    Paused(Running, Pause),
    Promoting(Promoting),
    RollingBack(RollingBack),
    Over(End, String),
}

/// Why it waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Pause {
    /// One said so.
    Asked,
    /// Its step is to wait for one.
    Step,
    /// An analysis cannot say, or failed and is not believed.
    Unclear(String),
    /// A guard was passed.
    Guard(String),
    /// The candidate was found worse. No way leads on.
    Worse(String),
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum End {
    Successful,
    Failed,
    Inconclusive,
    Error,
}

impl Phase {
    pub(super) fn of_wire(&self) -> RolloutPhase {
        match self {
            Self::Starting(_) => RolloutPhase::Starting,
            Self::Running(_) => RolloutPhase::Running,
            Self::Paused(..) => RolloutPhase::Paused,
            Self::Promoting(_) => RolloutPhase::Promoting,
            Self::RollingBack(_) => RolloutPhase::RollingBack,
            Self::Over(End::Successful, _) => RolloutPhase::Successful,
            Self::Over(End::Failed, _) => RolloutPhase::Failed,
            Self::Over(End::Inconclusive, _) => RolloutPhase::Inconclusive,
            Self::Over(End::Error, _) => RolloutPhase::Error,
        }
    }

    /// The webhooks that hold it now.
    pub(super) fn calls(&self) -> Option<&Calls> {
        match self {
            Self::Starting(starting) => starting.calls(),
            Self::Running(running) | Self::Paused(running, _) => running.calls(),
            _ => None,
        }
    }
}

impl Pause {
    /// Whether people who know that it waits because of `before` have to hear of this, too.
    pub(super) fn is_graver_than(&self, before: &Self) -> bool {
        let grave = |pause: &Self| match pause {
            Self::Asked | Self::Step | Self::Unclear(_) => 0,
            Self::Guard(_) => 1,
            Self::Worse(_) => 2,
        };
        grave(self) > grave(before)
    }

    pub(super) fn words(&self) -> String {
        match self {
            Self::Asked => "paused by a person".to_owned(),
            Self::Step => "its step is to wait until somebody promotes".to_owned(),
            Self::Unclear(why) | Self::Guard(why) => why.clone(),
            Self::Worse(why) => format!("the candidate was found worse: {why}"),
        }
    }
}
