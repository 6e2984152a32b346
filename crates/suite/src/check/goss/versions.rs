//! Ranges of semantic versions, as goss's `semver-constraint` matcher writes them:
//! `>=1.2.0 <2.0.0 || 3.x`. Blanks mean "and", `||` means "or".

use semver::{Prerelease, Version};

/// A range.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Range {
    text: String,
    any_of: Vec<Vec<Bound>>,
}

#[derive(Debug, Clone, PartialEq)]
struct Bound {
    relation: Relation,
    low: Version,
    /// The first version beyond what a wildcard stands for.
    beyond: Option<Version>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Relation {
    Same,
    Other,
    Less,
    LessOrSame,
    Greater,
    GreaterOrSame,
}

const BOUNDS_MAX: usize = 100;

impl Range {
    /// Reads a range; `None` for a text that is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let any_of: Option<Vec<_>> = text.split("||").map(bounds).collect();
        let any_of = any_of.filter(|any| any.iter().map(Vec::len).sum::<usize>() <= BOUNDS_MAX)?;
        Some(Self { text: text.to_owned(), any_of })
    }

    /// Whether a text is a version in it; one that is no version is in no range.
    pub(super) fn holds(&self, text: &str) -> bool {
        let Some((version, None)) = version(text) else { return false };
        self.any_of.iter().any(|all| all.iter().all(|bound| bound.holds(&version)))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }
}

impl Bound {
    fn holds(&self, version: &Version) -> bool {
        let low = &self.low;
        let same = match &self.beyond {
            Some(beyond) => version >= low && version < beyond,
            None => version.cmp_precedence(low).is_eq(),
        };
        let below = version.cmp_precedence(low).is_lt();
        match self.relation {
            Relation::Same => same,
            Relation::Other => !same,
            Relation::Less => below,
            Relation::LessOrSame => below || same,
            Relation::Greater => !below && !same,
            Relation::GreaterOrSame => !below,
        }
    }
}

/// Bounds that must all hold, at least one.
fn bounds(text: &str) -> Option<Vec<Bound>> {
    let mut found = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let end = rest.find(|c| !"<>=!".contains(c))?;
        let relation = match &rest[..end] {
            "" | "=" | "==" => Relation::Same,
            "!" | "!=" => Relation::Other,
            "<" => Relation::Less,
            "<=" => Relation::LessOrSame,
            ">" => Relation::Greater,
            ">=" => Relation::GreaterOrSame,
            _ => return None,
        };
        let after = rest[end..].trim_start();
        let end = after.find(|c: char| c.is_whitespace() || "<>=!".contains(c));
        let (word, left) = after.split_at(end.unwrap_or(after.len()));
        let (low, beyond) = version(word)?;
        found.push(Bound { relation, low, beyond });
        rest = left.trim_start();
    }
    (!found.is_empty()).then_some(found)
}

/// A version, which may leave out its last parts or have an `x` for them: then with the first
/// version beyond.
fn version(text: &str) -> Option<(Version, Option<Version>)> {
    let text = text.trim();
    let text = text.strip_prefix('v').unwrap_or(text);
    let core_end = text.find(['-', '+']).unwrap_or(text.len());
    let (core, tail) = text.split_at(core_end);
    let parts: Vec<&str> = core.split('.').collect();
    let wild = parts.iter().position(|part| matches!(*part, "x" | "X" | "*"));
    if parts.len() > 3 || wild == Some(0) || (wild.is_some() && !tail.is_empty()) {
        return None;
    }
    let mut numbers = [0u64; 3];
    for (number, part) in numbers.iter_mut().zip(&parts[..wild.unwrap_or(parts.len())]) {
        *number = part.parse().ok()?;
    }
    let [major, minor, patch] = numbers;
    let mut low: Version = format!("{major}.{minor}.{patch}{tail}").parse().ok()?;
    let beyond = match wild {
        None => return Some((low, None)),
        Some(1) => Version::new(major.checked_add(1)?, 0, 0),
        Some(_) => Version::new(major, minor.checked_add(1)?, 0),
    };
    low.pre = Prerelease::EMPTY;
    Some((low, Some(beyond)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_their_ranges() {
        for (range, inside, outside) in [
            (">=1.2.0 <2.0.0", &["1.2.0", "1.9.9", "v1.3"][..], &["1.1.9", "2.0.0", "1.x"][..]),
            (">1.0.0 !1.3.0", &["1.0.1", "1.4.0"], &["1.0.0", "1.3.0"]),
            ("< 1.0.0 || 3.x", &["0.9.0", "3.7.1"], &["1.0.0", "4.0.0"]),
            ("1.2.x", &["1.2.0", "1.2.9"], &["1.3.0", "1.1.9"]),
            (">1.x", &["2.0.0"], &["1.9.9", "0.1.0"]),
            ("<=1.x", &["1.9.9", "0.1.0"], &["2.0.0"]),
            ("!=1.x", &["2.0.0", "0.9.0"], &["1.5.0"]),
            // Semantic versions take what stands after a dash for something before a release.
            (">=1.18.0-6", &["1.18.0-7", "1.18.0"], &["1.18.0-5", "1:1.18.0-6", "latest"]),
            ("=1.0.0", &["1.0.0+build"], &["1.0.0-rc1"]),
        ] {
            let parsed = Range::parse(range).expect(range);
            for text in inside {
                assert!(parsed.holds(text), "{text} in {range}");
            }
            for text in outside {
                assert!(!parsed.holds(text), "{text} not in {range}");
            }
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in ["", "||", "1.0.0 ||", ">>1.0.0", "=>1", "x", "^1.2", "~1.2", "1.2.3.4", ">"] {
            assert!(Range::parse(text).is_none(), "{text:?}");
        }
    }
}
