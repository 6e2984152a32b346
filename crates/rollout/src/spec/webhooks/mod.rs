//! `webhooks`: who is asked or told over HTTP, in Flagger's words.

mod extract;
mod shapes;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use umbra_document::Found;
use umbra_document::names;
use umbra_document::yaml::Node;
use umbra_drift::config::{Address, Token};

pub(super) use extract::webhooks;
pub(super) use shapes::WEBHOOKS;

/// Who is asked or told over HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Its name.
    pub name: String,
    /// When, and what its answer does.
    pub kind: WebhookKind,
    /// Where it is.
    pub url: Address,
    /// A secret sent along.
    pub token: Option<Token>,
    /// An answer may take this long.
    pub timeout_ms: u64,
    /// So many times more it is tried before it failed.
    pub retries: u32,
    /// What is sent along as it is.
    pub metadata: BTreeMap<String, String>,
}

/// When a webhook is called, and what its answer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WebhookKind {
    /// Before instances are started; holds until it says go.
    ConfirmRollout,
    /// When instances are healthy, before any request; a failed one ends the rollout.
    PreRollout,
    /// At each weight, which does not end before it says go; a failed one ends the rollout.
    Rollout,
    /// Before a weight rises; holds until it says go.
    ConfirmTrafficIncrease,
    /// Before everything goes to the candidate; holds until it says go.
    ConfirmPromotion,
    /// When it is over, however it ended; only told.
    PostRollout,
    /// When everything goes to the baseline again; only told.
    Rollback,
    /// At each change of phase; only told.
    Event,
}

impl WebhookKind {
    pub(crate) const ALL: [Self; 8] = [
        Self::ConfirmRollout,
        Self::PreRollout,
        Self::Rollout,
        Self::ConfirmTrafficIncrease,
        Self::ConfirmPromotion,
        Self::PostRollout,
        Self::Rollback,
        Self::Event,
    ];

    /// As documents have it.
    pub fn word(self) -> &'static str {
        match self {
            Self::ConfirmRollout => "confirm-rollout",
            Self::PreRollout => "pre-rollout",
            Self::Rollout => "rollout",
            Self::ConfirmTrafficIncrease => "confirm-traffic-increase",
            Self::ConfirmPromotion => "confirm-promotion",
            Self::PostRollout => "post-rollout",
            Self::Rollback => "rollback",
            Self::Event => "event",
        }
    }
}

/// Records what the form of the list cannot say.
pub(super) fn check(webhooks: &Node, found: &mut Found) {
    names::unique(webhooks.list(), "webhooks", "webhook", found);
}
