//! From keys to nodes and back.

use super::Format;
use super::canon::plain;
use super::key::{JOINS_MAX, Key, Pick, Step};
use super::keyvalue::sysctl_name;
use super::tree::{Kind, Node, Path, Tree};
use std::collections::HashMap;

impl Tree<'_> {
    /// The keys of all values, in the order of the file; containers only where
    /// they are empty.
    pub fn keys(&self) -> Vec<Key> {
        fn walk(format: Format, nodes: &[Node<'_>], at: &mut Vec<Step>, keys: &mut Vec<Key>) {
            for (node, step) in nodes.iter().zip(steps(format, nodes)) {
                at.push(step);
                if node.children.is_empty() || !node.is_container() {
                    keys.push(Key::from(at.clone()));
                } else {
                    walk(format, &node.children, at, keys);
                }
                at.pop();
            }
        }
        let mut keys = Vec::new();
        walk(self.format, &self.nodes, &mut Vec::new(), &mut keys);
        keys
    }

    /// `key` as [`Tree::keys`] spells what it names here; none if that is
    /// nothing.
    pub fn spelled(&self, key: &Key) -> Option<Key> {
        let mut nodes = self.nodes.as_slice();
        let step = |index: usize| {
            let step = steps(self.format, nodes).into_iter().nth(index);
            nodes = nodes.get(index).map_or(&[], |node| &node.children);
            step
        };
        let steps: Option<Vec<Step>> = self.find(key)?.into_iter().map(step).collect();
        steps.map(Key::from)
    }

    pub(super) fn find(&self, key: &Key) -> Option<Path> {
        self.locate(self.reading(key))
    }

    /// What a key that can be read in two ways means here: ours where there is
    /// such a thing. Otherwise Augeas's where there is one, or what it would
    /// lie in, or where no name of ours begins with a slash.
    pub(super) fn reading<'k>(&self, key: &'k Key) -> &'k [Step] {
        let Some(path) = &key.path else { return &key.steps };
        let is_here = |steps: &[Step]| self.locate(steps).is_some();
        let parent = &path[..path.len().saturating_sub(1)];
        let theirs = || is_here(path) || is_here(parent) || !self.format.may_begin_with_slash();
        if !is_here(&key.steps) && theirs() { path } else { &key.steps }
    }

    pub(super) fn locate(&self, steps: &[Step]) -> Option<Path> {
        let mut path = Path::new();
        self.descend(&self.nodes, steps, &mut path).then_some(path)
    }

    fn descend(&self, nodes: &[Node<'_>], steps: &[Step], path: &mut Path) -> bool {
        let Some(first) = steps.first() else { return !path.is_empty() };
        let longest = if first.exact || first.is_element() { 1 } else { self.format.joins_max() };
        for length in 1..=longest.min(steps.len()) {
            let Some((name, pick)) = joined(&steps[..length]) else { return false };
            let name = if self.format == Format::Sysctl { sysctl_name(&name) } else { name };
            let found = match self.called(nodes, &name) {
                none if none.is_empty() && first.is_element() => self.rows(nodes),
                none if none.is_empty() && !first.exact => self.blocks(nodes, &name),
                found => found,
            };
            if found.is_empty() {
                continue;
            }
            let depth = path.len();
            if self.choose(nodes, &found, pick, path, !first.is_element())
                && match self.children_at(nodes, &path[depth..]) {
                    Some(_) if length == steps.len() => true,
                    Some(children) => self.descend(children, &steps[length..], path),
                    None => false,
                }
            {
                return true;
            }
            path.truncate(depth);
        }
        false
    }

    /// The nodes of a name; where case means nothing the same spelling first.
    fn called(&self, nodes: &[Node<'_>], name: &[u8]) -> Vec<usize> {
        let which = |same: &dyn Fn(&[u8]) -> bool| -> Vec<usize> {
            nodes.iter().enumerate().filter(|(_, n)| same(&n.label)).map(|(i, _)| i).collect()
        };
        let exact = which(&|label| label == name);
        if exact.is_empty() && matches!(self.format, Format::Sshd | Format::Deb822) {
            return which(&|label| label.eq_ignore_ascii_case(name));
        }
        exact
    }

    /// Rows, which have names but are counted as well.
    fn rows(&self, nodes: &[Node<'_>]) -> Vec<usize> {
        let row = |node: &Node<'_>| self.format.has_rows() && !node.children.is_empty();
        (0..nodes.len()).filter(|&i| row(&nodes[i])).collect()
    }

    /// Blocks whose header begins with this word: `Match` of `Match User bob`.
    fn blocks(&self, nodes: &[Node<'_>], word: &[u8]) -> Vec<usize> {
        if !matches!(self.format, Format::Sshd | Format::Nginx | Format::Nft) {
            return Vec::new();
        }
        let headed = |node: &Node<'_>| {
            let first = node.label.split(|&b| b == b' ').next().unwrap_or_default();
            let folded = self.format == Format::Sshd && first.eq_ignore_ascii_case(word);
            node.is_container() && (folded || first == word)
        };
        (0..nodes.len()).filter(|&i| headed(&nodes[i])).collect()
    }

    fn children_at<'t>(&self, nodes: &'t [Node<'t>], path: &[usize]) -> Option<&'t [Node<'t>]> {
        path.iter().try_fold(nodes, |nodes, &i| Some(nodes.get(i)?.children.as_slice()))
    }

    /// Extends `path` to the one of `found` that is meant, or of its elements if
    /// it is a list and the step has `named` it.
    fn choose(
        &self,
        nodes: &[Node<'_>],
        found: &[usize],
        pick: Option<&Pick>,
        path: &mut Path,
        named: bool,
    ) -> bool {
        let Some(pick) = pick else {
            let in_force = |&&i: &&usize| nodes[i].in_force;
            let one = if self.format.first_wins() {
                found.iter().find(in_force).or(found.first())
            } else {
                found.iter().rfind(in_force).or(found.last())
            };
            path.extend(one);
            return one.is_some();
        };
        let list = match found {
            // An element's own elements are a step of their own.
            [only] if named && nodes[*only].kind == Kind::List => Some(*only),
            _ => None,
        };
        let within = list.map_or(nodes, |list| nodes[list].children.as_slice());
        // Lines that were not understood may stand between the elements.
        let found = match list {
            Some(_) => self.called(within, b""),
            None => found.to_vec(),
        };
        let one = match pick {
            Pick::Nth(nth) => found.get(*nth).copied(),
            Pick::Last => found.last().copied(),
            Pick::Where(name, value) => {
                found.into_iter().find(|&i| self.matches(&within[i], name.as_deref(), value))
            }
        };
        path.extend(list.filter(|_| one.is_some()));
        path.extend(one);
        one.is_some()
    }

    fn matches(&self, node: &Node<'_>, name: Option<&[u8]>, value: &[u8]) -> bool {
        let same = |node: &Node<'_>| {
            let text = self.text(node.value);
            text == value || plain(text) == value
        };
        match name {
            None => same(node),
            Some(name) => {
                self.called(&node.children, name).iter().any(|&i| same(&node.children[i]))
            }
        }
    }
}

/// Several steps as one name with dots; only the last may have a pick.
fn joined(steps: &[Step]) -> Option<(Vec<u8>, Option<&Pick>)> {
    let (last, before) = steps.split_last()?;
    if before.iter().any(|s| s.exact || s.pick.is_some()) || (last.exact && !before.is_empty()) {
        return None;
    }
    let names: Vec<&[u8]> = steps.iter().map(|s| s.name.as_slice()).collect();
    Some((names.join(&b'.'), last.pick.as_ref()))
}

/// The step to each of `nodes`, which are siblings.
pub(super) fn steps(format: Format, nodes: &[Node<'_>]) -> Vec<Step> {
    let mut count: HashMap<&[u8], (usize, usize)> = HashMap::new();
    for node in nodes {
        count.entry(&node.label).or_default().0 += 1;
    }
    let mut step = |node: &Node<'_>| {
        let (of, seen) = count.get_mut(node.label.as_ref())?;
        let nth = *seen;
        *seen += 1;
        let nameless = node.label.is_empty() && node.name.range().is_empty();
        Some(match nameless {
            true => Step::element(nth),
            false => Step::to(&node.label, (*of > 1).then_some(nth), format.is_flat()),
        })
    };
    nodes.iter().filter_map(&mut step).collect()
}

impl Format {
    /// Whether nothing lies inside anything.
    fn is_flat(self) -> bool {
        use Format::*;
        matches!(self, Raw | KeyValue | Sysctl | Resolv | Hosts)
    }

    /// Whether what has names is counted as well.
    fn has_rows(self) -> bool {
        use Format::*;
        matches!(self, Hosts | Fstab | Crypttab | Passwd | Shadow | Group | Gshadow)
    }

    /// Whether an outermost name may begin with a slash: mount points do, and
    /// in these formats a name can be any text.
    fn may_begin_with_slash(self) -> bool {
        use Format::*;
        matches!(self, Fstab | KeyValue | Ini | Json | Toml | Yaml | Nginx | Raw)
    }

    /// How many steps may be one name with dots in it. Where blocks nest
    /// deeply, such names must be quoted: trying all divisions of a long key
    /// is exponential.
    pub(super) fn joins_max(self) -> usize {
        use Format::*;
        if matches!(self, Json | Yaml | Nginx | Nft) { 1 } else { JOINS_MAX }
    }

    /// Whether of one name's several values the first is in force.
    fn first_wins(self) -> bool {
        use Format::*;
        matches!(
            self,
            Sshd | Resolv | Hosts | Fstab | Crypttab | Passwd | Shadow | Group | Gshadow | Nginx
        )
    }
}
