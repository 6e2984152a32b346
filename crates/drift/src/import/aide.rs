//! `aide.conf`: lines that select paths by regular expressions, and which attributes count.
//!
//! AIDE holds a path against the lines of the deepest directory that has any, and there against
//! the first that matches; a line that leaves out does so wherever it stands. Parameters know no
//! such order, so each leaves out what the lines before it take.

mod attributes;
mod macros;
mod selection;

use std::collections::{BTreeSet, HashSet};

use super::draft::Draft;
use super::index::Index;
use attributes::{Groups, carried};
use macros::Macros;
use selection::{Manner, decoded, is_restriction, select, words};

/// More lines than a person selects by.
const RULES_MAX: usize = 2_000;
/// What they become.
const GLOBS_MAX: usize = 10_000;

/// Reads a whole file.
pub(super) fn read(text: &str, draft: &mut Draft) {
    let mut reader = Reader::default();
    for (index, line) in text.lines().enumerate() {
        reader.line(index + 1, line.trim());
    }
    if reader.is_full() {
        draft.refuse();
    }
    write(&reader.entries, draft);
}

#[derive(Default)]
struct Reader {
    macros: Macros,
    groups: Groups,
    entries: Vec<Entry>,
    rules: usize,
    globs: usize,
    /// Expressions of attributes whose differences have been told.
    told: HashSet<String>,
    /// Whether it has been told that no name goes on.
    told_of_names: bool,
}

/// What a line becomes.
enum Entry {
    Note(usize, String),
    Rule(Rule),
}

struct Rule {
    line: usize,
    /// What it was.
    text: String,
    /// The words for `attrs`; `None` for one that leaves out.
    attributes: Option<Vec<&'static str>>,
    /// Where all of it lies.
    directory: Vec<u8>,
    globs: Vec<String>,
}

impl Rule {
    /// Whether a path that both match is this one's.
    fn comes_before(&self, other: &Self) -> bool {
        let deeper = self.directory.len() > other.directory.len()
            && self.directory.starts_with(&other.directory);
        let first = self.directory == other.directory && self.line < other.line;
        let leaves_out = self.attributes.is_none();
        self.line != other.line && (leaves_out || deeper || first)
    }
}

impl Reader {
    fn is_full(&self) -> bool {
        self.rules > RULES_MAX || self.globs > GLOBS_MAX
    }

    fn note(&mut self, line: usize, what: impl Into<String>) {
        self.entries.push(Entry::Note(line, what.into()));
    }

    fn line(&mut self, number: usize, line: &str) {
        if line.is_empty() || line.starts_with('#') || self.is_full() {
            return;
        }
        if let Some(directive) = line.strip_prefix("@@").filter(|rest| !rest.starts_with('{')) {
            if let Err(why) = self.macros.directive(directive) {
                self.note(number, why);
            }
            return;
        }
        if !self.macros.counts() {
            return;
        }
        let line = match self.macros.replaced(line) {
            Ok(line) => line,
            Err(why) => return self.note(number, format!("`{line}` is left out: {why}")),
        };
        let manner = match line.as_bytes() {
            [b'/', ..] => Manner::Regular,
            [b'=', ..] => Manner::Equal,
            [b'!', ..] => Manner::Negative,
            [b'-', ..] => Manner::Pruning,
            _ => return self.setting(number, &line),
        };
        let selection = line.strip_prefix(['=', '!', '-']).unwrap_or(&line);
        self.rules += 1;
        if let Err(why) = self.rule(number, manner, selection) {
            self.note(number, format!("`{line}` is left out: {why}"));
        }
    }

    /// An option, or a group of attributes.
    fn setting(&mut self, number: usize, line: &str) {
        let Some((name, value)) = line.split_once('=') else {
            return self.note(number, format!("`{line}` is not understood"));
        };
        let name = name.trim();
        if name == "root_prefix" {
            let what =
                "`root_prefix` is left out: `umbra primary add --root` says where paths begin";
            self.note(number, what);
        } else if name.starts_with("report_ignore") {
            self.note(number, format!("`{name}` is left out: what it passes over is told"));
        } else if name.contains('_') || matches!(name, "database" | "verbose" | "grouped") {
            self.note(number, format!("`{name}` is about AIDE itself"));
        } else {
            let (attributes, unknown) = self.groups.expression(value);
            self.groups.define(name, attributes);
            self.unknown(number, &unknown);
        }
    }

    fn unknown(&mut self, number: usize, names: &[String]) {
        for name in names {
            self.note(number, format!("`{name}` is no attribute and no group before this line"));
        }
    }

    fn rule(&mut self, number: usize, manner: Manner, text: &str) -> Result<(), String> {
        let words = words(text);
        let (expression, rest) = words.split_first().ok_or("there is no path")?;
        let leaves_out = manner.leaves_out();
        let (restriction, attributes) = match (leaves_out, rest) {
            (true, []) => (None, None),
            (true, [restriction]) => (Some(restriction), None),
            (true, _) => return Err("there is too much behind the path".to_owned()),
            (false, []) => return Err("there are no attributes".to_owned()),
            (false, [restriction, attributes]) if is_restriction(restriction) => {
                (Some(restriction), Some(attributes.clone()))
            }
            (false, attributes) => (None, Some(attributes.concat())),
        };
        let restriction = restriction.filter(|restriction| *restriction != "0");
        if let (Some(restriction), true) = (restriction, leaves_out) {
            return Err(format!(
                "it is only about types (`{restriction}`), which no pattern tells"
            ));
        }
        let selected = select(&decoded(expression)?, manner)?;
        if let Some(restriction) = restriction {
            self.note(number, format!("all types of paths are watched, not only `{restriction}`"));
        }
        if let Some(difference) = selected.difference {
            self.note(number, format!("`{expression}`: {difference}"));
        }
        if selected.goes_on && !std::mem::replace(&mut self.told_of_names, true) {
            let what = format!(
                "`{expression}` is the path and what is below, here and further down; AIDE also \
                 takes names that only begin so: a `$` ends them"
            );
            self.note(number, what);
        }
        let attributes = attributes.map(|expression| self.attributes(number, &expression));
        self.globs += selected.globs.len();
        self.entries.push(Entry::Rule(Rule {
            line: number,
            text: text.to_owned(),
            attributes,
            directory: selected.directory,
            globs: selected.globs,
        }));
        Ok(())
    }

    /// The words for an expression, whose differences are told once.
    fn attributes(&mut self, number: usize, expression: &str) -> Vec<&'static str> {
        let (attributes, unknown) = self.groups.expression(expression);
        let (words, differences) = carried(&attributes);
        if self.told.insert(expression.to_owned()) {
            self.unknown(number, &unknown);
            if !differences.is_empty() {
                self.note(number, format!("`{expression}`: {}", differences.join("; ")));
            }
        }
        words
    }
}

fn write(entries: &[Entry], draft: &mut Draft) {
    let rules: Vec<&Rule> = entries
        .iter()
        .filter_map(|entry| if let Entry::Rule(rule) = entry { Some(rule) } else { None })
        .collect();
    let globs = rules.iter().enumerate();
    let globs = globs.flat_map(|(at, rule)| rule.globs.iter().map(move |glob| (at, &glob[..])));
    let index = Index::new(globs);
    for entry in entries {
        if draft.is_refused() {
            return;
        }
        match entry {
            Entry::Note(line, what) => draft.note(*line, what),
            Entry::Rule(rule) => {
                if let Some(attributes) = &rule.attributes {
                    parameter(rule, attributes, &rules, &index, draft);
                }
            }
        }
    }
}

fn parameter<'a>(
    rule: &'a Rule,
    attributes: &[&str],
    rules: &[&Rule],
    index: &Index<'a>,
    draft: &mut Draft,
) {
    let before = |at: &usize| rules.get(*at).is_some_and(|other| other.comes_before(rule));
    let (mut globs, mut taken) = (Vec::new(), None);
    for glob in &rule.globs {
        match index.covering(glob).find(before) {
            Some(at) => taken = Some(at),
            None => globs.push(glob.clone()),
        }
    }
    if let (true, Some(taken)) = (globs.is_empty(), taken.and_then(|at| rules.get(at))) {
        let what = format!("`{}` is left out: line {} has its paths", rule.text, taken.line);
        return draft.note(rule.line, what);
    }
    let out = rule.globs.iter().flat_map(|glob| index.meeting(glob));
    let out = out.filter(|(at, _)| before(at)).map(|(_, glob)| format!("!{glob}"));
    let out: BTreeSet<String> = out.collect();
    globs.extend(out);
    let name = globs.first().map_or("", |glob| glob.trim_end_matches("/**"));
    draft.parameter(rule.line, if name.is_empty() { "/" } else { name });
    draft.list("glob", &globs);
    draft.key("attrs", &format!("[{}]", attributes.join(", ")));
}

#[cfg(test)]
mod tests {
    use super::super::{Imported, Tool, parse};
    use crate::config::{self, Source};

    /// Globs of each parameter.
    #[track_caller]
    fn check(text: &str, expected: &[&[&str]], notes: &[usize]) -> Imported {
        let imported = parse(Tool::Aide, text).expect("a configuration");
        let config = config::parse("x", &imported.text);
        let config = config.unwrap_or_else(|problems| panic!("{}", problems.render(false)));
        let globs = |parameter: &config::Parameter| match &parameter.source {
            Source::Tree { globs, .. } => globs.clone(),
            other => panic!("{other:?}"),
        };
        let found: Vec<Vec<String>> = config.parameters.iter().map(globs).collect();
        assert_eq!(found, expected, "{text}");
        let lines: Vec<usize> = imported.notes.iter().map(|note| note.line).collect();
        assert_eq!(lines, notes, "{text}\n{:#?}", imported.notes);
        imported
    }

    #[test]
    fn lines_select_as_aide_would() {
        check("/etc/ p", &[&["/etc/**"]], &[]);
        check("/etc$ p", &[&["/etc"]], &[]);
        check("/etc p", &[&["/etc", "/etc/**"]], &[1]);
        check("=/etc$ p", &[&["/etc"]], &[]);
        check("=/etc p", &[&["/etc*"]], &[]);
        check("=/etc/ p", &[&["/etc", "/etc/*"]], &[]);
        check("/ p\n!/proc/\n-/sys$", &[&["/**", "!/proc/**", "!/sys", "!/sys/**"]], &[]);
        check(r"/a\ b\\.c$ p", &[&["/a b.c"]], &[]);
        check("/a%20b$ p", &[&["/a b"]], &[]);
        check("@@define D /var\n@@{D}/log/ p", &[&["/var/log/**"]], &[]);
        check("/etc/ f p+u", &[&["/etc/**"]], &[1]);
        check("/etc/ 0 p+u", &[&["/etc/**"]], &[]);
        check("/etc/ p\n!/etc/ d", &[&["/etc/**"]], &[2]);
    }

    #[test]
    fn the_deepest_line_has_a_path_and_there_the_first() {
        let text = "/ p\n/etc/ u\n/etc/ssh/ g\n/usr/x$ p\n/usr/ u";
        let root = ["/**", "!/etc/**", "!/etc/ssh/**", "!/usr/**", "!/usr/x"];
        let expected: [&[&str]; 5] = [
            &root,
            &["/etc/**", "!/etc/ssh/**"],
            &["/etc/ssh/**"],
            &["/usr/x"],
            &["/usr/**", "!/usr/x"],
        ];
        check(text, &expected, &[]);
        check("/etc/ p\n/etc/ u", &[&["/etc/**"]], &[2]);
        check("/etc/ p\n/etc/x$ u\n!/etc/y", &[&["/etc/**", "!/etc/y", "!/etc/y/**"]], &[2, 3]);
    }

    #[test]
    fn what_no_pattern_says_is_watched_more_widely_and_left_out_less() {
        check("/etc/(?=a) p", &[&["/etc/**"]], &[1]);
        check("/etc/ p\n!/etc/(?=a)", &[&["/etc/**"]], &[2]);
        check(r"/log/a\.[0-9]+$ p", &[&["/log/a.*"]], &[1]);
    }

    #[test]
    fn every_other_line_is_told() {
        let text = "/a$ p\ndatabase_in=file:/x\nroot_prefix=/y\nnonsense\n@@include /z\n\
                    @@if hostname h\n@@endif\nreport_ignore_added_attrs=p\nG = p+what\n/b$\n/c$ who\nd p";
        check(text, &[&["/a"], &["/c"]], &[2, 3, 4, 5, 6, 8, 9, 10, 11, 11, 12]);
    }

    #[test]
    fn too_many_lines_are_refused() {
        let text = "/a$ p\n".repeat(super::RULES_MAX + 1);
        assert!(parse(Tool::Aide, &text).is_err());
    }
}
