//! From a tree that has passed every check to what routes are made of.
//!
//! Every function gives `None` for a tree that has not: the check has said why.

use std::time::Duration;

use umbra_document::take::{duration, each, int, number, optional, text, texts, texts_by_name};
use umbra_document::yaml::Node;

use crate::listen::proxy_header::Version;
use crate::routes::setup::{
    EjectSetup, HealthSetup, RouteSetup, RoutesSetup, StickySetup, TargetSetup,
};

pub(super) fn setup(root: &Node) -> Option<RoutesSetup> {
    let secret = optional(root.get("secret"), text)?;
    Some(RoutesSetup { routes: each(root.get("routes"), route)?, secret })
}

fn route(node: &Node) -> Option<RouteSetup> {
    let matching = |key| node.get("match").and_then(|node| node.get(key));
    Some(RouteSetup {
        name: text(node.get("name")?)?,
        hosts: texts(matching("host"))?,
        path: optional(matching("path"), text)?,
        methods: each(matching("methods"), text)?,
        headers: texts_by_name(matching("headers"))?.into_iter().collect(),
        targets: each(node.get("targets"), target)?,
        sticky: optional(node.get("sticky"), sticky)?,
        health: optional(node.get("health"), health)?,
        eject: optional(node.get("eject"), eject)?,
        answer_time_ms: duration(node.get("answer_time"))?.map(milliseconds),
    })
}

fn target(node: &Node) -> Option<TargetSetup> {
    let weight = optional(node.get("weight"), |node| number(node.scalar()?))?;
    let send_proxy = optional(node.get("send_proxy"), |node| match node.text()? {
        "v1" => Some(Version::V1),
        "v2" => Some(Version::V2),
        _ => None,
    })?;
    Some(TargetSetup { to: text(node.get("to")?)?, weight: weight.unwrap_or(1.0), send_proxy })
}

fn sticky(node: &Node) -> Option<StickySetup> {
    Some(match (node.get("cookie"), node.get("header")) {
        (Some(name), _) => StickySetup::Cookie(text(name)?),
        (_, Some(name)) => StickySetup::Header(text(name)?),
        (None, None) => StickySetup::Address,
    })
}

fn health(node: &Node) -> Option<HealthSetup> {
    let time = |key, usual: u64| Some(duration(node.get(key))?.map_or(usual, milliseconds));
    Some(HealthSetup {
        path: text(node.get("path")?)?,
        every_ms: time("every", 5_000)?,
        timeout_ms: time("timeout", 2_000)?,
        rise: optional(node.get("rise"), int)?.unwrap_or(2),
        fall: optional(node.get("fall"), int)?.unwrap_or(3),
    })
}

fn eject(node: &Node) -> Option<EjectSetup> {
    Some(EjectSetup {
        failures: optional(node.get("failures"), int)?.unwrap_or(5),
        for_ms: duration(node.get("for"))?.map_or(30_000, milliseconds),
    })
}

/// Not none at all: what is to happen every so often would always happen.
fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}
