//! Tests.

use std::collections::BTreeMap;
use std::time::Duration;

use umbra_document::scalar::to_json;
use umbra_document::take::{
    bool, duration, each, int, number, optional, text, texts, texts_by_name,
};
use umbra_document::yaml::{Node, Value};
use umbra_state::TestKind;
use umbra_suite::spec::Severity;

use super::{Inherited, command_line, globs};
use crate::test::{
    After, Allow, Arrival, Check, Expect, Extract, Http, Journey, Load, Lynis, OpenScap, Place,
    Request, Run, RunFormat, Security, Test, Trust, When,
};

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);
const REQUEST_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);
const CERTIFICATE_DAYS_DEFAULT: u32 = 30;
const IN_FLIGHT_DEFAULT: u32 = 256;

pub(super) fn test(node: &Node, inherited: &Inherited) -> Option<Test> {
    let check = check(node, inherited)?;
    let kind = optional(node.get("kind"), |node| node.text()?.parse().ok())?;
    let when = |node: &Node| globs(node.get("changed")).map(|changed| When { changed });
    Some(Test {
        name: text(node.get("name")?)?,
        kind: kind.unwrap_or_else(|| kind_default(&check)),
        after: optional(node.get("after"), after)?.unwrap_or(After::Each),
        when: optional(node.get("when"), when)?,
        timeout: duration(node.get("timeout"))?.unwrap_or(TIMEOUT_DEFAULT),
        retries: optional(node.get("retries"), int)?.unwrap_or(0),
        retry_delay: duration(node.get("retry_delay"))?,
        services: bool(node.get("services"))?.unwrap_or(true),
        allow_failure: bool(node.get("allow_failure"))?.unwrap_or(false),
        check,
    })
}

fn kind_default(check: &Check) -> TestKind {
    match check {
        Check::Run(_) => TestKind::Unit,
        Check::Http(_) | Check::Goss(_) => TestKind::Integration,
        Check::Load(_) => TestKind::Performance,
        Check::Security(_) | Check::OpenScap(_) | Check::Lynis(_) => TestKind::Security,
    }
}

fn after(node: &Node) -> Option<After> {
    match node.text() {
        Some("each") => Some(After::Each),
        Some("final") => Some(After::Final),
        Some(_) => None,
        None => each(Some(node), text).map(After::Steps),
    }
}

fn check(node: &Node, inherited: &Inherited) -> Option<Check> {
    if node.get("run").is_some() {
        return run(node, inherited).map(Check::Run);
    }
    let keyed = |key| node.get(key);
    if let Some(node) = keyed("http") {
        return http(node).map(Check::Http);
    }
    if let Some(node) = keyed("goss") {
        return text(node).map(Check::Goss);
    }
    if let Some(node) = keyed("load") {
        return load(node).map(Check::Load);
    }
    if let Some(node) = keyed("security") {
        return security(node).map(Check::Security);
    }
    if let Some(node) = keyed("openscap") {
        return openscap(node).map(Check::OpenScap);
    }
    keyed("lynis").and_then(lynis).map(Check::Lynis)
}

fn run(node: &Node, inherited: &Inherited) -> Option<Run> {
    Some(Run {
        run: command_line(node.get("run")?)?,
        format: optional(node.get("format"), format)?.unwrap_or(RunFormat::Auto),
        exit: optional(node.get("exit"), int)?.unwrap_or(0),
        report: optional(node.get("report"), text)?,
        stdout: texts(node.get("stdout"))?,
        stderr: texts(node.get("stderr"))?,
        env: inherited.env(node)?,
        user: optional(node.get("user"), text)?,
        workdir: inherited.workdir(node)?,
    })
}

fn format(node: &Node) -> Option<RunFormat> {
    Some(match node.text()? {
        "auto" => RunFormat::Auto,
        "plain" => RunFormat::Plain,
        "tap" => RunFormat::Tap,
        "junit" => RunFormat::Junit,
        _ => return None,
    })
}

fn http(node: &Node) -> Option<Http> {
    Some(Http {
        url: text(node.get("url")?)?,
        method: method(node)?,
        headers: texts_by_name(node.get("headers"))?,
        body: optional(node.get("body"), text)?,
        trust: trust(node)?,
        redirects: optional(node.get("redirects"), int)?.unwrap_or(0),
        expect: optional(node.get("expect"), expect)?.unwrap_or_default(),
    })
}

fn method(node: &Node) -> Option<String> {
    Some(optional(node.get("method"), text)?.unwrap_or_else(|| "GET".to_owned()))
}

fn trust(node: &Node) -> Option<Trust> {
    Some(Trust {
        insecure: bool(node.get("insecure"))?.unwrap_or(false),
        ca: optional(node.get("ca"), text)?,
    })
}

fn expect(node: &Node) -> Option<Expect> {
    let json = node.get("json").map(Node::map).unwrap_or_default();
    Some(Expect {
        status: status(node)?,
        headers: texts_by_name(node.get("headers"))?,
        body: texts(node.get("body"))?,
        json: json
            .iter()
            .map(|(key, value)| (key.text.clone(), to_json(value)))
            .collect::<BTreeMap<_, _>>(),
        latency: duration(node.get("latency"))?,
    })
}

/// One status or a list of them.
fn status(node: &Node) -> Option<Vec<u16>> {
    match node.get("status") {
        Some(node) if node.scalar().is_some() => Some(vec![int(node)?]),
        status => each(status, int),
    }
}

fn load(node: &Node) -> Option<Load> {
    Some(Load {
        url: text(node.get("url")?)?,
        rate: number(node.get("rate")?.scalar()?)?,
        duration: duration(node.get("duration"))??,
        warm_up: duration(node.get("warm_up"))?,
        arrival: match node.get("arrival").map(Node::text) {
            None | Some(Some("constant")) => Arrival::Constant,
            Some(Some("poisson")) => Arrival::Poisson,
            Some(_) => return None,
        },
        in_flight: optional(node.get("in_flight"), int)?.unwrap_or(IN_FLIGHT_DEFAULT),
        request_timeout: duration(node.get("request_timeout"))?.unwrap_or(REQUEST_TIMEOUT_DEFAULT),
        trust: trust(node)?,
        scenario: each(node.get("scenario"), journey)?,
        thresholds: each(node.get("thresholds"), text)?,
    })
}

pub(crate) fn journey(node: &Node) -> Option<Journey> {
    Some(Journey {
        name: text(node.get("name")?)?,
        weight: optional(node.get("weight"), int)?.unwrap_or(1),
        requests: each(node.get("requests"), request)?,
    })
}

fn request(node: &Node) -> Option<Request> {
    Some(Request {
        path: text(node.get("path")?)?,
        method: method(node)?,
        headers: texts_by_name(node.get("headers"))?,
        body: optional(node.get("body"), text)?,
        think: duration(node.get("think"))?,
        status: status(node)?,
        extract: extracts(node.get("extract"))?,
    })
}

/// One thing to take or a list of them.
fn extracts(node: Option<&Node>) -> Option<Vec<Extract>> {
    match node {
        Some(node) if !node.map().is_empty() => Some(vec![extract(node)?]),
        extracts => each(extracts, extract),
    }
}

fn extract(node: &Node) -> Option<Extract> {
    let place = |key: &str, place: fn(String) -> Place| node.get(key).and_then(text).map(place);
    let from = place("json", Place::Json)
        .or_else(|| place("header", Place::Header))
        .or_else(|| place("regex", Place::Regex))?;
    Some(Extract { name: text(node.get("name")?)?, from })
}

fn security(node: &Node) -> Option<Security> {
    Some(Security {
        fail_on: fail_on(node, Severity::High)?,
        ports: optional(node.get("ports"), |ports| each(Some(ports), int))?,
        certificate_days: optional(node.get("certificate_days"), int)?
            .unwrap_or(CERTIFICATE_DAYS_DEFAULT),
        allow: each(node.get("allow"), allow)?,
    })
}

fn allow(node: &Node) -> Option<Allow> {
    let glob = |node: &Node| Some(node.text()?.trim_start_matches('/').to_owned());
    Some(Allow {
        rule: optional(node.get("rule"), text)?,
        path: optional(node.get("path"), glob)?,
        reason: text(node.get("reason")?)?,
    })
}

fn openscap(node: &Node) -> Option<OpenScap> {
    Some(OpenScap {
        datastream: text(node.get("datastream")?)?,
        profile: optional(node.get("profile"), text)?,
        inside: bool(node.get("inside"))?.unwrap_or(false),
        fail_on: fail_on(node, Severity::High)?,
    })
}

fn lynis(node: &Node) -> Option<Lynis> {
    Some(Lynis {
        hardening_index: optional(node.get("hardening_index"), int)?,
        fail_on: fail_on(node, Severity::Medium)?,
        skip: each(node.get("skip"), text)?,
        groups: each(node.get("groups"), text)?,
    })
}

fn fail_on(node: &Node, default: Severity) -> Option<Severity> {
    let Value::Map(_) = node.value else { return None };
    let severity = |node: &Node| node.text()?.parse().ok();
    Some(optional(node.get("fail_on"), severity)?.unwrap_or(default))
}
