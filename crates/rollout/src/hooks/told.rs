//! What webhooks are sent.

use std::collections::BTreeMap;

use serde::Serialize;
use umbra_api::rollout::RolloutPhase;

use crate::spec::Webhook;

/// What a webhook is asked or told about.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Told<'a> {
    /// The rollout's number.
    pub rollout: u64,
    /// What is rolled out.
    pub service: &'a str,
    /// What becomes of it, in words.
    pub candidate: &'a str,
    /// What it was before, in words.
    pub baseline: &'a str,
    /// Where the rollout is in its life.
    pub phase: RolloutPhase,
    /// Why, in a sentence without a full stop.
    pub reason: &'a str,
    /// The step it is at, as people read it.
    pub step: Option<&'a str>,
    /// The candidate's part of requests, in percent.
    pub weight_percent: f64,
    /// What it will be if this one says go.
    pub next_weight_percent: Option<f64>,
    /// What the judge says.
    pub evidence: Option<Evidence>,
    /// Of which call of the rollout this is: who gets it twice can tell.
    pub call: u32,
}

/// What the judge says, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Evidence {
    /// Natural logarithm of the e-value of "the candidate is worse".
    pub log_e: f64,
    /// Natural logarithm of the limit at which it is rolled back.
    pub log_limit: f64,
    /// Whether it is proved that the candidate is not worse than is tolerated.
    pub proved: bool,
    /// Requests of the baseline and of the candidate.
    pub requests: [u64; 2],
    /// Those that failed.
    pub errors: [u64; 2],
}

/// The document: Flagger's `name`, `phase` and `metadata`, and what there is besides.
#[derive(Serialize)]
struct Document<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    told: &'a Told<'a>,
    metadata: &'a BTreeMap<String, String>,
}

impl Told<'_> {
    /// As it is sent to this one.
    pub(super) fn body(&self, webhook: &Webhook) -> Vec<u8> {
        let (name, kind) = (webhook.name.as_str(), webhook.kind.word());
        let document = Document { name, kind, told: self, metadata: &webhook.metadata };
        // Texts, numbers and lists of them always are JSON.
        serde_json::to_vec(&document).unwrap_or_default()
    }
}
