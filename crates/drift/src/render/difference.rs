//! Lines that went and lines that came.

use umbra_api::blob::Blob;
use umbra_state::escape::line;

use crate::config::Difference;
use crate::discrepancy::{Discrepancy, Finding, KeyChange};
use crate::reading::{Content, Reading};

/// Lines shown of one discrepancy.
const LINES_MAX: usize = 200;
/// Characters shown of one line.
const CHARS_MAX: usize = 400;
/// Pairs of lines that are held against each other; where there are more, what differs is shown
/// as all of the one and all of the other.
const PAIRS_MAX: usize = 250_000;

/// Which side a line is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// Only the shadow has it.
    Shadow,
    /// Only the primary has it.
    Primary,
    /// About both.
    Note,
}

/// One printable line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(super) sign: Sign,
    pub(super) text: String,
}

impl Line {
    /// With its sign in front.
    pub(crate) fn signed(&self) -> String {
        let sign = match self.sign {
            Sign::Shadow => '-',
            Sign::Primary => '+',
            Sign::Note => ' ',
        };
        format!("{sign} {}", self.text)
    }
}

/// What differs, and how many lines more. What is shown is from `masked`; `raw` says which lines
/// differ, since two secrets look the same.
pub(super) fn difference(raw: &Discrepancy, masked: &Discrepancy) -> (Vec<Line>, usize) {
    let mut shown = Shown { lines: Vec::new(), more: 0 };
    let (mut texts, mut number) = (false, false);
    for finding in &masked.findings {
        match finding {
            Finding::Appeared | Finding::Vanished => texts = true,
            Finding::Value { difference, changes, more_changes } => {
                if changes.is_empty() {
                    texts = true;
                } else {
                    changes.iter().for_each(|change| shown.change(change));
                    shown.more += usize::try_from(*more_changes).unwrap_or(usize::MAX);
                }
                if let Difference::Distance(distance) = difference {
                    shown.note(format!("{distance} apart"));
                }
            }
            Finding::Attribute { attribute, shadow, primary } => {
                shown.pair(attribute.as_str(), shadow.as_ref(), primary.as_ref());
            }
            Finding::Unreadable { why } => {
                shown.note(format!("unreadable: {}", line(why.as_bytes(), CHARS_MAX)));
            }
            Finding::Unwatched { why } => {
                shown.note(format!("because {}", line(why.as_bytes(), CHARS_MAX)));
            }
            Finding::Unexpected { expected } => {
                shown.note(format!("expected: {}", line(expected.as_bytes(), CHARS_MAX)));
                number = true;
            }
            Finding::Nears { bound, breach } => {
                shown.note(format!("{bound} on {breach}"));
                number = true;
            }
        }
    }
    if texts {
        shown.contents(raw, masked);
    } else if number {
        shown.now(masked);
    }
    (shown.lines, shown.more)
}

struct Shown {
    lines: Vec<Line>,
    more: usize,
}

impl Shown {
    fn push(&mut self, sign: Sign, text: String) {
        if self.lines.len() < LINES_MAX {
            self.lines.push(Line { sign, text });
        } else {
            self.more += 1;
        }
    }

    fn note(&mut self, text: String) {
        self.push(Sign::Note, text);
    }

    fn change(&mut self, change: &KeyChange) {
        let mut key = line(change.key.as_bytes(), CHARS_MAX);
        if !change.in_force {
            key.push_str(" (without effect)");
        }
        self.pair(&key, change.shadow.as_ref(), change.primary.as_ref());
    }

    fn pair(&mut self, name: &str, shadow: Option<&Blob>, primary: Option<&Blob>) {
        for (sign, value) in [(Sign::Shadow, shadow), (Sign::Primary, primary)] {
            if let Some(value) = value {
                let value = line(&value.0, CHARS_MAX);
                // A line that is not understood has no name.
                let nameless = name == "?" || name.starts_with("?[");
                self.push(sign, if nameless { value } else { format!("{name} = {value}") });
            }
        }
    }

    /// What it says, where that is one line.
    fn now(&mut self, masked: &Discrepancy) {
        if let [(_, text)] = &lines_of(&masked.primary, &masked.primary)[..] {
            self.note(format!("now: {text}"));
        }
    }

    fn contents(&mut self, raw: &Discrepancy, masked: &Discrepancy) {
        let shadow = lines_of(&raw.shadow, &masked.shadow);
        let primary = lines_of(&raw.primary, &masked.primary);
        for (sign, text) in compare(&shadow, &primary) {
            self.push(sign, text.to_owned());
        }
    }
}

/// What decides whether two lines are one, and what is shown of it.
type Compared<'a> = (&'a [u8], String);

fn lines_of<'a>(raw: &'a Reading, masked: &'a Reading) -> Vec<Compared<'a>> {
    let (raw, masked) = match (content(raw), content(masked)) {
        (Some(Content::Bytes(raw)), Some(Content::Bytes(masked))) => {
            (split(&raw.0), split(&masked.0))
        }
        (_, Some(Content::Digest { blake3, bytes })) => {
            // A digest is text of its own, which no line of the other side is.
            return vec![(&[0xff], format!("{bytes} bytes, blake3 {blake3}"))];
        }
        _ => return Vec::new(),
    };
    let shown = masked.iter().map(|text| line(text, CHARS_MAX));
    if raw.len() == masked.len() {
        return raw.into_iter().zip(shown).collect();
    }
    // The whole of it is hidden; that it differs was found out before.
    let all = raw.first().copied().unwrap_or_default();
    shown.map(|shown| (all, shown)).collect()
}

fn content(reading: &Reading) -> Option<&Content> {
    reading.value()?.content.as_ref()
}

fn split(text: &[u8]) -> Vec<&[u8]> {
    let ended = text.strip_suffix(b"\n").unwrap_or(text);
    if text.is_empty() { Vec::new() } else { ended.split(|byte| *byte == b'\n').collect() }
}

fn compare<'a>(shadow: &'a [Compared<'_>], primary: &'a [Compared<'_>]) -> Vec<(Sign, &'a str)> {
    let same = |(a, b): &(&Compared<'_>, &Compared<'_>)| a.0 == b.0;
    let head = shadow.iter().zip(primary).take_while(same).count();
    let (a, b) = (&shadow[head..], &primary[head..]);
    let tail = a.iter().rev().zip(b.iter().rev()).take_while(same).count();
    let (a, b) = (&a[..a.len() - tail], &b[..b.len() - tail]);
    if a.len().saturating_mul(b.len()) > PAIRS_MAX {
        let removed = a.iter().map(|line| (Sign::Shadow, line.1.as_str()));
        return removed.chain(b.iter().map(|line| (Sign::Primary, line.1.as_str()))).collect();
    }
    middle(a, b)
}

/// By the longest common subsequence.
fn middle<'a>(a: &'a [Compared<'_>], b: &'a [Compared<'_>]) -> Vec<(Sign, &'a str)> {
    let width = b.len() + 1;
    // How long it is from each pair of places on.
    let mut longest = vec![0u32; (a.len() + 1) * width];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            longest[i * width + j] = if a[i].0 == b[j].0 {
                longest[(i + 1) * width + j + 1] + 1
            } else {
                longest[(i + 1) * width + j].max(longest[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut lines = Vec::new();
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i].0 == b[j].0 {
            (i, j) = (i + 1, j + 1);
        } else if j == b.len()
            || (i < a.len() && longest[(i + 1) * width + j] >= longest[i * width + j + 1])
        {
            lines.push((Sign::Shadow, a[i].1.as_str()));
            i += 1;
        } else {
            lines.push((Sign::Primary, b[j].1.as_str()));
            j += 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::super::secret::masked;
    use super::*;

    #[track_caller]
    fn check(shadow: &str, primary: &str, expected: &[&str]) {
        let raw = samples::texts("dns", shadow, primary);
        let (lines, more) = difference(&raw, &masked(&raw, None));
        let lines: Vec<String> = lines.iter().map(Line::signed).collect();
        assert_eq!((lines, more), (expected.iter().map(|s| (*s).to_owned()).collect(), 0));
    }

    #[test]
    fn only_what_differs_is_shown() {
        check("a\nb\nc\n", "a\nc\nd\n", &["- b", "+ d"]);
        check("a\n", "a\nbad\n", &["+ bad"]);
        check("a\nb\n", "b\na\n", &["- a", "+ a"]);
        check("", "x", &["+ x"]);
        check("x\x1b[2J", "x", &["- x\\u{1b}[2J", "+ x"]);
    }

    #[test]
    fn a_number_that_is_not_as_expected_is_shown() {
        let mut raw = samples::texts("disk", "", "93.5\n");
        let expected = "a number of at most 90".to_owned();
        raw.findings = vec![Finding::Unexpected { expected }];
        let (lines, _) = difference(&raw, &masked(&raw, None));
        let lines: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(lines, ["expected: a number of at most 90", "now: 93.5"]);
        raw.findings = vec![samples::nears()];
        let (lines, _) = difference(&raw, &masked(&raw, None));
        assert_eq!(
            lines[0].text,
            "above 90 on 2026-05-28 22:26:40 +0000 (95 %: 2026-05-28 \
             21:26:40 +0000 to later), 40.000 a day"
        );
        assert_eq!(lines[1].text, "now: 93.5");
    }

    #[test]
    fn a_secret_that_changed_is_said_to_have_changed() {
        check(
            "user=a\npassword=old\n",
            "user=a\npassword=new\n",
            &["- password=(hidden)", "+ password=(hidden)"],
        );
        let mut raw = samples::texts("etc", "root:old\nx:1\n", "root:new\n");
        raw.item = crate::reading::Item::part("etc", b"/etc/shadow");
        let (lines, _) = difference(&raw, &masked(&raw, None));
        assert!(lines.iter().all(|line| line.text == "(hidden)") && lines.len() == 2, "{lines:?}");
    }

    #[test]
    fn long_differences_are_counted() {
        let long = |word: &str| (0..5000).map(|n| format!("{word}{n}\n")).collect::<String>();
        let raw = samples::texts("dns", &long("a"), &long("b"));
        let (lines, more) = difference(&raw, &masked(&raw, None));
        assert_eq!((lines.len(), more), (LINES_MAX, 10_000 - LINES_MAX));
    }
}
