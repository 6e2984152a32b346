//! `kayenta`: a canary configuration as Kayenta has it, and what Kayenta is told beside it.

mod canary;
pub(super) mod shapes;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use umbra_document::check::shorten;
use umbra_document::take::{duration, number, optional, text, texts_by_name};
use umbra_document::yaml::Node;
use umbra_document::{Found, Problem};
use umbra_judge::classic::Thresholds;

use super::Server;
use super::extract::{Rhythm, millis};
pub use canary::Canary;

const STEP: Duration = Duration::from_secs(60);

/// A canary configuration, judged as Kayenta does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kayenta {
    /// The Prometheus its metrics are in.
    pub server: Server,
    /// The configuration.
    pub canary: Canary,
    /// The baseline, as its queries name it.
    pub control: Scope,
    /// The candidate.
    pub experiment: Scope,
    /// Points of the time this long after the analysis began are not looked at.
    pub begin_after_ms: u64,
    /// Time between two points.
    pub step_ms: u64,
    /// How far back each judgement looks; to the beginning of the analysis if `None`.
    pub lookback_ms: Option<u64>,
    /// From which score on the candidate passes.
    pub thresholds: Thresholds,
}

/// An arm, as queries name it: values that stand as `${scope}`, `${location}` and the like. They
/// may hold `{{service}}`, `{{arm}}` and `{{rollout}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scope(pub BTreeMap<String, String>);

/// What a checked tree describes.
pub(super) fn read(node: &Node, server: Server) -> Option<Kayenta> {
    let scopes = node.get("scopes");
    let scope = |key, otherwise| scope(scopes.and_then(|node| node.get(key)), otherwise);
    Some(Kayenta {
        server,
        canary: canary::read(node.get("config")?).ok()?,
        control: scope("control", "baseline")?,
        experiment: scope("experiment", "candidate")?,
        begin_after_ms: begin_after_ms(node)?,
        step_ms: duration(node.get("step"))?.map_or(millis(STEP), millis),
        lookback_ms: duration(node.get("lookback"))?.map(millis),
        thresholds: thresholds(node)?,
    })
}

/// A judgement each interval, the first after one, the last at the end of the lifetime.
pub(super) fn rhythm(node: &Node) -> Option<Rhythm> {
    let lifetime = millis(duration(node.get("lifetime"))??);
    let interval = duration(node.get("interval"))?.map_or(lifetime, millis).min(lifetime);
    Some(Rhythm {
        interval_ms: Some(interval),
        count: Some(u32::try_from(lifetime.div_ceil(interval.max(1))).ok()?),
        initial_delay_ms: begin_after_ms(node)?.saturating_add(interval),
    })
}

fn begin_after_ms(node: &Node) -> Option<u64> {
    duration(node.get("beginAfter")).map(|after| after.map_or(0, millis))
}

fn scope(node: Option<&Node>, otherwise: &str) -> Option<Scope> {
    let mut values = texts_by_name(node)?;
    values.entry("scope".to_owned()).or_insert_with(|| otherwise.to_owned());
    Some(Scope(values))
}

/// Those beside the configuration, else its own, else Kayenta's.
fn thresholds(node: &Node) -> Option<Thresholds> {
    let own = node.get("config").and_then(|config| config.get("classifier"));
    let own = own.and_then(|classifier| classifier.get("scoreThresholds"));
    let given = node.get("thresholds");
    let one = |key: &str, otherwise| {
        let node = given.and_then(|node| node.get(key)).or(own.and_then(|node| node.get(key)));
        Some(optional(node, |node| number(node.scalar()?))?.unwrap_or(otherwise))
    };
    let usual = Thresholds::default();
    Some(Thresholds { pass: one("pass", usual.pass)?, marginal: one("marginal", usual.marginal)? })
}

/// Each judgement needs a step at least, and they are not without number.
fn times(node: &Node, path: &str, found: &mut Found) {
    let of = |key| duration(node.get(key)).flatten().map(millis);
    let Some(lifetime) = of("lifetime") else { return };
    let step = of("step").unwrap_or(millis(STEP));
    let interval = of("interval").unwrap_or(lifetime);
    let mut report = |message: String, key: &str| {
        let span = node.get(key).map_or(node.head(), |node| node.span);
        found.push(Problem::new("bad-value", message, span, "").at(format!("{path}.{key}")));
    };
    if lifetime / interval.max(1) > JUDGEMENTS_MAX {
        report(format!("these are more than {JUDGEMENTS_MAX} judgements"), "interval");
    }
    if let Some(short) = of("lookback").filter(|lookback| *lookback < step) {
        report(format!("a step of {step} ms does not fit into {short} ms"), "lookback");
    }
    if interval.min(lifetime) < step {
        let short = interval.min(lifetime);
        report(format!("a step of {step} ms does not fit into {short} ms"), "step");
    }
}

const JUDGEMENTS_MAX: u64 = 1_000_000;

/// Records what the form cannot say.
pub(super) fn check(node: &Node, path: &str, found: &mut Found) {
    times(node, path, found);
    let Some(config) = node.get("config") else { return };
    let path = format!("{path}.config");
    let mut report = |message: String, node: &Node| {
        found.push(Problem::new("bad-value", message, node.head(), "").at(&path));
    };
    let canary = match canary::read(config) {
        Ok(canary) => canary,
        Err(why) => return report(why, config),
    };
    let metrics = config.get("metrics").map(Node::list).unwrap_or_default();
    if let Some(thresholds) = thresholds(node) {
        for problem in canary.judged.problems(thresholds) {
            report(shorten(&problem.to_string()), config);
        }
    }
    let (Some(control), Some(experiment)) = (
        scope(node.get("scopes").and_then(|scopes| scopes.get("control")), "baseline"),
        scope(node.get("scopes").and_then(|scopes| scopes.get("experiment")), "candidate"),
    ) else {
        return;
    };
    for (metric, node) in canary.metrics().zip(metrics) {
        let queries = [&control, &experiment].map(|scope| canary.query(metric, scope));
        match &queries {
            [Err(why), _] | [_, Err(why)] => report(why.clone(), node),
            [Ok(control), Ok(experiment)] if control == experiment => {
                let name = text(node).unwrap_or_else(|| shorten(metric));
                let message = format!("the query of `{name}` is the same for both scopes");
                report(message, node);
            }
            _ => {}
        }
    }
}
