//! All that is said of one discrepancy, printable, bounded and without secrets.

use umbra_api::blob::Blob;
use umbra_state::escape::line;

use super::difference::{Line, difference};
use super::secret::masked;
use super::time::moment;
use super::who::sentences;
use crate::alert::bounded;
use crate::config::{Attribute, Difference, Provenance};
use crate::discrepancy::{Attribution, Discrepancy, Finding};

const NAME_CHARS_MAX: usize = 300;

/// See the [module's description](self).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Facts {
    /// The discrepancy with its secrets hidden; its bytes are not escaped.
    pub(crate) masked: Discrepancy,
    /// The parameter's name.
    pub(crate) parameter: String,
    /// Which of its facts, if it has several.
    pub(crate) part: Option<String>,
    /// The path it is about.
    pub(crate) path: Option<String>,
    /// What differs, as a sentence without its subject.
    pub(crate) what: String,
    /// Lines that went and came.
    pub(crate) lines: Vec<Line>,
    /// Lines beyond those.
    pub(crate) more_lines: usize,
    /// Who, one writer each; empty where nobody did anything to the machine.
    pub(crate) who: Vec<String>,
}

impl Facts {
    pub(crate) fn of(
        discrepancy: &Discrepancy,
        attribution: Option<&Attribution>,
        path: Option<&Blob>,
    ) -> Self {
        let masked = masked(discrepancy, path);
        let (lines, more_lines) = difference(discrepancy, &masked);
        let part = discrepancy.item.part.as_ref();
        let path = path.or_else(|| part.filter(|part| part.0.starts_with(b"/")));
        let shown = |blob: &Blob| line(&blob.0, NAME_CHARS_MAX);
        Self {
            parameter: line(discrepancy.item.parameter.as_bytes(), NAME_CHARS_MAX),
            part: part.map(shown),
            path: path.map(shown),
            what: what(&masked),
            lines,
            more_lines,
            who: match discrepancy.why_unwatched() {
                Some(_) => Vec::new(),
                None => sentences(attribution),
            },
            // Held against each other was all of it; told is no more than is kept.
            masked: bounded(masked),
        }
    }

    /// The parameter, and which of its facts.
    pub(crate) fn name(&self) -> String {
        match &self.part {
            Some(part) => format!("{}: {part}", self.parameter),
            None => self.parameter.clone(),
        }
    }

    /// The path, or the name of what has none.
    pub(crate) fn place(&self) -> String {
        self.path.clone().unwrap_or_else(|| self.name())
    }

    /// What would have been tolerated, in words.
    pub(crate) fn tolerance(&self) -> Option<String> {
        let tolerance = self.masked.tolerance.as_ref()?;
        Some(line(tolerance.as_bytes(), NAME_CHARS_MAX))
    }

    /// The attributes that differ, the content among them.
    pub(crate) fn attributes(&self) -> Vec<Attribute> {
        let of = |finding: &Finding| match finding {
            Finding::Attribute { attribute, .. } => Some(*attribute),
            Finding::Value { .. } => Some(Attribute::Content),
            _ => None,
        };
        self.masked.findings.iter().filter_map(of).collect()
    }

    pub(crate) fn appeared(&self) -> bool {
        self.masked.findings.iter().any(|finding| matches!(finding, Finding::Appeared))
    }

    pub(crate) fn vanished(&self) -> bool {
        self.masked.findings.iter().any(|finding| matches!(finding, Finding::Vanished))
    }
}

fn what(discrepancy: &Discrepancy) -> String {
    let mut parts: Vec<String> = Vec::new();
    for finding in &discrepancy.findings {
        let part = match finding {
            Finding::Appeared => "appeared".to_owned(),
            Finding::Vanished => "vanished".to_owned(),
            Finding::Unreadable { .. } => "cannot be read".to_owned(),
            Finding::Value { difference, changes, more_changes } => {
                let keys = changes.len() as u64 + more_changes;
                match difference {
                    _ if keys > 0 => {
                        format!("differs in {}", super::text::count(keys, "key", "keys"))
                    }
                    Difference::Distance(distance) => format!("differs by {distance}"),
                    Difference::Content => "has another content".to_owned(),
                    Difference::Lines { changed, .. } => {
                        format!("differs in {}", super::text::count(*changed, "line", "lines"))
                    }
                }
            }
            Finding::Attribute { attribute, .. } => format!("has another {attribute}"),
            Finding::Unexpected { .. } => "is not as it must be".to_owned(),
            Finding::Nears { bound, breach } => {
                format!("will be {bound} on {}", moment(breach.expected_ms))
            }
            Finding::Unwatched { .. } => "is not watched".to_owned(),
        };
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    let mut what = match parts.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, before)) => format!("{} and {last}", before.join(", ")),
        None => "differs".to_owned(),
    };
    if discrepancy.provenance == Provenance::Expected {
        what.push_str(", as expected of its owner");
    }
    what
}
