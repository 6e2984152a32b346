//! `rollout.yaml`: how a service is rolled out.

mod analysis;
mod model;
#[cfg(test)]
pub(crate) mod tests;
mod webhooks;

pub use analysis::{
    Analysis, Background, Canary, Kayenta, OnFailure, Prometheus, Provider, Range, Scope, Server,
};
pub use model::{
    Control, Errors, Guard, Health, Hold, Instances, Judge, Latency, Limit, Mirror, OnWorse, Spec,
    Step, TopUp, WarmUp,
};
pub use webhooks::{Webhook, WebhookKind};
