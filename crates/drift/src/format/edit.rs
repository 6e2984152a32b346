//! Changing one key of a file and nothing else.

use super::braces::whole_lines;
use super::insert::insertion;
use super::key::Key;
use super::tree::{Kind, Node, Path, Span, Tree};
use super::{Format, parse};

/// An edit that cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// There is no such key to remove.
    #[error("remove {key}: there is no such key")]
    Missing {
        /// The key.
        key: String,
    },
    /// The key is new and there is no place for it: what it would lie in does
    /// not exist, or elements before it do not.
    #[error("add {key}: there is nothing to put it in")]
    NoPlace {
        /// The key.
        key: String,
    },
    /// Read again, the file would not have this value, or other keys would
    /// have changed with it.
    #[error("edit {key}: the file cannot express it")]
    Inexpressible {
        /// The key.
        key: String,
    },
}

impl Tree<'_> {
    /// The file with `value`, a text as [`Tree::get`] gives it, at `key`, or
    /// without the key if there is none. A key that does not exist yet is
    /// added where its siblings stand, written as they are.
    ///
    /// Every other byte stays. The result was read again: `key` has the value,
    /// and every other key has what it had.
    pub fn edit(&self, key: &Key, value: Option<&[u8]>) -> Result<Vec<u8>, EditError> {
        let inexpressible = || EditError::Inexpressible { key: key.to_string() };
        match (self.find(key), value) {
            (Some(path), Some(value)) => self.replace(&path, value).ok_or_else(inexpressible),
            (Some(path), None) => self.remove(&path).ok_or_else(inexpressible),
            (None, None) => Err(EditError::Missing { key: key.to_string() }),
            (None, Some(value)) => {
                let place = insertion(self, key, value);
                let place = place.ok_or_else(|| EditError::NoPlace { key: key.to_string() })?;
                let bytes = self.spliced(Span::new(place.at, place.at), &place.text);
                let added = parse(self.format, &bytes);
                let path = added.find(&place.key);
                path.filter(|path| {
                    added.holds(path, value) && outline(&added, path) == outline(self, &[])
                })
                .ok_or_else(inexpressible)?;
                Ok(bytes)
            }
        }
    }

    fn replace(&self, path: &Path, value: &[u8]) -> Option<Vec<u8>> {
        let node = self.node(path)?;
        let span = node.value;
        let right = |bytes: &Vec<u8>| {
            let edited = parse(self.format, bytes);
            // A value that is its row's name too, or makes sense of an opaque
            // line, would make another key of it.
            edited.node(path).is_some_and(|edited| edited.label == node.label)
                && edited.holds(path, value)
                && outline(&edited, path) == outline(self, path)
        };
        let bytes = self.spliced(span, value);
        if right(&bytes) {
            return Some(bytes);
        }
        // Where there was no value, the space before it may be missing.
        let spaced = [b" ", value].concat();
        let bytes = self.spliced(span, &spaced);
        (span.range().is_empty() && right(&bytes)).then_some(bytes)
    }

    fn remove(&self, path: &Path) -> Option<Vec<u8>> {
        let node = self.node(path)?;
        let span = match self.format {
            Format::Json => self.with_comma(node),
            _ => node.span,
        };
        let bytes = self.spliced(span, b"");
        let rest = outline(&parse(self.format, &bytes), &[]) == outline(self, path);
        rest.then_some(bytes)
    }

    /// A member or element with the comma after it, or the one before the last.
    fn with_comma(&self, node: &Node<'_>) -> Span {
        let (start, end) = (node.span.start(), node.span.end());
        let space = |b: &&u8| b.is_ascii_whitespace();
        let after = end + self.bytes[end..].iter().take_while(space).count();
        if self.bytes.get(after) == Some(&b',') {
            let lines = whole_lines(self.bytes, start, after + 1);
            let follows = self.bytes[after + 1..].iter().take_while(|&&b| b == b' ').count();
            return if lines == Span::new(start, after + 1) {
                Span::new(start, after + 1 + follows)
            } else {
                lines
            };
        }
        let before = start - self.bytes[..start].iter().rev().take_while(space).count();
        match self.bytes[..before].ends_with(b",") {
            true => Span::new(before - 1, end),
            false => node.span,
        }
    }

    fn spliced(&self, span: Span, text: &[u8]) -> Vec<u8> {
        [&self.bytes[..span.start()], text, &self.bytes[span.end()..]].concat()
    }

    fn holds(&self, path: &[usize], value: &[u8]) -> bool {
        self.node(path).is_some_and(|node| self.text(node.value) == value)
    }
}

/// The names down to a value, what it is, and its text.
type Named<'t> = (Vec<&'t [u8]>, Kind, &'t [u8]);

/// The names down to every value and its text, but what is at `skip`.
fn outline<'t>(tree: &'t Tree<'_>, skip: &[usize]) -> Vec<Named<'t>> {
    fn walk<'t>(
        tree: &'t Tree<'_>,
        nodes: &'t [Node<'_>],
        skip: Option<&[usize]>,
        at: &mut Vec<&'t [u8]>,
        out: &mut Vec<Named<'t>>,
    ) {
        for (index, node) in nodes.iter().enumerate() {
            let below = match skip {
                Some([only]) if *only == index => continue,
                Some([first, below @ ..]) if *first == index => Some(below),
                _ => None,
            };
            at.push(&node.label);
            // Of an entry that is edited in part, the other parts stay.
            if node.is_container() || below.is_some_and(|below| !below.is_empty()) {
                walk(tree, &node.children, below, at, out);
            } else {
                out.push((at.clone(), node.kind, tree.text(node.value)));
            }
            at.pop();
        }
    }
    let mut out = Vec::new();
    walk(tree, &tree.nodes, Some(skip), &mut Vec::new(), &mut out);
    out
}
