//! The configuration that is written: parameters, and beside each what it could not take over.

use std::collections::HashSet;
use std::fmt::Write as _;

use umbra_state::escape::escape_output;

use super::{ImportError, Imported, Note, Tool};
use crate::config::{self, quoted};

/// More parameters than anybody has written by hand.
const PARAMETERS_MAX: usize = 2_000;
/// What all of them list together.
const ITEMS_MAX: usize = 20_000;
/// What one of them may list.
const LIST_MAX: usize = 1_000;
const SHOWN_CHARS_MAX: usize = 400;
const NAME_CHARS_MAX: usize = 100;

/// A configuration as far as it is written.
pub(super) struct Draft {
    text: String,
    notes: Vec<Note>,
    names: HashSet<String>,
    items: usize,
    too_much: bool,
}

impl Draft {
    pub(super) fn new(tool: Tool) -> Self {
        let text = format!(
            "# Written by `umbra drift import --from {}`. Every line may be changed.\n\
             # Where it says NOTE, this file does not say the same as the other one.\n\
             version: 2\n\
             parameters:\n",
            tool.word()
        );
        Self { text, notes: Vec::new(), names: HashSet::new(), items: 0, too_much: false }
    }

    /// What could not be taken over as it is: it stands here, and is told.
    pub(super) fn note(&mut self, line: usize, what: impl AsRef<str>) {
        let what = shown(what.as_ref());
        self.line(&format!("  # NOTE line {line}: {what}"));
        self.notes.push(Note { line, what });
    }

    /// Begins a parameter that comes from a line.
    pub(super) fn parameter(&mut self, line: usize, name: &str) {
        let name = self.unique(name);
        let begin = format!("  - name: {}  # line {line}", quoted(&name));
        self.line(&begin);
        self.names.insert(name);
        self.too_much |= self.names.len() > PARAMETERS_MAX;
    }

    /// A key of the parameter, its value as YAML.
    pub(super) fn key(&mut self, key: &str, value: &str) {
        self.line(&format!("    {key}: {value}"));
    }

    /// A key with a text.
    pub(super) fn text(&mut self, key: &str, value: &str) {
        self.key(key, &quoted(value));
    }

    /// A key with a list of texts.
    pub(super) fn list<S: AsRef<str>>(&mut self, key: &str, values: &[S]) {
        self.items += values.len();
        self.too_much |= values.len() > LIST_MAX || self.items > ITEMS_MAX;
        if values.len() <= 4 {
            let values: Vec<String> = values.iter().map(|value| quoted(value.as_ref())).collect();
            return self.key(key, &format!("[{}]", values.join(", ")));
        }
        self.line(&format!("    {key}:"));
        for value in values {
            self.line(&format!("      - {}", quoted(value.as_ref())));
        }
    }

    /// Says that the other file holds more than is read.
    pub(super) fn refuse(&mut self) {
        self.too_much = true;
    }

    /// Whether nothing will come of it, so that the rest need not be looked at.
    pub(super) fn is_refused(&self) -> bool {
        self.too_much
    }

    pub(super) fn finish(self) -> Result<Imported, ImportError> {
        let notes = self.notes;
        if self.too_much || self.text.len() as u64 > config::FILE_BYTES_MAX {
            return Err(ImportError::TooMuch);
        }
        if self.names.is_empty() {
            return Err(ImportError::Nothing { notes });
        }
        Ok(Imported { text: self.text, parameters: self.names.len(), notes })
    }

    /// A line, unless there are too many already: what is thrown away anyway is not gathered.
    fn line(&mut self, line: &str) {
        self.too_much |= self.text.len() as u64 > config::FILE_BYTES_MAX;
        if !self.too_much {
            let _ = writeln!(self.text, "{line}");
        }
    }

    /// The name, or where it is taken or none, one like it.
    fn unique(&self, name: &str) -> String {
        let plain: String = name.chars().filter(|c| !c.is_control()).collect();
        let plain = match plain.trim() {
            "" => "unnamed",
            plain => plain,
        };
        let numbered = |number: usize| match number {
            1 => first_chars(plain, NAME_CHARS_MAX),
            number => {
                let tail = format!(" ({number})");
                first_chars(plain, NAME_CHARS_MAX - tail.len()) + &tail
            }
        };
        let mut candidates = (1..).map(numbered);
        candidates.find(|name| !self.names.contains(name)).unwrap_or_default()
    }
}

/// At most so many characters, with no space at the end.
fn first_chars(text: &str, most: usize) -> String {
    let cut: String = text.chars().take(most).collect();
    cut.trim_end().to_owned()
}

/// Foreign text on one line: of a comment, or of a message.
pub(super) fn shown(text: &str) -> String {
    let cut = match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    };
    let escaped = escape_output(cut.as_bytes()).to_string();
    // No YAML may hold these two, not even in a comment.
    escaped.replace(['\n', '\t'], " ").replace(['\u{fffe}', '\u{ffff}'], "?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_text() {
        let mut draft = Draft::new(Tool::Aide);
        let hostile =
            "\u{7f}\u{85}\u{2028}\u{ffff}\"'\\\n- name: #: {[&*!|>%@`\u{1b}[2J\t\u{feff}é";
        draft.note(1, hostile);
        draft.parameter(2, hostile);
        draft.text("path", "/etc/\u{7f}\u{2028}\u{ffff}\"é\n#");
        draft.parameter(3, hostile);
        draft.list("glob", &["/a b", "/'\"#"]);
        let name = "x".repeat(99);
        for line in [4, 5] {
            draft.parameter(line, &format!("{name} {name}"));
            draft.text("path", "/a");
        }
        draft.parameter(6, " \n ");
        draft.text("path", "/a");
        let imported = draft.finish().expect("little enough");
        assert_eq!(imported.notes.len(), 1);
        assert!(!imported.text.contains(|c: char| c.is_control() && c != '\n'));
        let config = config::parse("x", &imported.text);
        let config = config.unwrap_or_else(|problems| panic!("{}", problems.render(false)));
        assert_eq!(config.parameters.len(), 5);
        let config::Source::File { path, .. } = &config.parameters[0].source else { panic!() };
        assert_eq!(path, "/etc/\u{7f}\u{2028}\u{ffff}\"é\n#");
    }

    #[test]
    fn too_much_and_nothing_are_no_configuration() {
        let mut draft = Draft::new(Tool::Goss);
        draft.note(1, "x");
        assert!(matches!(draft.finish(), Err(ImportError::Nothing { notes }) if notes.len() == 1));
        let mut draft = Draft::new(Tool::Goss);
        for line in 0..=PARAMETERS_MAX {
            draft.parameter(line, "x");
        }
        assert!(matches!(draft.finish(), Err(ImportError::TooMuch)));
        let mut draft = Draft::new(Tool::Goss);
        draft.parameter(1, "x");
        draft.list("glob", &vec!["/a"; LIST_MAX + 1]);
        assert!(matches!(draft.finish(), Err(ImportError::TooMuch)));
        let mut draft = Draft::new(Tool::Goss);
        draft.parameter(1, "x");
        for _ in 0..10_000 {
            draft.note(1, "y".repeat(SHOWN_CHARS_MAX));
        }
        assert!(matches!(draft.finish(), Err(ImportError::TooMuch)));
    }
}
