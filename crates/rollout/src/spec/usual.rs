//! What holds where a document says nothing.

use umbra_drift::config::{Notify, Severity, Target};

use super::{Control, Errors, Hold, Instances, Judge, Latency, Mirror, OnWorse, Spec, Step};

/// Copies of all requests, until so many were compared or so long at most.
const SHADOW: Mirror = Mirror { percent: 100.0, requests: Some(500), for_ms: Some(30_000) };
/// In percent.
const WEIGHTS: [f64; 5] = [1.0, 5.0, 25.0, 50.0, 100.0];

pub(super) const ERRORS: Errors =
    Errors { tolerated_ratio: 1.0, excess_min: 0.001, refuted_ratio: 2.0 };
pub(super) const LATENCY: Latency = Latency { tolerated: 0.0, refuted: 0.1 };

impl Spec {
    /// The usual way: a shadow stage, then 1, 5, 25, 50 and 100 %, judged by everything.
    pub fn usual(service: &str) -> Self {
        let weights = WEIGHTS.into_iter().map(Step::SetWeight);
        Self {
            service: service.to_owned(),
            route: service.to_owned(),
            control: Control::Production,
            instances: Instances {
                count: 1,
                port: 8080,
                health: None,
                warm_up: None,
                within_ms: 60_000,
                drain_ms: 30_000,
            },
            judge: Judge {
                alpha: 0.01,
                beta: 0.05,
                errors: Some(ERRORS),
                latency: Some(LATENCY),
                differences: true,
                sessions_min: 2,
            },
            on_worse: OnWorse::Rollback,
            steps: std::iter::once(Step::SetMirror(SHADOW)).chain(weights).collect(),
            hold: Hold { for_ms: 10_000, requests: 100, proved: false, within_ms: None },
            guards: Vec::new(),
            analyses: Vec::new(),
            background: None,
            webhooks: Vec::new(),
            top_up: None,
            deadline_ms: 600_000,
            notify: vec![Notify { target: Target::Log, min_severity: Severity::Low }],
        }
    }
}
