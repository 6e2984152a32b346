//! Many globs, found by what they can match.
//!
//! Each of thousands of lines would otherwise be held against each: a hostile file of a megabyte
//! would keep an importer for hours.

use std::collections::BTreeMap;

/// A glob and the number of the line, or whatever, it belongs to.
type Owned<'a> = (usize, &'a str);

/// Globs by their beginnings, up to the first wildcard.
#[derive(Debug, Default)]
pub(super) struct Index<'a> {
    by_begin: BTreeMap<&'a str, Vec<Owned<'a>>>,
}

impl<'a> Index<'a> {
    pub(super) fn new(globs: impl IntoIterator<Item = Owned<'a>>) -> Self {
        let mut by_begin: BTreeMap<&str, Vec<Owned<'a>>> = BTreeMap::new();
        for (owner, glob) in globs {
            by_begin.entry(begin(glob)).or_default().push((owner, glob));
        }
        Self { by_begin }
    }

    /// Those that can match a path which `glob` matches, as far as beginnings tell.
    pub(super) fn meeting(&self, glob: &'a str) -> impl Iterator<Item = Owned<'a>> {
        let begins = begin(glob);
        let whole = begins.len() == glob.len();
        // Begin alike and go on.
        let longer = self.by_begin.range(begins..);
        let longer = longer
            .take_while(move |(other, _)| other.starts_with(begins))
            .flat_map(|(_, globs)| globs.iter().copied())
            .filter(move |(_, other)| {
                !whole || *other == glob || begin(other) == begins && *other != begins
            });
        // Have their first wildcard before.
        let shorter = prefixes(begins).filter_map(|prefix| self.by_begin.get(prefix));
        let shorter =
            shorter.flatten().copied().filter(|(_, other)| begin(other).len() < other.len());
        longer.chain(shorter)
    }

    /// Whose globs match every path that `glob` matches, as far as beginnings tell: they are the
    /// same, or a tree it lies in.
    pub(super) fn covering(&self, glob: &'a str) -> impl Iterator<Item = usize> {
        let begins = begin(glob);
        let same = self.by_begin.get(begins).into_iter().flatten();
        let same = same.filter(move |(_, other)| *other == glob);
        let around = prefixes(begins).chain([begins]).filter(|prefix| prefix.ends_with('/'));
        let around = around.filter_map(|prefix| self.by_begin.get(prefix)).flatten();
        let around = around.filter(move |(_, other)| {
            let tree = other.strip_suffix("**").is_some_and(|tree| tree == begin(other));
            tree && *other != glob && begin(other).len() < glob.len()
        });
        same.chain(around).map(|(owner, _)| *owner)
    }
}

/// What stands before the first wildcard; all of a path.
fn begin(glob: &str) -> &str {
    let end = glob.find(['*', '?', '[', '{', '\\']);
    &glob[..end.unwrap_or(glob.len())]
}

/// All shorter beginnings.
fn prefixes(text: &str) -> impl Iterator<Item = &str> {
    (0..text.len()).filter(|end| text.is_char_boundary(*end)).map(|end| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_meet_unless_they_begin_differently() {
        for (one, other, meets) in [
            ("/etc/a", "/etc/**", true),
            ("/etc/**", "/etc/a/*b", true),
            ("/etc/a*", "/etc/a*b", true),
            ("/**/*.log", "/etc", true),
            ("/etc", "/etc*", true),
            ("/etc", "/etc", true),
            ("/etc", "/etc/**", false),
            ("/etc", "/etc2", false),
            ("/etc", "/etc2*", false),
            ("/etc/**", "/proc*", false),
            ("/a/b", "/a/c*", false),
        ] {
            for (one, other) in [(one, other), (other, one)] {
                let index = Index::new([(7, one)]);
                let found: Vec<Owned<'_>> = index.meeting(other).collect();
                let expected: &[Owned<'_>] = if meets { &[(7, one)] } else { &[] };
                assert_eq!(found, expected, "{other}");
            }
        }
    }

    #[test]
    fn a_tree_covers_what_is_in_it() {
        let covers = |outer, inner| Index::new([(7, outer)]).covering(inner).eq([7]);
        for (outer, inner) in [
            ("/a/**", "/a/b"),
            ("/a/**", "/a/b/*.c"),
            ("/a/**", "/a/*"),
            ("/**", "/a"),
            ("/a", "/a"),
            ("/a/**", "/a/**"),
        ] {
            assert!(covers(outer, inner), "{outer} {inner}");
        }
        for (outer, inner) in [("/a/**", "/a"), ("/a/**", "/ab"), ("/*/**", "/a/b"), ("/a*", "/ab")]
        {
            assert!(!covers(outer, inner), "{outer} {inner}");
        }
    }
}
