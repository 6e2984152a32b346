//! Wazuh's `ossec.conf`: what `<syscheck>` says of files.
//!
//! Of several directories that hold a path the deepest counts, and of two that are the same the
//! later one. What is ignored, and what is never shown, is so wherever it is said.

mod matching;
mod xml;

use std::collections::{BTreeSet, HashMap, HashSet};

use super::ImportError;
use super::draft::Draft;
use super::expression::Lean;
use super::index::Index;
use super::pattern::{Piece, directory, globs, literal};
use xml::Element;

/// Deeper is as good as everything below.
const LEVELS_MAX: usize = 8;
/// More than a person names.
const DIRECTORIES_MAX: usize = 2_000;
/// What is ignored or hidden.
const PATTERNS_MAX: usize = 5_000;
/// Of a path, and of an expression.
const TEXT_BYTES_MAX: usize = 1_000;

/// Reads a whole file.
pub(super) fn read(text: &str, draft: &mut Draft) -> Result<(), ImportError> {
    let mut reader = Reader::default();
    for element in xml::parse(text)? {
        match element.name.as_str() {
            "syscheck" => reader.syscheck(&element),
            "ossec_config" | "agent_config" => {
                if !element.attributes.is_empty() {
                    let what = format!("`<{}>` is read whatever machine it is for", element.name);
                    reader.note(element.line, what);
                }
                for section in &element.children {
                    match section.name.as_str() {
                        "syscheck" => reader.syscheck(section),
                        other => reader.other(section.line, other),
                    }
                }
            }
            other => reader.other(element.line, other),
        }
    }
    let patterns = reader.ignored.len() + reader.hidden.len();
    if reader.directories > DIRECTORIES_MAX || patterns > PATTERNS_MAX {
        draft.refuse();
    }
    reader.write(draft);
    Ok(())
}

#[derive(Default)]
struct Reader {
    entries: Vec<Entry>,
    /// How many have been named, and how many of them are watched.
    directories: usize,
    watched: usize,
    /// Patterns of paths.
    ignored: Vec<String>,
    hidden: Vec<String>,
    /// What has been told once, for all lines it is true of.
    told: HashSet<String>,
}

enum Entry {
    Note(usize, String),
    Directory(Directory),
}

struct Directory {
    /// Its number among all.
    at: usize,
    line: usize,
    path: String,
    attributes: Vec<&'static str>,
    /// Whether only some of what is below is watched.
    restricted: bool,
    /// Where all of it lies.
    directory: Vec<u8>,
    globs: Vec<String>,
}

impl Reader {
    fn note(&mut self, line: usize, what: impl Into<String>) {
        self.entries.push(Entry::Note(line, what.into()));
    }

    /// What is true of many lines is told at the first.
    fn once(&mut self, line: usize, what: &str) {
        if self.told.insert(what.to_owned()) {
            self.note(line, what);
        }
    }

    fn other(&mut self, line: usize, name: &str) {
        self.once(line, &format!("`<{name}>` is no matter of watching files"));
    }

    fn syscheck(&mut self, section: &Element) {
        for element in &section.children {
            let (line, text) = (element.line, element.text.as_str());
            match element.name.as_str() {
                "directories" => self.directories(element),
                "ignore" => match self.paths(element, Lean::Narrow) {
                    Ok(paths) => self.ignored.extend(paths),
                    Err(why) => self.note(line, format!("`{text}` is not ignored: {why}")),
                },
                "nodiff" => match self.paths(element, Lean::Wide) {
                    Ok(paths) => self.hidden.extend(paths),
                    Err(why) => self.note(line, format!("`{text}` may be shown: {why}")),
                },
                "frequency" | "scan_time" | "scan_day" | "scan_on_start" => {
                    let what = "is left out: files are watched all the time";
                    self.note(line, format!("`{}` {what}", element.name));
                }
                "disabled" if text == "no" => {}
                "disabled" => self.note(line, "`disabled` is left out: all of it is watched"),
                "alert_new_files" if text == "yes" => {}
                "alert_new_files" => self.note(line, "`alert_new_files`: new files are told"),
                "skip_nfs" | "skip_dev" | "skip_proc" | "skip_sys" if text == "yes" => {
                    let what = "is left out: say with a `!` pattern what is not to be watched";
                    self.note(line, format!("`{}` {what}", element.name));
                }
                "skip_nfs" | "skip_dev" | "skip_proc" | "skip_sys" => {}
                name => self.note(line, format!("`{name}` has no counterpart")),
            }
        }
    }

    /// What `<ignore>` and `<nodiff>` name.
    fn paths(&mut self, element: &Element, lean: Lean) -> Result<Vec<String>, String> {
        let text = element.text.as_str();
        if text.len() > TEXT_BYTES_MAX {
            return Err(format!("it is longer than {TEXT_BYTES_MAX} bytes"));
        }
        let ways = match element.attribute("type") {
            None if !text.starts_with('/') => return Err("a path begins with `/`".to_owned()),
            None => {
                let what = "a path is itself and what is below, here and further down; Wazuh also \
                            takes names that only begin so, in any case of letters";
                self.once(element.line, what);
                let path = literal(text.trim_end_matches('/'));
                vec![path.clone(), [path, literal("/"), vec![Piece::Deep]].concat()]
            }
            Some("sregex") if text.starts_with('!') => {
                return Err("what does not match is no pattern".to_owned());
            }
            Some("sregex") => {
                if lean == Lean::Narrow {
                    self.once(
                        element.line,
                        "what is ignored by `sregex` has its letters as written",
                    );
                }
                matching::anywhere(text, lean)
            }
            Some(other) => return Err(format!("`{other}` is no type of paths")),
        };
        patterns(&ways)
    }

    /// `<directories>`: paths, divided by commas.
    fn directories(&mut self, element: &Element) {
        let paths = element.text.split(',').map(str::trim).filter(|path| !path.is_empty());
        if paths.clone().next().is_none() {
            return self.note(element.line, "`directories` names none");
        }
        let checks = self.checks(element);
        for path in paths {
            self.directories += 1;
            if self.directories > DIRECTORIES_MAX {
                return;
            }
            if let Err(why) = self.directory(element, path, &checks) {
                self.note(element.line, format!("`{path}` is left out: {why}"));
            }
        }
    }

    fn directory(
        &mut self,
        element: &Element,
        path: &str,
        attributes: &[&'static str],
    ) -> Result<(), String> {
        if !path.starts_with('/') {
            return Err("a path begins with `/`".to_owned());
        }
        let restrict = element.attribute("restrict").filter(|restrict| !restrict.is_empty());
        if path.len().max(restrict.map_or(0, str::len)) > TEXT_BYTES_MAX {
            return Err(format!("it or its `restrict` is longer than {TEXT_BYTES_MAX} bytes"));
        }
        let line = element.line;
        let path = path.trim_end_matches('/');
        let wild = path.contains(['*', '?']);
        let plain: Vec<Piece> = path.bytes().map(piece).collect();
        let inside = [plain.clone(), literal("/")].concat();
        let directory = directory(&inside);
        let below = [inside, vec![Piece::Deep]].concat();
        let whole = |plain: Vec<Piece>, below: Vec<Piece>| match plain.is_empty() {
            true => vec![below],
            false => vec![plain, below],
        };
        let level = element.attribute("recursion_level");
        let (ways, restricted) = match (restrict, level.map(str::parse::<usize>)) {
            (Some(restrict), _) if wild || restrict.starts_with('!') => {
                let what =
                    format!("`restrict` (`{restrict}`) is left out: all below `{path}` is watched");
                self.note(line, what);
                (whole(plain, below), false)
            }
            (Some(restrict), level) => {
                if level.is_some() {
                    self.note(line, "`recursion_level` beside `restrict` is left out");
                }
                (matching::below(path, restrict, Lean::Wide), true)
            }
            (None, Some(Ok(level))) if level < LEVELS_MAX => {
                let deeper = |depth: usize| {
                    [plain.clone(), vec![[Piece::Byte(b'/'), Piece::Star]; depth].concat()].concat()
                };
                let from = usize::from(plain.is_empty());
                ((from..=level + 1).map(deeper).collect(), true)
            }
            (None, level) => {
                if level.is_some() {
                    self.note(line, "`recursion_level` is left out: all that is below is watched");
                }
                (whole(plain, below), false)
            }
        };
        let globs = patterns(&ways)?;
        if globs.is_empty() {
            return Err("no path below matches `restrict`".to_owned());
        }
        self.entries.push(Entry::Directory(Directory {
            at: self.watched,
            line,
            path: if path.is_empty() { "/".to_owned() } else { path.to_owned() },
            attributes: attributes.to_vec(),
            restricted,
            directory,
            globs,
        }));
        self.watched += 1;
        Ok(())
    }

    /// The words for `attrs`.
    fn checks(&mut self, element: &Element) -> Vec<&'static str> {
        let line = element.line;
        let mut on: BTreeSet<&str> = CHECKS.iter().map(|(check, _)| *check).collect();
        let mut shown = false;
        for (name, value) in &element.attributes {
            let yes = value.trim().eq_ignore_ascii_case("yes");
            let checks: Vec<&str> = match name.as_str() {
                "check_all" => CHECKS.iter().map(|(check, _)| *check).collect(),
                "check_sum" => vec!["check_md5sum", "check_sha1sum", "check_sha256sum"],
                // They are watched as they change, with who did it, anyway.
                "realtime" | "whodata" | "restrict" | "recursion_level" => continue,
                "report_changes" => {
                    shown = yes;
                    continue;
                }
                "follow_symbolic_link" if !yes => continue,
                "follow_symbolic_link" => {
                    self.note(line, "`follow_symbolic_link` is left out: links are not followed");
                    continue;
                }
                name => match CHECKS.iter().find(|(check, _)| *check == name) {
                    Some((check, _)) => vec![*check],
                    None => {
                        self.note(line, format!("`{name}` has no counterpart"));
                        continue;
                    }
                },
            };
            on.retain(|check| !checks.contains(check));
            if yes {
                on.extend(checks);
            }
        }
        if !shown {
            let what = "what has changed in a file is kept and shown, here and further down, also \
                        without `report_changes`: `nodiff` keeps it on the machine";
            self.once(line, what);
        }
        let hashed = ["check_md5sum", "check_sha1sum", "check_sha256sum"];
        if on.contains("check_size") && !hashed.iter().any(|hash| on.contains(hash)) {
            self.note(line, "not only the size but the content is compared");
        }
        for (check, lost) in CHECKS {
            if let (true, Check::Lost(what)) = (on.contains(check), lost) {
                self.once(line, &format!("{what} is not compared, here and further down"));
            }
        }
        let mut words = Vec::new();
        for (check, carried) in CHECKS {
            if let (true, Check::Word(word)) = (on.contains(check), carried)
                && !words.contains(word)
            {
                words.push(*word);
            }
        }
        words.extend(["type", "link"]);
        words
    }

    fn write(self, draft: &mut Draft) {
        let all: Vec<&Directory> = self
            .entries
            .iter()
            .filter_map(|entry| match entry {
                Entry::Directory(directory) => Some(directory),
                Entry::Note(..) => None,
            })
            .collect();
        let last: HashMap<&str, usize> = all.iter().map(|one| (&one.path[..], one.at)).collect();
        let [ignored, hidden] = [&self.ignored, &self.hidden]
            .map(|all| Index::new(all.iter().map(|glob| (0, &glob[..]))));
        for entry in &self.entries {
            if draft.is_refused() {
                return;
            }
            match entry {
                Entry::Note(line, what) => draft.note(*line, what),
                Entry::Directory(one) => match last.get(&one.path[..]).map(|at| all[*at]) {
                    Some(later) if later.at > one.at => {
                        let later = later.line;
                        let what =
                            format!("`{}` is left out: line {later} is about it, too", one.path);
                        draft.note(one.line, what);
                    }
                    _ => parameter(one, &all, &ignored, &hidden, draft),
                },
            }
        }
    }
}

fn parameter<'a>(
    one: &'a Directory,
    all: &[&Directory],
    ignored: &Index<'a>,
    hidden: &Index<'a>,
    draft: &mut Draft,
) {
    let inside = |other: &&&Directory| {
        other.directory.len() > one.directory.len() && other.directory.starts_with(&one.directory)
    };
    let deeper: Vec<&&Directory> = all.iter().filter(inside).collect();
    if deeper.iter().any(|deeper| deeper.restricted) {
        let what = format!("`{}` also has what a deeper directory passes over", one.path);
        draft.note(one.line, what);
    }
    let near = |index: &Index<'a>| -> BTreeSet<&'a str> {
        let globs = one.globs.iter().flat_map(|glob| index.meeting(glob));
        globs.map(|(_, glob)| glob).collect()
    };
    let (ignored, hidden) = (near(ignored), near(hidden));
    let out = deeper.iter().flat_map(|deeper| deeper.globs.iter().map(String::as_str));
    let out: BTreeSet<String> = out.chain(ignored).map(|glob| format!("!{glob}")).collect();
    let globs: Vec<String> = one.globs.iter().cloned().chain(out).collect();
    draft.parameter(one.line, &one.path);
    draft.list("glob", &globs);
    draft.key("attrs", &format!("[{}]", one.attributes.join(", ")));
    if !hidden.is_empty() {
        draft.list("nodiff", &hidden.into_iter().collect::<Vec<_>>());
    }
}

/// All globs of some ways.
fn patterns(ways: &[Vec<Piece>]) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    for way in ways {
        all.extend(globs(way).ok_or("no configuration can hold it as a pattern")?);
    }
    Ok(all)
}

fn piece(byte: u8) -> Piece {
    match byte {
        b'*' => Piece::Star,
        b'?' => Piece::One,
        byte => Piece::Byte(byte),
    }
}

/// What becomes of a check.
enum Check {
    Word(&'static str),
    Lost(&'static str),
    /// It is about another system.
    Foreign,
}

const CHECKS: &[(&str, Check)] = &[
    ("check_md5sum", Check::Word("content")),
    ("check_sha1sum", Check::Word("content")),
    ("check_sha256sum", Check::Word("content")),
    ("check_size", Check::Word("content")),
    ("check_perm", Check::Word("mode")),
    ("check_owner", Check::Word("owner")),
    ("check_group", Check::Word("group")),
    ("check_mtime", Check::Lost("the time of modification")),
    ("check_inode", Check::Lost("the inode")),
    ("check_attrs", Check::Foreign),
];

#[cfg(test)]
mod tests {
    use super::super::{Tool, parse};
    use crate::config::{self, NoDiff, Source};

    #[track_caller]
    fn check(syscheck: &str, expected: &[(&[&str], &[&str])]) -> Vec<String> {
        let imported = parse(Tool::Wazuh, &format!("<syscheck>{syscheck}</syscheck>"));
        let imported = imported.expect("a configuration");
        let config = config::parse("x", &imported.text);
        let config = config.unwrap_or_else(|problems| panic!("{}", problems.render(false)));
        let found: Vec<(Vec<String>, Vec<String>)> = config
            .parameters
            .iter()
            .map(|parameter| {
                let Source::Tree { globs, .. } = &parameter.source else { panic!() };
                let hidden = match &parameter.nodiff {
                    NoDiff::Paths(paths) => paths.clone(),
                    NoDiff::Whole(_) => Vec::new(),
                };
                (globs.clone(), hidden)
            })
            .collect();
        let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let expected: Vec<(Vec<String>, Vec<String>)> =
            expected.iter().map(|(globs, hidden)| (own(globs), own(hidden))).collect();
        assert_eq!(found, expected, "{syscheck}");
        imported.notes.into_iter().map(|note| note.what).collect()
    }

    #[test]
    fn directories_are_trees() {
        let quiet = "check_mtime='no' check_inode='no' report_changes='yes'";
        let told = |inside: &str, expected: &[(&[&str], &[&str])]| {
            check(
                &inside
                    .replace("<d", &format!("<directories {quiet}"))
                    .replace("</d", "</directories"),
                expected,
            )
        };
        let etc: (&[&str], &[&str]) = (&["/etc", "/etc/**"], &[]);
        assert!(told("<d>/etc</d>", &[etc]).is_empty());
        assert!(told("<d>/</d>", &[(&["/**"], &[])]).is_empty());
        let two: (&[&str], &[&str]) = (&["/b", "/b/**"], &[]);
        assert!(told("<d>/etc/, /b</d>", &[etc, two]).is_empty());
        let levels: (&[&str], &[&str]) = (&["/a", "/a/*", "/a/*/*"], &[]);
        assert!(told("<d recursion_level='1'>/a</d>", &[levels]).is_empty());
        let some: (&[&str], &[&str]) = (&["/a/**/*.[cC]"], &[]);
        assert!(told("<d restrict='.c$'>/a</d>", &[some]).is_empty());
        let homes: (&[&str], &[&str]) = (&["/home/*/x", "/home/*/x/**"], &[]);
        assert!(told("<d>/home/*/x</d>", &[homes]).is_empty());
        assert_eq!(told("<d>/etc</d><d>C:\\x</d>", &[etc]).len(), 1);
    }

    #[test]
    fn the_deepest_and_the_last_count() {
        let outer: (&[&str], &[&str]) = (&["/a", "/a/**", "!/a/b", "!/a/b/**"], &[]);
        let inner: (&[&str], &[&str]) = (&["/a/b", "/a/b/**"], &[]);
        let text = "<directories>/a,/a/b</directories>";
        check(text, &[outer, inner]);
        check("<directories>/a/b,/a/b</directories>", &[inner]);
    }

    #[test]
    fn what_is_ignored_or_hidden_is_so_everywhere() {
        let text = "<directories>/a</directories><ignore>/a/x</ignore><ignore>/b</ignore>\
                    <ignore type='sregex'>.log$</ignore><nodiff>/a/key</nodiff>\
                    <nodiff type='sregex'>.k$</nodiff>";
        let globs: &[&str] = &["/a", "/a/**", "!/**/*.log", "!/a/x", "!/a/x/**"];
        check(text, &[(globs, &["/**/*.[kK]", "/a/key", "/a/key/**"])]);
    }

    #[test]
    fn the_rest_is_told() {
        let text = "<directories check_all='no' check_size='yes' tags='x'>/a</directories>\
                    <frequency>1</frequency><what/><disabled>yes</disabled>\
                    <ignore type='sregex'>!x</ignore><ignore type='odd'>x</ignore>\
                    <directories></directories><skip_nfs>yes</skip_nfs>";
        let notes = check(text, &[(&["/a", "/a/**"], &[])]);
        assert_eq!(notes.len(), 10, "{notes:#?}");
    }
}
