//! Where a new key goes and how it is written: as its siblings are.

use super::Format;
use super::key::{Key, Pick, Step};
use super::tree::{Kind, Node, Tree};

/// Text to insert.
pub(super) struct Insertion {
    pub(super) at: usize,
    pub(super) text: Vec<u8>,
    /// What names it once it is there.
    pub(super) key: Key,
}

/// None if there is nothing to put `key` in.
pub(super) fn insertion(tree: &Tree<'_>, key: &Key, value: &[u8]) -> Option<Insertion> {
    let key = &Key::from(tree.reading(key).to_vec());
    let (parent, steps) = container(tree, key)?;
    let (name, last) = (joined(steps)?, steps.last()?);
    let siblings = parent.map_or(tree.nodes.as_slice(), |p| &p.children);
    if let (None, true, Some((section, name))) =
        (parent, has_headers(tree.format), new_section(steps))
    {
        let separator = if tree.format == Format::Toml { " = " } else { "=" };
        let body = [&name, separator.as_bytes(), value].concat();
        let text = block(tree.format, &section, &body)?;
        return Some(Insertion { at: tree.bytes.len(), text: led(tree, text), key: key.clone() });
    }
    let same: Vec<&Node<'_>> = siblings.iter().filter(|n| *n.label == *name).collect();
    // `a[2]` where `a` is a list of two.
    if let ([list], Some(Pick::Nth(n))) = (same.as_slice(), &last.pick)
        && list.kind == Kind::List
        && *n == list.children.iter().filter(|node| node.label.is_empty()).count()
    {
        let (at, text) = written(tree, Some(list), &list.children, b"", value)?;
        return Some(Insertion { at, text, key: key.clone() });
    }
    match &last.pick {
        None => {}
        Some(Pick::Nth(n)) if *n == same.len() => {}
        Some(_) => return None,
    }
    let (at, text) = written(tree, parent, siblings, &name, value)?;
    Some(Insertion { at, text, key: only_or_nth(key, same.len()) })
}

/// The container that the longest beginning of `key` names, and the rest.
fn container<'t, 'k>(
    tree: &'t Tree<'_>,
    key: &'k Key,
) -> Option<(Option<&'t Node<'t>>, &'k [Step])> {
    for length in (1..key.steps.len()).rev() {
        let (front, rest) = key.steps.split_at(length);
        let node = tree.locate(front).and_then(|path| tree.node(&path));
        // An entry has the parts its value has.
        if node.is_some_and(|n| !n.is_container() && !n.children.is_empty()) {
            return None;
        }
        if let Some(node) = node.filter(|n| n.is_container()) {
            return (rest.len() == 1 || tree.format.joins_max() > 1).then_some((Some(node), rest));
        }
    }
    (key.steps.len() == 1 || tree.format.joins_max() > 1).then_some((None, &key.steps))
}

/// `key` with its last step naming what comes after `before` others of its
/// name; without a pick if it is the only one, where that could mean an element.
fn only_or_nth(key: &Key, before: usize) -> Key {
    let mut key = key.clone();
    if let Some(last) = key.steps.last_mut().filter(|last| !last.is_element()) {
        last.pick = (before > 0).then_some(Pick::Nth(before));
    }
    key
}

fn joined(steps: &[Step]) -> Option<Vec<u8>> {
    let before = steps.split_last()?.1;
    let plain = before.iter().all(|s| s.pick.is_none());
    let names: Vec<&[u8]> = steps.iter().map(|s| s.name.as_slice()).collect();
    plain.then(|| names.join(&b'.'))
}

fn has_headers(format: Format) -> bool {
    matches!(format, Format::Ini | Format::Systemd | Format::Toml)
}

fn new_section(steps: &[Step]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (last, section) = steps.split_last()?;
    Some((joined(section)?, last.name.clone()))
}

/// Where among `siblings` a node called `name` goes, and its text.
fn written(
    tree: &Tree<'_>,
    parent: Option<&Node<'_>>,
    siblings: &[Node<'_>],
    name: &[u8],
    value: &[u8],
) -> Option<(usize, Vec<u8>)> {
    if tree.format == Format::Json {
        return json(tree, parent, siblings, name, value);
    }
    let same = siblings.iter().rfind(|n| *n.label == *name);
    // At the root of a file with sections, what follows a header is in it.
    let sections = parent.is_none() && (has_headers(tree.format) || tree.format == Format::Sshd);
    if let Some(text) = block_of(tree, parent, name, value) {
        let at = siblings.last().map_or(body_start(tree, parent), |n| n.span.end());
        let at = if sections { tree.bytes.len() } else { at };
        return Some((at, after(tree, at, text)));
    }
    let before_sections = |n: &&Node<'_>| !sections || n.kind != Kind::Map;
    let model = same.or_else(|| siblings.iter().take_while(before_sections).last());
    let at = match (model, siblings.first()) {
        (Some(model), _) => model.span.end(),
        (None, Some(section)) if sections => section.span.start(),
        (None, _) => body_start(tree, parent),
    };
    if tree.format == Format::Deb822 && name.is_empty() {
        return Some((at, after(tree, at, [b"\n", value, b"\n"].concat())));
    }
    let mut text = indent(tree, parent, model);
    if !is_row(tree.format, parent, name) {
        text.extend_from_slice(name);
        text.extend_from_slice(separator(tree, model));
    }
    text.extend_from_slice(value);
    text.extend_from_slice(if tree.format == Format::Nginx { b";\n" } else { b"\n" });
    Some((at, after(tree, at, text)))
}

/// `text` for `at`, on a line of its own.
fn after(tree: &Tree<'_>, at: usize, mut text: Vec<u8>) -> Vec<u8> {
    if at > 0 && tree.bytes[at - 1] != b'\n' {
        text.insert(0, b'\n');
    }
    text
}

fn led(tree: &Tree<'_>, text: Vec<u8>) -> Vec<u8> {
    after(tree, tree.bytes.len(), text)
}

fn body_start(tree: &Tree<'_>, parent: Option<&Node<'_>>) -> usize {
    parent.map_or(tree.bytes.len(), |p| p.value.start())
}

/// Whether the value is all that is written.
fn is_row(format: Format, parent: Option<&Node<'_>>, name: &[u8]) -> bool {
    use Format::*;
    match format {
        Passwd | Shadow | Group | Gshadow | Fstab | Crypttab | Raw => true,
        Crontab | CronD => name == b"job",
        Nft => name == b"rule",
        _ => name == super::tree::OPAQUE || (name.is_empty() && parent.is_some()),
    }
}

/// A block called `name`, where that name can only be one's.
fn block_of(
    tree: &Tree<'_>,
    parent: Option<&Node<'_>>,
    name: &[u8],
    value: &[u8],
) -> Option<Vec<u8>> {
    let spaced = name.contains(&b' ');
    let braces = match tree.format {
        Format::Nginx => spaced || [&b"http"[..], b"server", b"events", b"stream"].contains(&name),
        Format::Nft => spaced,
        Format::Sshd => spaced && parent.is_none(),
        Format::Systemd => parent.is_none(),
        _ => false,
    };
    if !braces { None } else { block(tree.format, name, value) }
}

fn block(format: Format, name: &[u8], body: &[u8]) -> Option<Vec<u8>> {
    Some(match format {
        Format::Nginx | Format::Nft => [name, b" {", body, b"}\n"].concat(),
        Format::Sshd => [name, b"\n", body, b"\n"].concat(),
        Format::Ini | Format::Systemd | Format::Toml => [b"[", name, b"]\n", body, b"\n"].concat(),
        _ => return None,
    })
}

/// What stands before a sibling's name on its line, or a step deeper than the
/// parent.
fn indent(tree: &Tree<'_>, parent: Option<&Node<'_>>, model: Option<&Node<'_>>) -> Vec<u8> {
    let of = |node: &Node<'_>| {
        let name = node.name.start();
        let line = tree.bytes[..name].iter().rposition(|&b| b == b'\n').map_or(0, |n| n + 1);
        tree.bytes[line..name].to_vec()
    };
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    match (model, parent) {
        // What stands before a name that is itself behind a dash is as wide.
        (Some(model), _) if tree.format == Format::Yaml => {
            let text = of(model);
            let element = model.label.is_empty();
            text.iter().map(|&b| if b == b'-' && !element { b' ' } else { b }).collect()
        }
        (Some(model), _) => of(model).into_iter().take_while(blank).collect(),
        (None, Some(parent)) if matches!(tree.format, Format::Nginx | Format::Nft) => {
            let mut text: Vec<u8> = of(parent).into_iter().take_while(blank).collect();
            text.extend_from_slice(if tree.format == Format::Nft { b"\t" } else { b"    " });
            text
        }
        _ => Vec::new(),
    }
}

fn separator<'t>(tree: &Tree<'t>, model: Option<&Node<'_>>) -> &'t [u8] {
    let between = model.filter(|m| m.kind == Kind::Entry).and_then(|m| {
        let text = tree.bytes.get(m.name.end()..m.value.start())?;
        let usual = !text.is_empty() && text.iter().all(|b| b" \t=:".contains(b));
        (usual && !m.value.range().is_empty() && !m.name.range().is_empty()).then_some(text)
    });
    between.unwrap_or(match tree.format {
        Format::Sysctl | Format::Toml => b" = ",
        Format::Hosts => b"\t",
        Format::Deb822 | Format::Yaml => b": ",
        Format::Resolv | Format::Sshd | Format::Nginx | Format::Nft => b" ",
        _ => b"=",
    })
}

/// A member or element behind the last one.
fn json(
    tree: &Tree<'_>,
    parent: Option<&Node<'_>>,
    siblings: &[Node<'_>],
    name: &[u8],
    value: &[u8],
) -> Option<(usize, Vec<u8>)> {
    let list = match (parent, siblings.first()) {
        (Some(parent), _) => parent.kind == Kind::List,
        (None, Some(first)) => first.label.is_empty(),
        (None, None) => false,
    };
    let mut item = Vec::new();
    if !list {
        item.push(b'"');
        for &b in name {
            match b {
                b'"' | b'\\' => item.extend_from_slice(&[b'\\', b]),
                b if b < b' ' => return None,
                b => item.push(b),
            }
        }
        item.extend_from_slice(b"\": ");
    }
    item.extend_from_slice(value);
    let Some(last) = siblings.last() else {
        let open = match parent {
            Some(parent) => parent.value.start(),
            None => tree.bytes.iter().position(|&b| b == b'{' || b == b'[')?,
        };
        return Some((open + 1, item));
    };
    let start = last.span.start();
    let space = tree.bytes[..start].iter().rev().take_while(|b| b.is_ascii_whitespace()).count();
    let lead = &tree.bytes[start - space..start];
    Some((last.span.end(), [b",", lead, &item].concat()))
}
