//! What the form of `rollout.yaml` cannot say: weights that rise, names that exist, and that
//! something is judged at all.
//!
//! Works on any tree, also one the structural check has found fault with: what cannot be
//! understood is passed over here, since it has been reported there.

use std::collections::BTreeSet;

use umbra_document::check::shorten;
use umbra_document::source::{Source, Span};
use umbra_document::suggest::advice;
use umbra_document::take::{bool, number};
use umbra_document::units;
use umbra_document::yaml::Node;
use umbra_document::{Found, Problem};
use umbra_drift::config::percent;

use super::extract::template_name;
use super::{analysis, webhooks};

/// Records every such problem.
pub(super) fn check(root: &Node, sources: &[Source], found: &mut Found) {
    if let Some(section) = root.get("analysis") {
        analysis::check(section, sources, found);
    }
    if let Some(list) = root.get("webhooks") {
        webhooks::check(list, found);
    }
    weights(root, found);
    mirrors(root, found);
    measured(root, found);
    judge(root, found);
    limits(root, found);
    judges_something(root, found);
}

/// The steps, if they are given.
fn steps(root: &Node) -> impl Iterator<Item = (usize, &Node)> {
    root.get("steps").map(Node::list).unwrap_or_default().iter().enumerate()
}

fn value<'n>(node: &'n Node, key: &str) -> Option<(&'n Node, f64)> {
    let node = node.get(key)?;
    Some((node, number(node.scalar()?)?))
}

/// Weights rise, and both arms together are never more than all.
fn weights(root: &Node, found: &mut Found) {
    let fresh = root.get("control").and_then(Node::text) == Some("fresh");
    let mut before: Option<(Span, f64)> = None;
    for (index, step) in steps(root) {
        let Some((node, weight)) = value(step, "setWeight") else { continue };
        let path = format!("steps[{index}].setWeight");
        match before {
            Some((span, less)) if weight <= less => {
                let message = format!("the weight goes from {less} to {weight}: weights only rise");
                let problem = Problem::new("bad-value", message, node.span, "").at(&path);
                found.push(problem.also(span, "the one before"));
            }
            _ => before = Some((node.span, weight)),
        }
        if fresh && weight > 50.0 && weight < 100.0 {
            let message = format!(
                "{weight} % for the candidate and as much for its fresh control do not add up"
            );
            let help = "with `control: fresh` weights are at most 50, or 100";
            found.push(Problem::new("bad-value", message, node.span, "").at(&path).help(help));
        }
    }
    if let (Some(list), None) = (root.get("steps"), before) {
        let message = "no step gives the candidate any requests";
        let problem = Problem::new("missing-key", message, list.head(), "").at("steps");
        found.push(problem.help("add `- setWeight: 5`"));
    }
}

/// Copies are made only as long as nobody gets to the candidate.
fn mirrors(root: &Node, found: &mut Found) {
    let first = steps(root).find_map(|(index, step)| Some((index, step.key_span("setWeight")?)));
    let Some((first, span)) = first else { return };
    for (index, step) in steps(root).skip(first) {
        let Some(key) = step.key_span("setMirror") else { continue };
        let message = "requests are mirrored only before the first weight";
        let problem =
            Problem::new("not-allowed-here", message, key, "").at(format!("steps[{index}]"));
        found.push(problem.also(span, "the first weight"));
    }
}

/// Steps name templates that there are and that end; and each template is named.
fn measured(root: &Node, found: &mut Found) {
    let section = root.get("analysis");
    let templates = section.and_then(|node| node.get("templates")).map(Node::list);
    let templates = templates.unwrap_or_default();
    let named = |name: &str| {
        templates.iter().find(|one| one.get("name").and_then(Node::text) == Some(name))
    };
    let known: Vec<&str> = templates.iter().filter_map(|one| one.get("name")?.text()).collect();
    let mut used = BTreeSet::new();
    for (index, step) in steps(root) {
        let names = step.get("analysis").and_then(|node| node.get("templates"));
        for (place, node) in names.map(Node::list).unwrap_or_default().iter().enumerate() {
            let Some(name) = template_name(node) else { continue };
            let path = format!("steps[{index}].analysis.templates[{place}]");
            match named(&name) {
                None => {
                    let message = format!("there is no analysis template `{}`", shorten(&name));
                    let problem = Problem::new("unknown-name", message, node.head(), "").at(path);
                    found.push(problem.help_if(advice(&name, &known)));
                }
                Some(one) if one.get("interval").is_some() && one.get("count").is_none() => {
                    let message = format!("analysis `{}` never ends", shorten(&name));
                    let problem = Problem::new("bad-value", message, node.head(), "").at(path);
                    found.push(problem.help("give it a `count`, or make it in the background"));
                }
                Some(_) => {}
            }
            used.insert(name);
        }
    }
    background(root, &mut used, found);
    for (index, node) in templates.iter().enumerate() {
        let Some(name) =
            node.get("name").filter(|name| name.text().is_some_and(|name| !used.contains(name)))
        else {
            continue;
        };
        let message = "no step and no background names this template: it is never measured";
        let problem = Problem::new("no-effect", message, name.span, "");
        found.push(problem.at(format!("analysis.templates[{index}].name")));
    }
}

fn background(root: &Node, used: &mut BTreeSet<String>, found: &mut Found) {
    let Some(node) = root.get("analysis").and_then(|node| node.get("background")) else { return };
    used.extend(
        node.get("templates").map(Node::list).unwrap_or_default().iter().filter_map(template_name),
    );
    let (Some(start), Some(steps)) = (value(node, "startingStep"), root.get("steps")) else {
        return;
    };
    let count = steps.list().len();
    if start.1 >= count as f64 {
        let message = format!("there are {count} steps, counted from 0: it would never begin");
        let problem = Problem::new("bad-value", message, start.0.span, "");
        found.push(problem.at("analysis.background.startingStep"));
    }
}

fn judge(root: &Node, found: &mut Found) {
    let Some(judge) = root.get("judge") else { return };
    let part = |node: &Node, key: &str| percent(node.get(key)?.text()?);
    if let Some(errors) = judge.get("errors") {
        let tolerated = value(errors, "tolerated");
        if let Some((node, _)) = tolerated.filter(|(_, ratio)| *ratio < 1.0) {
            let message = "less than 1 is tolerated: a candidate as good as its baseline is worse";
            found.push(
                Problem::new("bad-value", message, node.span, "").at("judge.errors.tolerated"),
            );
        }
        let tolerated = tolerated.map_or(super::usual::ERRORS.tolerated_ratio, |(_, ratio)| ratio);
        let refuted =
            value(errors, "refute").map_or(super::usual::ERRORS.refuted_ratio, |(_, ratio)| ratio);
        more_than_tolerated(errors, refuted > tolerated, "judge.errors.refute", found);
    }
    if let Some(latency) = judge.get("latency") {
        let tolerated = part(latency, "tolerated").unwrap_or(super::usual::LATENCY.tolerated);
        let refuted = part(latency, "refute").unwrap_or(super::usual::LATENCY.refuted);
        more_than_tolerated(latency, refuted > tolerated, "judge.latency.refute", found);
    }
}

fn more_than_tolerated(node: &Node, is: bool, path: &str, found: &mut Found) {
    if !is {
        let message = "what is refuted must be more than what is tolerated";
        let span = node.get("refute").map_or(node.head(), |node| node.span);
        found.push(Problem::new("bad-value", message, span, "").at(path));
    }
}

fn limits(root: &Node, found: &mut Found) {
    for (index, guard) in root.get("guards").map(Node::list).unwrap_or_default().iter().enumerate()
    {
        let Some(max) = guard.get("errors").and_then(|errors| errors.get("max")) else { continue };
        if max.text().and_then(percent).is_some_and(|max| max >= 1.0) {
            let message = "never more than all requests fail: this guard guards nothing";
            let path = format!("guards[{index}].errors.max");
            found.push(Problem::new("no-effect", message, max.span, "").at(path));
        }
    }
    let Some(hold) = root.get("hold") else { return };
    let time = |key| units::duration(hold.get(key)?.text()?).ok().map(analysis::millis);
    let (Some(node), Some(within)) = (hold.get("within"), time("within")) else { return };
    if within <= time("for").unwrap_or(super::Spec::usual("").hold.for_ms) {
        let message = "this is not longer than each weight is held anyway";
        found.push(Problem::new("bad-value", message, node.span, "").at("hold.within"));
    }
}

/// A rollout that nothing judges would promote anything.
fn judges_something(root: &Node, found: &mut Found) {
    let judge = root.get("judge");
    let on = |key| match judge.and_then(|node| node.get(key)) {
        node @ Some(_) => !matches!(bool(node), Some(Some(false))),
        None => true,
    };
    let usual = root.get("steps").is_none();
    let compared = usual
        || steps(root)
            .any(|(_, step)| value(step, "setWeight").is_some_and(|(_, weight)| weight < 100.0));
    let mirrored = usual || steps(root).any(|(_, step)| step.get("setMirror").is_some());
    let dry = |node: &Node| matches!(bool(node.get("dryRun")), Some(Some(true)));
    let templates = root.get("analysis").and_then(|node| node.get("templates")).map(Node::list);
    let measured = templates.unwrap_or_default().iter().any(|one| !dry(one));
    let judged = compared && (on("errors") || on("latency"));
    if judged || (mirrored && on("differences")) || measured {
        return;
    }
    let span = judge.map_or(root.head(), Node::head);
    let message = "nothing judges the candidate: it would be promoted whatever it does";
    let help = match compared {
        true => "judge `errors` or `latency`, or measure something in `analysis`",
        false => "add a weight below 100, at which both arms can be compared",
    };
    found.push(Problem::new("judges-nothing", message, span, "").help(help));
}
