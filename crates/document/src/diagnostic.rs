//! Problems found in a document: plain values that carry all a person or a program needs to
//! see what is wrong, where, and what was expected.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::source::{Source, Span};

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// What sort of problem, in a stable word such as `unknown-key`.
    pub code: String,
    /// How grave it is.
    pub severity: Severity,
    /// What is wrong, in one line. Outside text in it is escaped.
    pub message: String,
    /// Where the value stands in the document, such as `steps[2].copy.mode`; empty for the whole.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// The places it concerns, the one to look at first coming first.
    pub labels: Vec<Label>,
    /// What to do about it, if that is not plain from the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

/// How grave a [`Diagnostic`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The document cannot be used.
    Error,
    /// The document can be used, but probably does not say what was meant.
    Warning,
}

/// A marked place in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// The file, as the user named it.
    pub file: String,
    /// Its line, from 1.
    pub line: usize,
    /// The first marked character in that line, from 1.
    pub column: usize,
    /// How many characters are marked; what goes on in later lines is not.
    pub length: usize,
    /// What to say beside the mark; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// The line itself, or 200 characters of it around the mark.
    pub excerpt: String,
    /// The column at which `excerpt` begins: 1 unless the line is long.
    pub excerpt_column: usize,
}

/// All problems of a document, in the order of the text.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Problems {
    /// The problems, at most [`Problems::SHOWN_MAX`].
    pub diagnostics: Vec<Diagnostic>,
    /// How many more there are.
    #[serde(default)]
    pub more: usize,
}

impl Problems {
    /// How many problems are kept; the rest is counted.
    pub const SHOWN_MAX: usize = 100;

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.diagnostics.is_empty()
    }

    /// Whether any of them forbids using the document.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// A problem with no place in a file, such as a file that cannot be read.
    pub fn without_place(code: &str, message: String, help: Option<String>) -> Self {
        let diagnostic = Diagnostic {
            code: code.to_owned(),
            severity: Severity::Error,
            message,
            path: String::new(),
            labels: Vec::new(),
            help,
        };
        Self { diagnostics: vec![diagnostic], more: 0 }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.diagnostics.len() + self.more;
        let noun = if count == 1 { "problem" } else { "problems" };
        write!(f, "{count} {noun}")?;
        match self.diagnostics.first() {
            Some(first) => write!(f, ", first: {}", first.message),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Problems {}

/// Problems while they are being collected: with spans instead of labels.
#[derive(Debug, Default)]
pub struct Found {
    problems: Vec<Problem>,
}

/// One problem while problems are being collected.
#[derive(Debug, Clone)]
pub struct Problem {
    code: &'static str,
    severity: Severity,
    message: String,
    path: String,
    labels: Vec<(Span, String)>,
    help: Option<String>,
}

impl Problem {
    /// An error at `span`; `beside` is printed next to the mark.
    pub fn new(
        code: &'static str,
        message: impl Into<String>,
        span: Span,
        beside: impl Into<String>,
    ) -> Self {
        Self {
            code,
            severity: Severity::Error,
            message: message.into(),
            path: String::new(),
            labels: vec![(span, beside.into())],
            help: None,
        }
    }

    /// The same as a warning.
    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// The same, of the value at `path`, such as `steps[2].copy.mode`.
    pub fn at(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// The same with another place it concerns.
    pub fn also(mut self, span: Span, beside: impl Into<String>) -> Self {
        self.labels.push((span, beside.into()));
        self
    }

    /// The same with what to do about it.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same with what to do about it, if that is known.
    pub fn help_if(self, help: Option<String>) -> Self {
        match help {
            Some(help) => self.help(help),
            None => self,
        }
    }
}

/// More are not even collected: a document that wrong has one cause.
const COLLECTED_MAX: usize = 10_000;

impl Found {
    /// Records a problem.
    pub fn push(&mut self, problem: Problem) {
        if self.problems.len() < COLLECTED_MAX {
            self.problems.push(problem);
        }
    }

    /// Whether any of them forbids using the document.
    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// So many problems that finding out what was meant would cost more than it helps.
    pub fn is_crowded(&self) -> bool {
        self.problems.len() > 2 * Problems::SHOWN_MAX
    }

    /// What was found, in the order of the text.
    pub fn into_problems(mut self, sources: &[Source]) -> Problems {
        let place = |problem: &Problem| problem.labels.first().map(|(span, _)| *span);
        self.problems.sort_by_key(place);
        // A value that is used twice (by an alias, by extending) is reported once.
        self.problems.dedup_by(|a, b| place(a) == place(b) && a.message == b.message);
        let more = self.problems.len().saturating_sub(Problems::SHOWN_MAX);
        self.problems.truncate(Problems::SHOWN_MAX);
        let diagnostics = self.problems.into_iter().map(|found| found.finish(sources)).collect();
        Problems { diagnostics, more }
    }
}

impl Problem {
    fn finish(self, sources: &[Source]) -> Diagnostic {
        let labels = self.labels.into_iter().filter_map(|(span, text)| label(span, text, sources));
        Diagnostic {
            code: self.code.to_owned(),
            severity: self.severity,
            message: self.message,
            path: self.path,
            labels: labels.collect(),
            help: self.help,
        }
    }
}

const EXCERPT_CHARS_MAX: usize = 200;
const EXCERPT_CHARS_BEFORE: usize = 60;

fn label(span: Span, text: String, sources: &[Source]) -> Option<Label> {
    let source = sources.get(span.file)?;
    let position = source.position(span.start);
    let line_range = source.line_range(span.start);
    let line = &source.text[line_range.clone()];
    let start = source.floor(span.start).min(line_range.end);
    let end = source.floor(span.end).clamp(start, line_range.end);
    let length = source.text[start..end].chars().count().max(1);
    let skipped = if line.chars().count() <= EXCERPT_CHARS_MAX {
        0
    } else {
        (position.column - 1).saturating_sub(EXCERPT_CHARS_BEFORE)
    };
    Some(Label {
        file: source.name.clone(),
        line: position.line,
        column: position.column,
        length,
        text,
        excerpt: line.chars().skip(skipped).take(EXCERPT_CHARS_MAX).collect(),
        excerpt_column: skipped + 1,
    })
}
