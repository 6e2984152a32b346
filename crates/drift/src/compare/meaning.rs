//! What of a text means something: its format, and what a configuration says to ignore.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use globset::{Glob, GlobMatcher};
use regex::bytes::Regex;

use crate::config::{Ignore, Parameter, Source};
use crate::format::Format;
use crate::reading::Item;

/// How the texts of a parameter are to be understood.
#[derive(Debug)]
pub(super) struct Meaning {
    formats: Formats,
    lines: Vec<Regex>,
    keys: Vec<(Option<GlobMatcher>, GlobMatcher)>,
    order: bool,
    whitespace: bool,
}

/// Which format a text has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Formats {
    /// None: it is lines, or one value that was looked up already.
    None,
    /// This one.
    One(Format),
    /// That of each path of a tree.
    ByPart,
}

impl Meaning {
    /// Patterns that do not compile were refused with the configuration.
    pub(super) fn of(parameter: &Parameter) -> Self {
        let Ignore { keys, lines, order, whitespace } = &parameter.ignore;
        Self {
            formats: formats(&parameter.source),
            lines: lines.iter().filter_map(|line| Regex::new(line).ok()).collect(),
            keys: keys.iter().filter_map(|key| ignored_key(key)).collect(),
            order: *order,
            whitespace: *whitespace,
        }
    }

    /// The format of an item's text; `None` if it is only lines.
    pub(super) fn format(&self, item: &Item) -> Option<Format> {
        let format = match self.formats {
            Formats::None => return None,
            Formats::One(format) => format,
            Formats::ByPart => Format::of(Path::new(OsStr::from_bytes(&item.part.as_ref()?.0))),
        };
        (format != Format::Raw).then_some(format)
    }

    /// The lines that count, in the form in which they are compared.
    pub(super) fn lines<'t>(&self, text: &'t [u8]) -> Cow<'t, [u8]> {
        if self.lines.is_empty() && !self.order && !self.whitespace {
            return Cow::Borrowed(text);
        }
        let ended = text.strip_suffix(b"\n").unwrap_or(text);
        let lines = ended.split(|byte| *byte == b'\n');
        let lines = lines.filter(|line| !self.lines.iter().any(|ignored| ignored.is_match(line)));
        let mut lines: Vec<Cow<'_, [u8]>> = lines.map(|line| self.spaced(line)).collect();
        if self.whitespace {
            lines.retain(|line| !line.is_empty());
        }
        if self.order {
            lines.sort_unstable();
        }
        Cow::Owned(lines.join(&b'\n'))
    }

    fn spaced<'t>(&self, line: &'t [u8]) -> Cow<'t, [u8]> {
        if !self.whitespace {
            return Cow::Borrowed(line);
        }
        let words: Vec<&[u8]> =
            line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
        Cow::Owned(words.join(&b' '))
    }

    /// Whether a key of an item means nothing.
    pub(super) fn ignores(&self, item: &Item, key: &str) -> bool {
        self.keys.iter().any(|(path, pattern)| {
            let part = || item.part.as_ref().and_then(|part| std::str::from_utf8(&part.0).ok());
            let here = path.as_ref().is_none_or(|path| part().is_some_and(|p| path.is_match(p)));
            here && pattern.is_match(key)
        })
    }
}

fn formats(source: &Source) -> Formats {
    match source {
        Source::File { key: Some(_), .. } => Formats::None,
        Source::File { path, format: Some(format), .. } => match format.as_str() {
            "auto" => Formats::One(Format::of(Path::new(path))),
            name => Format::named(name).map_or(Formats::None, Formats::One),
        },
        Source::Tree { format: Some(format), .. } => match format.as_str() {
            "auto" => Formats::ByPart,
            name => Format::named(name).map_or(Formats::None, Formats::One),
        },
        _ => Formats::None,
    }
}

/// `KEY` or `PATH:KEY`, with `*` for any part.
fn ignored_key(text: &str) -> Option<(Option<GlobMatcher>, GlobMatcher)> {
    let glob = |pattern: &str| Glob::new(pattern).ok().map(|glob| glob.compile_matcher());
    match text.split_once(':').filter(|(path, _)| path.starts_with('/')) {
        Some((path, key)) => Some((Some(glob(path)?), glob(key)?)),
        None => Some((None, glob(text)?)),
    }
}
