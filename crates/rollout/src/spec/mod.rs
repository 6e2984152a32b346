//! `rollout.yaml`: how a service is rolled out.
//!
//! ```yaml
//! service: web
//! instances: { count: 2, port: 8080, health: { path: /healthz } }
//! steps:
//!   - setMirror: { percent: 100, requests: 500, for: 30s }
//!   - setWeight: 5
//!   - pause: { duration: 1m }
//!   - setWeight: 50
//!   - setWeight: 100
//! guards:
//!   - errors: { max: 5% }
//! ```
//!
//! Only `service` is needed; [`Spec::usual`] is the rest. All mistakes are reported at once, each
//! with its place; there is a [`Spec`] exactly if there is none.

mod analysis;
mod extract;
mod model;
mod sense;
mod shapes;
#[cfg(test)]
pub(crate) mod tests;
mod usual;
mod webhooks;

pub use analysis::{
    Analysis, Background, Canary, Kayenta, OnFailure, Prometheus, Provider, Range, Scope, Server,
};
pub use model::{
    Control, Errors, Guard, Health, Hold, Instances, Judge, Latency, Limit, Mirror, OnWorse, Spec,
    Step, TopUp, WarmUp,
};
pub use webhooks::{Webhook, WebhookKind};

use std::path::Path;

use serde_json::Value as Json;
use umbra_document::schema::Schema;
use umbra_document::source::Source;
use umbra_document::whole::Whole;
use umbra_document::yaml::Node;
use umbra_document::{Found, Problems, check};

const DOCUMENT: Whole = Whole { noun: "rollout", bytes_max: 1 << 20 };

/// Reads and checks the file at `path`.
///
/// # Errors
/// All that is wrong with it, each with its place.
pub fn load(path: &Path) -> Result<Spec, Problems> {
    DOCUMENT.load(path, read)
}

/// Checks a text; `name` stands for its path in problems.
///
/// # Errors
/// All that is wrong with it, each with its place.
pub fn parse(name: &str, text: &str) -> Result<Spec, Problems> {
    DOCUMENT.parse(name, text, read)
}

fn read(root: Node, sources: &[Source], found: &mut Found) -> Option<Spec> {
    check::check(&root, &shapes::ROOT, found);
    sense::check(&root, sources, found);
    if found.has_errors() { None } else { extract::spec(&root) }
}

/// A schema that accepts exactly the files whose form is accepted here. That weights rise, that
/// names exist and that something is judged no schema can say.
pub fn schema() -> Json {
    let mut schema = Schema::default();
    let root = schema.object(&shapes::ROOT);
    schema.published(root, "urn:umbra:rollout:1", "umbra rollout")
}
