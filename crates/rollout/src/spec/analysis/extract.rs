//! From a checked `analysis` section to values.

use std::collections::BTreeMap;
use std::time::Duration;

use umbra_document::take::{bool, duration, each, int, optional, text};
use umbra_document::yaml::Node;
use umbra_drift::config::{Token, secret};

use super::kayenta;
use super::{Analysis, Background, OnFailure, Prometheus, Provider, Range, Section, Server};
use crate::analysis::{Expression, placeholder};

const TIMEOUT: Duration = Duration::from_secs(10);
const FRESH: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_secs(15);
const CONSECUTIVE_ERRORS: u32 = 4;

/// All of it; nothing where there is no such section.
pub(crate) fn section(node: Option<&Node>) -> Option<Section> {
    let Some(node) = node else { return Some(Section::default()) };
    let around = Around { arguments: arguments(node), server: node.get("prometheus") };
    Some(Section {
        analyses: each(node.get("templates"), |node| template(node, &around))?,
        background: optional(node.get("background"), background)?,
    })
}

/// What holds for all templates.
struct Around<'n> {
    arguments: BTreeMap<String, String>,
    server: Option<&'n Node>,
}

/// Values that stand in queries, by their names.
pub(super) fn arguments(node: &Node) -> BTreeMap<String, String> {
    let entries = node.get("args").map(Node::list).unwrap_or_default().iter();
    let pair = |node: &Node| Some((text(node.get("name")?)?, text(node.get("value")?)?));
    entries.filter_map(pair).collect()
}

fn background(node: &Node) -> Option<Background> {
    Some(Background {
        templates: each(node.get("templates"), text)?,
        starting_step: optional(node.get("startingStep"), int)?.unwrap_or(0),
    })
}

fn template(node: &Node, around: &Around<'_>) -> Option<Analysis> {
    let provider = node.get("provider")?;
    let judged = provider.get("kayenta");
    let (rhythm, provider) = match judged {
        Some(node) => {
            (kayenta::rhythm(node)?, Provider::Kayenta(kayenta::read(node, server(node, around)?)?))
        }
        None => (rhythm(node)?, Provider::Prometheus(query(provider.get("prometheus")?, around)?)),
    };
    let get = |key| node.get(key);
    let count = |key, otherwise| Some(optional(get(key), int::<u32>)?.unwrap_or(otherwise));
    // A judgement between good and bad is nothing to stop for: the last one decides.
    let (inconclusive, on_failure) = match judged {
        Some(_) => (u32::MAX, OnFailure::Pause),
        None => (0, OnFailure::Rollback),
    };
    Some(Analysis {
        name: text(get("name")?)?,
        interval_ms: rhythm.interval_ms,
        count: rhythm.count,
        initial_delay_ms: rhythm.initial_delay_ms,
        success_condition: optional(get("successCondition"), condition)?,
        failure_condition: optional(get("failureCondition"), condition)?,
        failure_limit: match optional(get("failureLimit"), int::<i64>)?.unwrap_or(0) {
            -1 => None,
            limit => Some(u32::try_from(limit).ok()?),
        },
        consecutive_success_limit: Some(count("consecutiveSuccessLimit", 0)?).filter(|n| *n > 0),
        inconclusive_limit: count("inconclusiveLimit", inconclusive)?,
        consecutive_error_limit: count("consecutiveErrorLimit", CONSECUTIVE_ERRORS)?,
        dry_run: bool(get("dryRun"))?.unwrap_or(false),
        on_failure: optional(get("onFailure"), read_on_failure)?.unwrap_or(on_failure),
        provider,
    })
}

/// When measurements are made.
pub(super) struct Rhythm {
    pub(super) interval_ms: Option<u64>,
    pub(super) count: Option<u32>,
    pub(super) initial_delay_ms: u64,
}

fn rhythm(node: &Node) -> Option<Rhythm> {
    Some(Rhythm {
        interval_ms: duration(node.get("interval"))?.map(millis),
        count: optional(node.get("count"), int)?,
        initial_delay_ms: duration(node.get("initialDelay"))?.map_or(0, millis),
    })
}

fn query(node: &Node, around: &Around<'_>) -> Option<Prometheus> {
    let query = placeholder::fill(node.get("query")?.text()?, |name| {
        around.arguments.get(name.strip_prefix("args.")?).cloned()
    });
    Some(Prometheus {
        server: server(node, around)?,
        query,
        range: optional(node.get("range"), range)?,
        fresh_ms: duration(node.get("freshWithin"))?.map_or(millis(FRESH), millis),
    })
}

pub(super) fn range(node: &Node) -> Option<Range> {
    Some(Range {
        window_ms: millis(duration(node.get("window"))??),
        step_ms: duration(node.get("step"))?.map_or(millis(STEP), millis),
    })
}

/// Whom `node` says to ask, else what holds for all.
fn server(node: &Node, around: &Around<'_>) -> Option<Server> {
    let from = if node.get("address").is_some() { node } else { around.server? };
    let token = optional(from.get("token"), secret)?;
    let header = optional(from.get("header"), text)?;
    let timeout = duration(node.get("timeout"))?.or(duration(from.get("timeout"))?);
    Some(Server {
        address: text(from.get("address")?)?,
        token: token.map(|from| Token { from, header }),
        timeout_ms: timeout.map_or(millis(TIMEOUT), millis),
    })
}

fn condition(node: &Node) -> Option<Expression> {
    Expression::parse(node.text()?).ok()
}

fn read_on_failure(node: &Node) -> Option<OnFailure> {
    match node.text()? {
        "rollback" => Some(OnFailure::Rollback),
        "pause" => Some(OnFailure::Pause),
        _ => None,
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
