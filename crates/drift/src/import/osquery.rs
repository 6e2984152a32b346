//! `osquery.conf`: which files are watched, by category.
//!
//! `%` stands for one name or a part of it, `%%` at the end for everything below; what a shell
//! knows, `*`, `?` and `[...]`, is known there too.

use umbra_document::Found;
use umbra_document::source::Source;
use umbra_document::yaml::{self, Node, Value};

use super::ImportError;
use super::draft::{Draft, shown};
use super::pattern::{Piece, globs};

const PATHS: &str = "file_paths";
const EXCLUDED: &str = "exclude_paths";

/// Reads a whole file.
pub(super) fn read(text: &str, draft: &mut Draft) -> Result<(), ImportError> {
    let source = Source { name: "osquery.conf".to_owned(), text: json(text)? };
    let mut found = Found::default();
    // JSON is YAML, and this reader knows where everything stands.
    let root = yaml::parse(0, &source.text, "osquery configuration", &mut found);
    let Some(root) = root.filter(|_| !found.has_errors()) else {
        return Err(ImportError::Mistakes(found.into_problems(&[source])));
    };
    let mut reader = Reader { source: &source, draft };
    reader.file(&root);
    Ok(())
}

/// The text without what osquery takes out before it reads: lines of comments. Every line stays
/// where it was.
fn json(text: &str) -> Result<String, ImportError> {
    let mut plain = String::with_capacity(text.len());
    for line in text.lines() {
        let begin = line.trim_start();
        if !begin.starts_with('#') && !begin.starts_with("//") {
            // JSON has tabs only between values, YAML not even there.
            plain.push_str(&line.replace('\t', " "));
        }
        plain.push('\n');
    }
    match serde_json::from_str::<serde::de::IgnoredAny>(&plain) {
        Ok(_) => Ok(plain),
        Err(error) => {
            let why = error.to_string();
            let why = why.split(" at line ").next().unwrap_or_default();
            Err(ImportError::Malformed { line: error.line(), why: shown(why) })
        }
    }
}

struct Reader<'a> {
    source: &'a Source,
    draft: &'a mut Draft,
}

impl Reader<'_> {
    fn line(&self, node: &Node) -> usize {
        self.source.position(node.span.start).line
    }

    fn file(&mut self, root: &Node) {
        for (key, _) in root.map() {
            let line = self.source.position(key.span.start).line;
            let what = match key.text.as_str() {
                PATHS | EXCLUDED => continue,
                "file_paths_query" => "is left out: paths that a query finds change all the time",
                "file_accesses" => "is left out: reading a file changes nothing",
                _ => "is no matter of watching files",
            };
            if self.draft.is_refused() {
                return;
            }
            self.draft.note(line, format!("`{}` {what}", key.text));
        }
        let excluded = root.get(EXCLUDED);
        for (category, paths) in root.get(PATHS).map(Node::map).unwrap_or_default() {
            if self.draft.is_refused() {
                return;
            }
            let line = self.source.position(category.span.start).line;
            let mut all = self.patterns(paths, "");
            if all.is_empty() {
                self.draft.note(line, format!("`{}` names no paths", category.text));
                continue;
            }
            if let Some(paths) = excluded.and_then(|excluded| excluded.get(&category.text)) {
                all.extend(self.patterns(paths, "!"));
            }
            self.draft.parameter(line, &category.text);
            self.draft.list("glob", &all);
        }
        let known = |name: &str| root.get(PATHS).is_some_and(|paths| paths.get(name).is_some());
        for (category, _) in excluded.map(Node::map).unwrap_or_default() {
            if !known(&category.text) {
                let line = self.source.position(category.span.start).line;
                let what = format!("`{}` leaves out of a category that is none", category.text);
                self.draft.note(line, what);
            }
        }
    }

    /// The globs of a list of patterns, each with `before` in front.
    fn patterns(&mut self, list: &Node, before: &str) -> Vec<String> {
        let mut all = Vec::new();
        if !matches!(list.value, Value::List(_)) {
            self.draft
                .note(self.line(list), format!("expected a list of paths, found {}", kind(list)));
        }
        for node in list.list() {
            let line = self.line(node);
            let Some(text) = node.text() else {
                self.draft.note(line, format!("expected a path, found {}", kind(node)));
                continue;
            };
            let (pieces, difference) = pieces(text);
            match globs(&pieces).filter(|_| text.starts_with('/')) {
                Some(found) => {
                    if let Some(difference) = difference {
                        self.draft.note(line, format!("`{text}`: {difference}"));
                    }
                    all.extend(found.into_iter().map(|glob| format!("{before}{glob}")));
                }
                None => {
                    let what = format!("`{text}` is left out: a path begins with `/`, on one line");
                    self.draft.note(line, what);
                }
            }
        }
        all.sort_unstable_by_key(|glob| glob.starts_with('!'));
        all.dedup();
        all
    }
}

fn kind(node: &Node) -> &'static str {
    match node.value {
        Value::Scalar(_) => "a single value",
        Value::List(_) => "a list",
        Value::Map(_) => "an object",
    }
}

/// A pattern taken apart, and how that differs.
fn pieces(text: &str) -> (Vec<Piece>, Option<&'static str>) {
    let (mut pieces, mut difference) = (Vec::new(), None);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let doubled = rest.starts_with("%%") || rest.starts_with("**");
        let class = (first == '[').then(|| class(rest)).flatten();
        let used = match (first, class) {
            ('%' | '*', _) if doubled => {
                if rest.len() > 2 {
                    difference = Some("what stands behind `%%` is looked for at any depth");
                }
                pieces.push(Piece::Deep);
                2
            }
            ('%' | '*', _) => {
                pieces.push(Piece::Star);
                1
            }
            ('?', _) => {
                pieces.push(Piece::One);
                1
            }
            ('[', Some(class)) => {
                pieces.push(Piece::Class(class.to_owned()));
                class.len()
            }
            (other, _) => {
                let bytes = &rest.as_bytes()[..other.len_utf8()];
                pieces.extend(bytes.iter().map(|byte| Piece::Byte(*byte)));
                bytes.len()
            }
        };
        rest = &rest[used..];
    }
    // A directory, by its slash: that itself, and what is in it.
    if pieces.len() > 1 && pieces.last() == Some(&Piece::Byte(b'/')) {
        pieces.push(Piece::Star);
    }
    (pieces, difference)
}

/// `[...]` at the beginning of a text, if a glob can hold it.
fn class(text: &str) -> Option<&str> {
    // In front it is no end.
    let from = 1 + text[1..].find(|c| c != '!' && c != '^')?;
    let from = from + text[from..].chars().next()?.len_utf8();
    let class = &text[..=from + text[from..].find(']')?];
    let holds = !class.contains('/') && !class.contains(char::is_control);
    (holds && globset::Glob::new(class).is_ok()).then_some(class)
}

#[cfg(test)]
mod tests {
    use super::super::{Tool, parse};
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let (pieces, _) = pieces(text);
        assert_eq!(globs(&pieces).expect("globs"), expected, "{text}");
    }

    #[test]
    fn wildcards_are_those_of_sql_and_of_a_shell() {
        check("/etc/%%", &["/etc/**"]);
        check("/home/%/.ssh/%%", &["/home/*/.ssh/**"]);
        check("/etc/%.conf", &["/etc/*.conf"]);
        check("/etc/rc?.d/[SK]%", &["/etc/rc?.d/[SK]*"]);
        check("/etc/[x", &[r"/etc/\[x"]);
        check("/etc/[]a]", &["/etc/[]a]"]);
        check("/etc/{a}", &[r"/etc/\{a\}"]);
        check("/etc/", &["/etc/*"]);
        check("/", &["/"]);
        check("/etc/%%/x", &["/etc/*/**/x"]);
    }

    #[test]
    fn comments_are_lines_and_keep_them() {
        let text =
            "# x\n{\n\t\"file_paths\": {\n  // y\n\t\t\"a\": [\"/etc/%%\"],\n\"b\": [\"x\"]\n}}";
        let imported = parse(Tool::Osquery, text).expect("a configuration");
        assert!(imported.text.contains("- name: \"a\"  # line 5"), "{}", imported.text);
        let lines: Vec<usize> = imported.notes.iter().map(|note| note.line).collect();
        assert_eq!(lines, [6, 6]);
    }

    #[test]
    fn what_is_no_json_is_refused_with_its_line() {
        for (text, at) in [("{\n\"a\": 1,\n}", 3), ("a: b", 1), ("", 1), ("{}\n{}", 2)] {
            match parse(Tool::Osquery, text) {
                Err(ImportError::Malformed { line, .. }) => assert_eq!(line, at, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }
}
