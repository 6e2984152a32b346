//! sshd_config and ssh_config: keywords without case, the first value wins,
//! `Match` and `Host` begin blocks.

use super::canon::spaces;
use super::lines::{comment, is_space, lines, trim};
use super::sections::Sections;
use super::tree::{Kind, Node, Order};
use std::borrow::Cow;
use std::collections::HashSet;

/// Keywords whose every occurrence counts (sshd_config(5), ssh_config(5)).
const LISTS: &[&[u8]] = &[
    b"acceptenv",
    b"allowgroups",
    b"allowusers",
    b"certificatefile",
    b"denygroups",
    b"denyusers",
    b"dynamicforward",
    b"hostcertificate",
    b"hostkey",
    b"identityfile",
    b"include",
    b"listenaddress",
    b"localforward",
    b"persourcepenalties",
    b"port",
    b"remoteforward",
    b"sendenv",
    b"subsystem",
];

pub(super) fn parse(bytes: &[u8]) -> (Vec<Node<'_>>, Order) {
    let mut sections = Sections::default();
    for line in lines(bytes) {
        let content = trim(bytes, line.start, comment(bytes, line.start, line.end));
        let text = &bytes[content.range()];
        if text.is_empty() {
            continue;
        }
        let divides = |&b: &u8| is_space(b) || b == b'=';
        let cut = content.start() + text.iter().position(divides).unwrap_or(text.len());
        let mut value = trim(bytes, cut, content.end());
        if bytes[value.range()].starts_with(b"=") {
            value = trim(bytes, value.start() + 1, content.end());
        }
        let name = trim(bytes, content.start(), cut);
        let keyword = &bytes[name.range()];
        if keyword.is_empty() || value.range().is_empty() {
            sections.push(line.opaque(), line);
        } else if [&b"match"[..], b"host"].iter().any(|k| keyword.eq_ignore_ascii_case(k)) {
            sections.begin(spaces(text).into(), content, line);
        } else {
            sections.push(Node::entry(folded(keyword), name, value, line.span()), line);
        }
    }
    let mut nodes = sections.finish();
    first_wins(&mut nodes);
    for block in nodes.iter_mut().filter(|n| n.kind == Kind::Map) {
        first_wins(&mut block.children);
        block.order = order(&block.children);
    }
    let order = order(&nodes);
    (nodes, order)
}

fn folded(keyword: &[u8]) -> Cow<'_, [u8]> {
    match keyword.iter().any(u8::is_ascii_uppercase) {
        true => keyword.to_ascii_lowercase().into(),
        false => keyword.into(),
    }
}

fn first_wins(nodes: &mut [Node<'_>]) {
    let mut seen: HashSet<Vec<u8>> = HashSet::new();
    for node in nodes.iter_mut().filter(|n| n.kind == Kind::Entry) {
        if !LISTS.contains(&node.label.as_ref()) {
            node.in_force = seen.insert(node.label.to_vec());
        }
    }
}

/// An included file may set any keyword, and blocks may overlap: then it
/// counts what comes first.
fn order(nodes: &[Node<'_>]) -> Order {
    let blocks = nodes.iter().filter(|n| n.kind == Kind::Map).count();
    let includes = nodes.iter().any(|n| *n.label == *b"include");
    if includes || blocks > 1 { Order::Sequence } else { Order::ByName }
}
