//! `rollout.yaml`: how a service is rolled out.

mod model;

pub use model::{
    Analysis, Background, Control, Errors, Guard, Health, Hold, Instances, Judge, Kayenta, Latency,
    Limit, Mirror, OnFailure, OnWorse, Prometheus, Provider, Spec, Step, TopUp, WarmUp, Webhook,
    WebhookKind,
};
