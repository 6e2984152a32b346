//! Which paths belong to a tree.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// The patterns of a tree. A path belongs to it if one pattern matches and none behind a `!`
/// does; no wildcard but `**` stands for a `/`.
#[derive(Debug)]
pub(super) struct Globs {
    /// Where to begin, none inside another.
    pub(super) bases: Vec<PathBuf>,
    /// `None`: everything below the bases, and these themselves.
    included: Option<GlobSet>,
    excluded: GlobSet,
    /// Directories of which nothing belongs to the tree.
    pruned: GlobSet,
    /// How many components the longest match has, where that is known.
    depth_max: Option<usize>,
}

impl Globs {
    pub(super) fn new(root: &str, globs: &[String]) -> Result<Self, globset::Error> {
        let (mut included, mut excluded, mut pruned) = (Vec::new(), Vec::new(), Vec::new());
        let mut bases = BTreeSet::new();
        for glob in globs {
            match glob.strip_prefix('!') {
                None => {
                    included.push(glob.as_str());
                    bases.insert(base(glob));
                }
                Some(out) => {
                    excluded.push(out);
                    pruned.extend(out.strip_suffix("/**"));
                }
            }
        }
        if included.is_empty() {
            bases.insert(PathBuf::from(root));
        }
        let endless = |glob: &&str| glob.contains("**") || glob.contains(['{', '[', '\\']);
        let depth_max = match included.iter().any(endless) {
            true => None,
            false => included.iter().map(|glob| Path::new(glob).components().count()).max(),
        };
        Ok(Self {
            depth_max,
            bases: outermost(bases),
            included: if included.is_empty() { None } else { Some(set(included)?) },
            excluded: set(excluded)?,
            pruned: set(pruned)?,
        })
    }

    /// Whether the path lies where something can belong to the tree.
    pub(super) fn reach(&self, path: &Path) -> bool {
        self.bases.iter().any(|base| path.starts_with(base))
            && !path.ancestors().skip(1).any(|above| self.prunes(above))
    }

    /// Whether the path belongs to the tree, if it lies within [reach](Self::reach).
    pub(super) fn matches(&self, path: &Path) -> bool {
        self.included.as_ref().is_none_or(|included| included.is_match(path))
            && !self.excluded.is_match(path)
    }

    /// Whether nothing below the directory belongs to the tree.
    pub(super) fn prunes(&self, directory: &Path) -> bool {
        self.pruned.is_match(directory)
            || self.depth_max.is_some_and(|most| directory.components().count() >= most)
    }
}

/// Patterns in which only `**` stands for a `/`.
pub(super) fn set<'p>(
    patterns: impl IntoIterator<Item = &'p str>,
) -> Result<GlobSet, globset::Error> {
    let mut builder = GlobSetBuilder::new();
    for pattern in patterns {
        builder.add(GlobBuilder::new(pattern).literal_separator(true).build()?);
    }
    builder.build()
}

/// The directories every match lies in.
fn base(pattern: &str) -> PathBuf {
    let literal = |part: &&str| !part.contains(['*', '?', '[', ']', '{', '}', '\\']);
    let parts: Vec<&str> = pattern.split('/').collect();
    let directories = parts.split_last().map(|(_, directories)| directories).unwrap_or_default();
    let mut base = PathBuf::from("/");
    let known: Vec<&str> = directories.iter().copied().take_while(literal).collect();
    base.extend(known.iter().filter(|part| !part.is_empty()));
    // A pattern without wildcards is one path.
    if known.len() + 1 == parts.len()
        && let Some(last) = parts.last().filter(|last| literal(last))
    {
        base.push(last);
    }
    base
}

/// Those that lie in no other.
pub(super) fn outermost(paths: BTreeSet<PathBuf>) -> Vec<PathBuf> {
    let mut kept: Vec<PathBuf> = Vec::new();
    for path in paths {
        // A parent sorts before what is in it, but not always right before.
        if !kept.iter().any(|above| path.starts_with(above)) {
            kept.push(path);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(globs: &[&str], bases: &[&str], paths: &[(&str, bool)]) {
        let globs: Vec<String> = globs.iter().map(|glob| (*glob).to_owned()).collect();
        let globs = Globs::new("/", &globs).expect("patterns");
        assert_eq!(globs.bases, bases.iter().map(PathBuf::from).collect::<Vec<_>>());
        for (path, has) in paths {
            let path = Path::new(path);
            assert_eq!(globs.reach(path) && globs.matches(path), *has, "{path:?}");
        }
    }

    #[test]
    fn patterns_include_and_leave_out() {
        check(
            &["/etc/**", "!/etc/mtab", "!/etc/**/*.dpkg-*", "!/etc/ssl/**"],
            &["/etc"],
            &[
                ("/etc/hosts", true),
                ("/etc/a/b", true),
                ("/etc/mtab", false),
                ("/etc/a.dpkg-old", false),
                ("/etc/a/b/c.dpkg-new", false),
                ("/etc/ssl", true),
                ("/etc/ssl/certs/a", false),
                ("/usr/x", false),
            ],
        );
    }

    #[test]
    fn a_star_is_no_slash() {
        let paths = [("/etc/a.conf", true), ("/etc/b/a.conf", false)];
        check(&["/etc/*.conf"], &["/etc"], &paths);
        let globs = Globs::new("/", &["/etc/*/*.conf".to_owned()]).expect("patterns");
        assert!(!globs.prunes(Path::new("/etc/a")) && globs.prunes(Path::new("/etc/a/b")));
    }

    #[test]
    fn a_walk_begins_as_deep_as_it_can() {
        check(&["/etc/ssh/*.d/*", "/etc/ssh/x", "/srv/{a,b}/c"], &["/etc/ssh", "/srv"], &[]);
        check(&["/etc/hosts"], &["/etc/hosts"], &[("/etc/hosts", true)]);
        check(&["!/tmp/**"], &["/"], &[("/a", true), ("/tmp/a", false), ("/tmp", true)]);
    }
}
