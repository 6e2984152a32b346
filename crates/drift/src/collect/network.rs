//! The network as the kernel has it: addresses, routes, and properties of links.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::context::Context;
use super::kernel::{NOT_RUNNING, sorted};
use super::netlink::{Hop, Route, addresses, routes};
use super::secret::Secrecy;
use super::source::{Fact, Source};
use crate::file;
use crate::reading::Reading;

const LINKS: &str = "/sys/class/net";
const VALUE_BYTES_MAX: u64 = 64 << 10;

/// `addresses`, `routes` or `link.NAME.PROPERTY`.
#[derive(Debug)]
pub(super) struct Network {
    key: String,
}

impl Network {
    pub(super) fn new(key: &str) -> Self {
        Self { key: key.to_owned() }
    }
}

impl Source for Network {
    fn read(&mut self, context: &mut Context, _: &Secrecy) -> Vec<Fact> {
        if !context.place.is_machine() {
            return Fact::unreadable(NOT_RUNNING);
        }
        let lines = match self.key.as_str() {
            "addresses" => address_lines(),
            "routes" => route_lines(),
            key => return Fact::whole(property(context, key)),
        };
        match lines {
            Ok(lines) => Fact::whole(Reading::text(sorted(lines))),
            Err(error) => Fact::unreadable(format!("the kernel did not tell: {error}")),
        }
    }
}

/// A link's name may have dots in it, its properties have none.
fn property(context: &Context, key: &str) -> Reading {
    let unknown = || {
        let why = "it is none of `addresses`, `routes` and `link.NAME.PROPERTY`";
        Reading::Unreadable { why: why.to_owned() }
    };
    let Some((link, property)) = key.strip_prefix("link.").and_then(|rest| rest.rsplit_once('.'))
    else {
        return unknown();
    };
    let plain = |part: &str| !part.is_empty() && !part.contains('/') && part != "..";
    if !plain(link) || link == "." || !plain(property) {
        return unknown();
    }
    let path = format!("{LINKS}/{link}/{property}");
    match file::read(context.place.root(), Path::new(&path), VALUE_BYTES_MAX) {
        Ok(Some(bytes)) => Reading::text(bytes),
        Ok(None) => Reading::Absent,
        // What the kernel says of a speed while nothing is plugged in.
        Err(file::Reason::Refused(rustix::io::Errno::INVAL)) => Reading::Absent,
        Err(reason) => Reading::Unreadable { why: reason.to_string() },
    }
}

/// Names of interfaces by their numbers.
fn interfaces() -> BTreeMap<u32, String> {
    let Ok(listing) = fs::read_dir(LINKS) else { return BTreeMap::new() };
    let number = |entry: fs::DirEntry| {
        let text = fs::read_to_string(entry.path().join("ifindex")).ok()?;
        let name = String::from_utf8_lossy(entry.file_name().as_bytes()).into_owned();
        Some((text.trim().parse().ok()?, name))
    };
    listing.filter_map(Result::ok).filter_map(number).collect()
}

fn named(names: &BTreeMap<u32, String>, number: u32) -> String {
    names.get(&number).cloned().unwrap_or_else(|| format!("#{number}"))
}

/// Such as `eth0 10.0.0.2/24`.
fn address_lines() -> Result<Vec<Vec<u8>>, rustix::io::Errno> {
    let names = interfaces();
    let line = |found: &super::netlink::Address| {
        let name = named(&names, found.interface);
        format!("{name} {}/{}", found.address, found.prefix).into_bytes()
    };
    Ok(addresses()?.iter().map(line).collect())
}

/// Such as `default via 10.0.0.1 dev eth0 metric 100`.
fn route_lines() -> Result<Vec<Vec<u8>>, rustix::io::Errno> {
    let names = interfaces();
    Ok(routes()?.iter().map(|route| route_line(route, &names).into_bytes()).collect())
}

fn route_line(route: &Route, names: &BTreeMap<u32, String>) -> String {
    let kind = match route.kind {
        1 => String::new(),
        6 => "blackhole ".to_owned(),
        7 => "unreachable ".to_owned(),
        8 => "prohibit ".to_owned(),
        other => format!("type-{other} "),
    };
    let to = match (route.to, route.six) {
        (Some((address, prefix)), _) => format!("{address}/{prefix}"),
        (None, false) => "default".to_owned(),
        (None, true) => "default6".to_owned(),
    };
    let hop = |hop: &Hop| {
        let via = hop.via.map(|via| format!(" via {via}")).unwrap_or_default();
        let device = hop.interface.map(|number| format!(" dev {}", named(names, number)));
        via + &device.unwrap_or_default()
    };
    let mut hops: Vec<String> = route.hops.iter().map(hop).collect();
    hops.sort_unstable();
    let metric = route.metric.map(|metric| format!(" metric {metric}")).unwrap_or_default();
    format!("{kind}{to}{}{metric}", hops.join(" nexthop"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_one_line() {
        let names = BTreeMap::from([(2, "eth0".to_owned())]);
        let hop = |last| Hop { via: Some([10, 0, 0, last].into()), interface: Some(2) };
        let mut route =
            Route { to: None, six: false, kind: 1, hops: vec![hop(1)], metric: Some(100) };
        assert_eq!(route_line(&route, &names), "default via 10.0.0.1 dev eth0 metric 100");
        route.hops.push(hop(9));
        route.to = Some(([192, 168, 0, 0].into(), 16));
        route.metric = None;
        let line = "192.168.0.0/16 via 10.0.0.1 dev eth0 nexthop via 10.0.0.9 dev eth0";
        assert_eq!(route_line(&route, &names), line);
        let gone = Route {
            to: None,
            six: true,
            kind: 6,
            hops: vec![Hop { via: None, interface: Some(7) }],
            metric: None,
        };
        assert_eq!(route_line(&gone, &names), "blackhole default6 dev #7");
    }
}
