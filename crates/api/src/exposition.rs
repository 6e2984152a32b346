//! The text that Prometheus scrapes: exposition format 0.0.4.

use std::fmt::{Display, Write};

use umbra_state::escape::line;

/// Its media type.
pub const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// As much of a label's value as is shown.
const LABEL_CHARS_MAX: usize = 200;

/// A page of samples, family by family.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
    name: &'static str,
}

impl Page {
    /// What it says.
    pub fn into_text(self) -> String {
        self.text
    }

    /// Begins with what has this name.
    pub fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.name = name;
        // Writing to a text does not fail.
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// One of these, whatever its labels say.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: u64) {
        self.part("", labels, value);
    }

    /// One of a histogram's parts: `_bucket`, `_sum`, `_count`.
    pub fn part(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        for (index, (label, value)) in labels.iter().enumerate() {
            let sign = if index == 0 { '{' } else { ',' };
            let value = line(value.as_bytes(), LABEL_CHARS_MAX);
            let value = value.replace('\\', r"\\").replace('"', "\\\"");
            let _ = write!(self.text, "{sign}{label}=\"{value}\"");
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{end} {value}");
    }
}
