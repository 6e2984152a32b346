//! Reads the Test Anything Protocol, versions 13 and 14.
//!
//! Test points, plan, `SKIP` and `TODO` directives and `Bail out!` are understood. Subtests
//! and YAML blocks are indented; their verdict is in the point that ends them, so what is
//! indented is passed over. Lines that are no TAP belong to the program and are ignored, as
//! the protocol demands.

use std::collections::BTreeSet;

use umbra_state::escape::escape;
use umbra_state::{Evidence, Verdict};

const POINTS_MAX: usize = 100_000;
const TEXT_CHARS_MAX: usize = 500;

/// A whole TAP document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tap {
    /// How many points the plan promises.
    pub planned: Option<u64>,
    /// Why everything was skipped (`1..0 # SKIP reason`), escaped.
    pub skipped_all: Option<String>,
    /// The points at the top level, in order.
    pub points: Vec<Point>,
    /// Why it gave up, escaped.
    pub bailed_out: Option<String>,
}

/// One `ok` or `not ok` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// Its number, given or counted.
    pub number: u64,
    /// Whether it says `ok`.
    pub ok: bool,
    /// Its words, escaped and cut.
    pub description: String,
    /// What follows `#`, if it is a directive.
    pub directive: Option<Directive>,
}

/// What keeps a point from counting as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Directive {
    /// It was not run.
    Skip,
    /// It is known to fail.
    Todo,
}

/// A text that claims to be TAP and is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read TAP line {line}: {detail}")]
pub struct TapError {
    line: usize,
    detail: &'static str,
}

/// Whether a text begins like TAP: with a version, or with a plan.
pub fn looks_like_tap(bytes: &[u8]) -> bool {
    let Some(first) = lines(bytes).find(|line| !line.is_empty()) else { return false };
    version(first).is_some() || matches!(plan(first), Some(Ok(_)))
}

/// Parses a document.
pub fn parse(bytes: &[u8]) -> Result<Tap, TapError> {
    let mut tap = Tap::default();
    let mut numbers = BTreeSet::new();
    for (index, line) in lines(bytes).enumerate() {
        let refuse = |detail| TapError { line: index + 1, detail };
        if let Some(number) = version(line) {
            if !matches!(number, b"12" | b"13" | b"14") {
                return Err(refuse("expected version 13 or 14"));
            }
        } else if let Some(found) = plan(line) {
            let Plan { planned, skipped } = found.map_err(refuse)?;
            if tap.planned.replace(planned).is_some() {
                return Err(refuse("expected one plan, this is a second one"));
            }
            tap.skipped_all = skipped;
        } else if let Some(words) = line.strip_prefix(b"Bail out!") {
            tap.bailed_out = Some(shown(words));
            break;
        } else if let Some(point) = point(line, tap.points.len() as u64 + 1) {
            let point = point.map_err(refuse)?;
            if !numbers.insert(point.number) {
                return Err(refuse("expected a new number, this one was there before"));
            }
            if tap.points.len() == POINTS_MAX {
                return Err(refuse("expected at most 100000 points"));
            }
            tap.points.push(point);
        }
    }
    Ok(tap)
}

impl Tap {
    /// Every point that was run as an observation, and the plan as one where it is broken.
    pub fn evidence(&self) -> Vec<Evidence> {
        let mut evidence: Vec<_> = self.points.iter().filter_map(Point::evidence).collect();
        if let Some(reason) = &self.bailed_out {
            evidence.push(bad("TAP", format!("it bailed out: {reason}"), None));
        }
        let seen = self.points.len() as u64;
        match self.planned {
            None if self.bailed_out.is_none() => {
                evidence.push(bad(
                    "TAP plan",
                    format!("{seen} points and no plan"),
                    Some("a plan".into()),
                ));
            }
            Some(planned) if planned != seen && self.bailed_out.is_none() => {
                let expected = format!("{planned} points");
                evidence.push(bad("TAP plan", format!("{seen} points"), Some(expected)));
            }
            Some(planned) => evidence.extend(
                self.points.iter().find(|point| point.number > planned).map(|point| {
                    let seen = format!("point {}", point.number);
                    bad("TAP plan", seen, Some(format!("numbers up to {planned}")))
                }),
            ),
            None => {}
        }
        evidence
    }
}

impl Point {
    fn evidence(&self) -> Option<Evidence> {
        let subject = match self.description.is_empty() {
            true => format!("TAP point {}", self.number),
            false => self.description.clone(),
        };
        let (verdict, seen) = match (self.ok, self.directive) {
            (_, Some(Directive::Skip)) => return None,
            (true, _) => (Verdict::Pass, "ok"),
            (false, Some(Directive::Todo)) => (Verdict::Pass, "not ok, as its TODO expects"),
            (false, None) => (Verdict::Fail, "not ok"),
        };
        Some(Evidence { subject, seen: seen.to_owned(), expected: None, verdict })
    }
}

fn bad(subject: &str, seen: String, expected: Option<String>) -> Evidence {
    super::seen(false, subject, seen, expected)
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

fn version(line: &[u8]) -> Option<&[u8]> {
    line.strip_prefix(b"TAP version ").map(<[u8]>::trim_ascii)
}

/// How many points are promised, or why there are none.
struct Plan {
    planned: u64,
    skipped: Option<String>,
}

/// `1..N`, with an optional directive that says why there is nothing to do.
fn plan(line: &[u8]) -> Option<Result<Plan, &'static str>> {
    let rest = line.strip_prefix(b"1..")?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = rest.split_at(digits);
    let rest = rest.trim_ascii();
    let Some(planned) = decimal(number) else { return Some(Err("expected a number after 1..")) };
    match rest.strip_prefix(b"#") {
        None if rest.is_empty() => Some(Ok(Plan { planned, skipped: None })),
        None => Some(Err("expected nothing but a comment after the plan")),
        Some(words) => {
            let words = words.trim_ascii_start();
            let skips = words.len() >= 4 && words[..4].eq_ignore_ascii_case(b"skip");
            let skipped = (skips && planned == 0).then(|| shown(&words[4..]));
            Some(Ok(Plan { planned, skipped }))
        }
    }
}

fn point(line: &[u8], counted: u64) -> Option<Result<Point, &'static str>> {
    let (ok, rest) = match (line.strip_prefix(b"ok"), line.strip_prefix(b"not ok")) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => return None,
    };
    if !matches!(rest.first(), None | Some(b' ' | b'\t')) {
        return None;
    }
    let rest = rest.trim_ascii();
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, words) = rest.split_at(digits);
    let is_number = digits > 0 && matches!(words.first(), None | Some(b' ' | b'\t'));
    let (number, words) = match is_number {
        false => (counted, rest),
        true => match decimal(number) {
            Some(number) => (number, words.trim_ascii_start()),
            None => return Some(Err("expected a smaller number")),
        },
    };
    let words = words.strip_prefix(b"-").unwrap_or(words);
    let (words, directive) = directive(words);
    Some(Ok(Point { number, ok, description: shown(words), directive }))
}

/// Splits at the first unescaped `#` that is followed by a directive.
fn directive(words: &[u8]) -> (&[u8], Option<Directive>) {
    let mut escaped = false;
    for (at, &byte) in words.iter().enumerate() {
        match byte {
            b'\\' => escaped = !escaped,
            b'#' if !escaped => {
                let word = words[at + 1..].trim_ascii_start();
                let is = |name: &[u8]| {
                    word.len() >= name.len() && word[..name.len()].eq_ignore_ascii_case(name)
                };
                if is(b"skip") {
                    return (&words[..at], Some(Directive::Skip));
                }
                if is(b"todo") {
                    return (&words[..at], Some(Directive::Todo));
                }
            }
            _ => escaped = false,
        }
    }
    (words, None)
}

fn decimal(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn shown(words: &[u8]) -> String {
    escape(words.trim_ascii()).to_string().chars().take(TEXT_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, verdicts: &[(&str, Verdict)]) {
        let evidence = parse(text.as_bytes()).expect(text).evidence();
        let seen: Vec<_> =
            evidence.iter().map(|seen| (seen.subject.as_str(), seen.verdict)).collect();
        assert_eq!(seen, verdicts, "{text}");
    }

    #[test]
    fn points_and_plans() {
        use Verdict::{Fail, Pass};
        check("1..2\nok 1 - one\nnot ok 2 - two\n", &[("one", Pass), ("two", Fail)]);
        check("TAP version 14\nok\nok\n1..2\n", &[("TAP point 1", Pass), ("TAP point 2", Pass)]);
        check("1..3\nok 1\n", &[("TAP point 1", Pass), ("TAP plan", Fail)]);
        check("ok 1\n", &[("TAP point 1", Pass), ("TAP plan", Fail)]);
        check("1..1\nok 7 far\n", &[("far", Pass), ("TAP plan", Fail)]);
        check("", &[("TAP plan", Fail)]);
    }

    #[test]
    fn directives() {
        use Verdict::Pass;
        check("1..2\nok 1 a # SKIP no disk\nnot ok 2 b # TODO later\n", &[("b", Pass)]);
        check("1..1\nok 1 issue \\# SKIP is text\n", &[("issue \\\\# SKIP is text", Pass)]);
        let skipped = parse(b"1..0 # SKIP no network\n").expect("plan");
        assert_eq!(skipped.skipped_all.as_deref(), Some("no network"));
        assert_eq!(skipped.evidence(), []);
    }

    #[test]
    fn foreign_lines_subtests_and_yaml_are_passed_over() {
        let text = "TAP version 13\nstarting...\n1..1\n    not ok 1 - inner\n    1..1\nok 1 - outer\n  ---\n  not ok: 3\n  ...\nokay\n# done\n";
        check(text, &[("outer", Verdict::Pass)]);
    }

    #[test]
    fn giving_up_is_a_failure() {
        let evidence =
            parse(b"1..5\nok 1\nBail out! no database\nnot ok 2\n").expect("tap").evidence();
        assert_eq!(evidence.len(), 2);
        assert_eq!(evidence[1].seen, "it bailed out: no database");
    }

    #[test]
    fn what_breaks_the_protocol_is_refused_with_its_line() {
        for (text, expected) in [
            ("1..1\n1..1\n", "read TAP line 2: expected one plan, this is a second one"),
            (
                "1..2\nok 1\nok 1\n",
                "read TAP line 3: expected a new number, this one was there before",
            ),
            ("TAP version 99\n", "read TAP line 1: expected version 13 or 14"),
            ("1..x\n", "read TAP line 1: expected a number after 1.."),
            ("1..2 or so\n", "read TAP line 1: expected nothing but a comment after the plan"),
        ] {
            assert_eq!(parse(text.as_bytes()).expect_err(text).to_string(), expected);
        }
    }

    #[test]
    fn detection_needs_a_version_or_a_plan() {
        assert!(looks_like_tap(b"TAP version 13\n"));
        assert!(looks_like_tap(b"\n1..4\r\nok 1\n"));
        assert!(!looks_like_tap(b"ok then\n1..2\n"));
        assert!(!looks_like_tap(b""));
    }

    proptest! {
        #[test]
        fn never_panics_and_is_bounded(text in "(ok|not ok|1\\.\\.| |\n|[0-9]{1,25}|#|SKIP|todo|\\\\|-|TAP version 1|Bail out!|é){0,40}") {
            if let Ok(tap) = parse(text.as_bytes()) {
                prop_assert!(tap.evidence().len() <= text.lines().count() + 2);
            }
            looks_like_tap(text.as_bytes());
        }
    }
}
