//! From a tree that has passed every check to how a service is rolled out.
//!
//! Every function gives `None` for a tree that has not: the check has said why.

use umbra_document::take::{bool, each, int, number, optional, text};
use umbra_document::units;
use umbra_document::yaml::Node;
use umbra_drift::config::{notify, percent};

use super::{
    Control, Errors, Guard, Health, Hold, Instances, Judge, Latency, Limit, Mirror, OnWorse, Spec,
    Step, TopUp, WarmUp, analysis, usual, webhooks,
};

pub(super) fn spec(root: &Node) -> Option<Spec> {
    let usual = Spec::usual(&text(root.get("service")?)?);
    let measured = analysis::section(root.get("analysis"))?;
    let steps = optional(root.get("steps"), |node| each(Some(node), step))?;
    let steps = steps.unwrap_or(usual.steps);
    let mirrored = steps.iter().any(|step| matches!(step, Step::SetMirror(_)));
    Some(Spec {
        route: optional(root.get("route"), text)?.unwrap_or(usual.route),
        control: optional(root.get("control"), control)?.unwrap_or(usual.control),
        instances: match root.get("instances") {
            Some(node) => instances(node, usual.instances)?,
            None => usual.instances,
        },
        judge: judge(root.get("judge"), usual.judge, mirrored)?,
        on_worse: optional(root.get("on_worse"), on_worse)?.unwrap_or(usual.on_worse),
        steps,
        hold: match root.get("hold") {
            Some(node) => hold(node, usual.hold)?,
            None => usual.hold,
        },
        guards: each(root.get("guards"), guard)?,
        analyses: measured.analyses,
        background: measured.background,
        webhooks: webhooks::webhooks(root.get("webhooks"))?,
        top_up: optional(root.get("top_up"), top_up)?,
        deadline_ms: time(root, "deadline", usual.deadline_ms)?,
        notify: notify(root.get("notify"))?,
        service: usual.service,
    })
}

fn control(node: &Node) -> Option<Control> {
    match node.text()? {
        "production" => Some(Control::Production),
        "fresh" => Some(Control::Fresh),
        _ => None,
    }
}

fn on_worse(node: &Node) -> Option<OnWorse> {
    match node.text()? {
        "rollback" => Some(OnWorse::Rollback),
        "pause" => Some(OnWorse::Pause),
        "notify" => Some(OnWorse::Notify),
        _ => None,
    }
}

fn instances(node: &Node, usual: Instances) -> Option<Instances> {
    let health = node.get("health");
    Some(Instances {
        count: optional(node.get("count"), int)?.unwrap_or(usual.count),
        port: optional(node.get("port"), int)?.unwrap_or(usual.port),
        within_ms: health
            .map_or(Some(usual.within_ms), |node| time(node, "within", usual.within_ms))?,
        health: optional(health, |node| {
            Some(Health {
                path: text(node.get("path")?)?,
                every_ms: time(node, "every", 200)?,
                timeout_ms: time(node, "timeout", 1_000)?,
                healthy: optional(node.get("healthy"), int)?.unwrap_or(2),
            })
        })?,
        warm_up: optional(node.get("warm_up"), |node| {
            Some(WarmUp { requests: int(node.get("requests")?)?, path: path(node)? })
        })?,
        drain_ms: time(node, "drain", usual.drain_ms)?,
    })
}

/// Nobody compares answers where none is mirrored.
fn judge(node: Option<&Node>, usual: Judge, mirrored: bool) -> Option<Judge> {
    let get = |key| node.and_then(|node| node.get(key));
    let amount = |key| optional(get(key), |node| number(node.scalar()?));
    Some(Judge {
        alpha: amount("alpha")?.unwrap_or(usual.alpha),
        beta: amount("beta")?.unwrap_or(usual.beta),
        errors: judged(get("errors"), usual::ERRORS, errors)?,
        latency: judged(get("latency"), usual::LATENCY, latency)?,
        differences: mirrored && bool(get("differences"))?.unwrap_or(usual.differences),
        sessions_min: optional(get("sessions_min"), int)?.unwrap_or(usual.sessions_min),
    })
}

/// `false`, `true`, or how.
fn judged<T>(
    node: Option<&Node>,
    usual: T,
    read: impl FnOnce(&Node, T) -> Option<T>,
) -> Option<Option<T>> {
    let Some(node) = node else { return Some(Some(usual)) };
    match bool(Some(node)) {
        Some(Some(on)) => Some(on.then_some(usual)),
        _ => read(node, usual).map(Some),
    }
}

fn errors(node: &Node, usual: Errors) -> Option<Errors> {
    let ratio = |key| optional(node.get(key), |node| number(node.scalar()?));
    Some(Errors {
        tolerated_ratio: ratio("tolerated")?.unwrap_or(usual.tolerated_ratio),
        excess_min: part(node, "excess", usual.excess_min)?,
        refuted_ratio: ratio("refute")?.unwrap_or(usual.refuted_ratio),
    })
}

fn latency(node: &Node, usual: Latency) -> Option<Latency> {
    Some(Latency {
        tolerated: part(node, "tolerated", usual.tolerated)?,
        refuted: part(node, "refute", usual.refuted)?,
    })
}

fn step(node: &Node) -> Option<Step> {
    if let Some(weight) = node.get("setWeight") {
        return number(weight.scalar()?).map(Step::SetWeight);
    }
    if let Some(mirror) = node.get("setMirror") {
        return Some(Step::SetMirror(Mirror {
            percent: number(mirror.get("percent")?.scalar()?)?,
            requests: optional(mirror.get("requests"), int)?,
            for_ms: optional(mirror.get("for"), millis)?,
        }));
    }
    if let Some(pause) = node.get("pause") {
        return optional(pause.get("duration"), millis).map(Step::Pause);
    }
    each(node.get("analysis")?.get("templates"), template_name).map(Step::Analysis)
}

/// As it is, or as Argo writes it.
pub(super) fn template_name(node: &Node) -> Option<String> {
    text(node.get("templateName").unwrap_or(node))
}

fn hold(node: &Node, usual: Hold) -> Option<Hold> {
    Some(Hold {
        for_ms: time(node, "for", usual.for_ms)?,
        requests: optional(node.get("requests"), int)?.unwrap_or(usual.requests),
        proved: bool(node.get("proved"))?.unwrap_or(usual.proved),
        within_ms: optional(node.get("within"), millis)?,
    })
}

fn guard(node: &Node) -> Option<Guard> {
    let max = |key| node.get(key).and_then(|node| node.get("max"));
    let limit = match max("errors") {
        Some(max) => Limit::Errors(percent(max.text()?)?),
        None => Limit::P99Us(millis(max("p99")?)?.saturating_mul(1_000)),
    };
    Some(Guard {
        limit,
        requests_min: optional(node.get("requests_min"), int)?.unwrap_or(100),
        over_ms: time(node, "over", 60_000)?,
    })
}

fn top_up(node: &Node) -> Option<TopUp> {
    Some(TopUp {
        requests: int(node.get("requests")?)?,
        rate: optional(node.get("rate"), |node| number(node.scalar()?))?.unwrap_or(10.0),
        path: path(node)?,
    })
}

fn path(node: &Node) -> Option<String> {
    Some(optional(node.get("path"), text)?.unwrap_or_else(|| "/".to_owned()))
}

fn part(node: &Node, key: &str, usual: f64) -> Option<f64> {
    Some(optional(node.get(key), |node| percent(node.text()?))?.unwrap_or(usual))
}

fn time(node: &Node, key: &str, usual: u64) -> Option<u64> {
    Some(optional(node.get(key), millis)?.unwrap_or(usual))
}

fn millis(node: &Node) -> Option<u64> {
    units::duration(node.text()?).ok().map(analysis::millis)
}
