//! How expectations describe text and paths: globs, regular expressions, plain words.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use regex::bytes::{Regex, RegexBuilder};
use umbra_state::escape::escape;

/// Compiled programs larger than this are refused; it bounds memory, not expressiveness.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// A regular expression over bytes, with the text it was made from.
#[derive(Clone)]
pub struct Pattern(Regex);

/// A text that is no regular expression, or too large a one.
#[derive(Debug, Clone, thiserror::Error)]
#[error("read regular expression {text:?}")]
pub struct PatternError {
    text: String,
    #[source]
    source: regex::Error,
}

impl Pattern {
    /// Parses `text` in the syntax of the `regex` crate (linear time, no back references).
    pub fn new(text: &str) -> Result<Self, PatternError> {
        RegexBuilder::new(text)
            .size_limit(REGEX_BYTES_MAX)
            .build()
            .map(Self)
            .map_err(|source| PatternError { text: text.chars().take(200).collect(), source })
    }

    /// Whether it matches anywhere in `bytes`.
    pub fn is_match(&self, bytes: &[u8]) -> bool {
        self.0.is_match(bytes)
    }

    /// What the first group of the first match holds, or the match if there is no group.
    pub fn capture<'b>(&self, bytes: &'b [u8]) -> Option<&'b [u8]> {
        let found = self.0.captures(bytes)?;
        found.get(1).or_else(|| found.get(0)).map(|part| part.as_bytes())
    }

    /// The text it was made from.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.as_str())
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

/// What a piece of text should look like.
#[derive(Debug, Clone, PartialEq)]
pub enum TextMatch {
    /// Exactly this.
    Exact(String),
    /// This somewhere inside.
    Contains(String),
    /// A match of this somewhere inside.
    Matches(Pattern),
}

impl TextMatch {
    /// Whether `bytes` look as they should.
    pub fn is_met_by(&self, bytes: &[u8]) -> bool {
        match self {
            Self::Exact(text) => bytes == text.as_bytes(),
            Self::Contains(text) => contains(bytes, text.as_bytes()),
            Self::Matches(pattern) => pattern.is_match(bytes),
        }
    }
}

impl fmt::Display for TextMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(text) => write!(f, "exactly `{}`", escape(text.as_bytes())),
            Self::Contains(text) => write!(f, "containing `{}`", escape(text.as_bytes())),
            Self::Matches(pattern) => {
                write!(f, "matching /{}/", escape(pattern.as_str().as_bytes()))
            }
        }
    }
}

/// Whether `needle` occurs in `haystack`; an empty needle always does.
pub(crate) fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    needle.is_empty() || haystack.windows(needle.len()).any(|window| window == needle)
}

/// A set of path globs, matched against raw bytes without a leading slash.
///
/// `*` and `?` stop at a slash, `**` does not; a leading slash in a pattern is ignored.
#[derive(Debug, Clone)]
pub struct Globs {
    texts: Vec<String>,
    set: GlobSet,
}

/// A text that is no glob.
#[derive(Debug, Clone, thiserror::Error)]
#[error("read glob {text:?}")]
pub struct GlobError {
    text: String,
    #[source]
    source: globset::Error,
}

impl Globs {
    /// Parses every pattern; the first bad one is the error.
    pub fn new<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Result<Self, GlobError> {
        let mut builder = GlobSetBuilder::new();
        let mut texts = Vec::new();
        for pattern in patterns {
            let text = pattern.as_ref();
            let refuse = |source| GlobError { text: text.chars().take(200).collect(), source };
            let glob = GlobBuilder::new(text.trim_start_matches('/'))
                .literal_separator(true)
                .backslash_escape(true)
                .build()
                .map_err(refuse)?;
            builder.add(glob);
            texts.push(text.to_owned());
        }
        let set = builder.build().map_err(|source| GlobError { text: texts.join(" "), source })?;
        Ok(Self { texts, set })
    }

    /// Whether any pattern matches this path.
    pub fn is_match(&self, path: &[u8]) -> bool {
        self.set.is_match(Path::new(OsStr::from_bytes(path)))
    }

    /// The pattern that matches this path, if one does.
    pub fn matching(&self, path: &[u8]) -> Option<&str> {
        let index = self.set.matches(Path::new(OsStr::from_bytes(path))).into_iter().next()?;
        self.texts.get(index).map(String::as_str)
    }

    /// The patterns as written.
    pub fn texts(&self) -> &[String] {
        &self.texts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, path: &[u8], expected: bool) {
        let globs = Globs::new([pattern]).expect(pattern);
        assert_eq!(globs.is_match(path), expected, "{pattern} on {}", escape(path));
    }

    #[test]
    fn globs_match_raw_paths() {
        check("etc/nginx/**", b"etc/nginx/conf.d/app.conf", true);
        check("/etc/nginx/**", b"etc/nginx/nginx.conf", true);
        check("etc/nginx/**", b"etc/nginxx/nginx.conf", false);
        check("etc/*", b"etc/nginx/nginx.conf", false);
        check("var/www/caf*", b"var/www/caf\xe9", true);
        check("**/*.conf", b"etc/a\nb.conf", true);
        check("usr/sbin/nginx", b"usr/sbin/nginx", true);
    }

    #[test]
    fn bad_patterns_are_named() {
        let error = Globs::new(["ok", "a[b"]).expect_err("unclosed class");
        assert_eq!(error.to_string(), "read glob \"a[b\"");
        let error = Pattern::new("a(b").expect_err("unclosed group");
        assert_eq!(error.to_string(), "read regular expression \"a(b\"");
    }

    #[test]
    fn the_pattern_that_matched_is_told() {
        let globs = Globs::new(["etc/**", "usr/**"]).expect("globs");
        assert_eq!(globs.matching(b"usr/bin/env"), Some("usr/**"));
        assert_eq!(globs.matching(b"var/x"), None);
    }

    #[test]
    fn text_matches() {
        assert!(TextMatch::Exact("a".into()).is_met_by(b"a"));
        assert!(!TextMatch::Exact("a".into()).is_met_by(b"ab"));
        assert!(TextMatch::Contains("b".into()).is_met_by(b"abc"));
        let pattern = Pattern::new("^a.c$").expect("pattern");
        assert!(TextMatch::Matches(pattern).is_met_by(b"abc"));
    }
}
