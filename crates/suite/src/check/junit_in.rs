//! Reads the JUnit XML that a test command wrote: its cases as observations.

use umbra_state::escape::escape;
use umbra_state::{Evidence, Verdict};

use super::xml::{Item, Walk, XmlError};

const CASES_MAX: usize = 10_000;
const TEXT_CHARS_MAX: usize = 2_000;

/// One `testcase`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// Class and name, escaped.
    pub name: String,
    /// `Pass`; `Fail` for a failure or an error.
    pub verdict: Verdict,
    /// Whether it was not run at all.
    pub skipped: bool,
    /// What was said about it, escaped and cut.
    pub message: String,
}

impl Case {
    /// The case as an observation; a skipped one is none.
    pub fn evidence(&self) -> Option<Evidence> {
        let seen = match (self.verdict, self.message.is_empty()) {
            (Verdict::Pass, _) => "passed".to_owned(),
            (_, true) => "failed".to_owned(),
            (_, false) => self.message.clone(),
        };
        let evidence =
            Evidence { subject: self.name.clone(), seen, expected: None, verdict: self.verdict };
        (!self.skipped).then_some(evidence)
    }
}

/// All cases of a document, in its order.
pub fn parse(bytes: &[u8]) -> Result<Vec<Case>, XmlError> {
    let mut walk = Walk::new(bytes)?;
    let mut cases: Vec<Case> = Vec::new();
    let mut current: Option<Case> = None;
    let mut telling = false;
    let mut depth = 0usize;
    while let Some(item) = walk.next()? {
        match &item {
            Item::Open { name, .. } => {
                depth += 1;
                if depth == 1 && name != "testsuites" && name != "testsuite" {
                    return Err(walk.unexpected("its root is no testsuites or testsuite"));
                }
                if name == "testcase" {
                    if current.is_some() {
                        return Err(walk.unexpected("a testcase stands inside another"));
                    }
                    current = Some(started(&item));
                } else if let Some(case) = &mut current {
                    telling = note(case, name, &item) || telling;
                }
            }
            Item::Close { name } => {
                depth -= 1;
                if name == "failure" || name == "error" {
                    telling = false;
                }
                if name == "testcase" {
                    cases.extend(current.take());
                    if cases.len() > CASES_MAX {
                        return Err(walk.unexpected(format!("more than {CASES_MAX} cases")));
                    }
                }
            }
            Item::Text(text) => {
                if let (true, Some(case)) = (telling, &mut current) {
                    append(&mut case.message, text);
                }
            }
        }
    }
    Ok(cases)
}

fn started(item: &Item) -> Case {
    let part = |name| item.attribute(name).unwrap_or_default();
    let (class, name) = (part("classname"), part("name"));
    let name = if class.is_empty() { name.to_owned() } else { format!("{class}: {name}") };
    let name = cut(&escape(name.as_bytes()).to_string());
    Case { name, verdict: Verdict::Pass, skipped: false, message: String::new() }
}

/// Takes in a child of a case; true when its text tells why the case failed.
fn note(case: &mut Case, name: &str, item: &Item) -> bool {
    match name {
        "failure" | "error" => {
            case.verdict = Verdict::Fail;
            append(&mut case.message, item.attribute("message").unwrap_or_default());
            true
        }
        "skipped" => {
            case.skipped = true;
            false
        }
        _ => false,
    }
}

fn append(message: &mut String, text: &str) {
    let text = escape(text.trim().as_bytes()).to_string();
    if !text.is_empty() && message.len() < TEXT_CHARS_MAX {
        if !message.is_empty() {
            message.push_str(": ");
        }
        message.push_str(&cut(&text));
    }
}

fn cut(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cases_become_observations() {
        let xml = br#"<?xml version="1.0"?>
          <testsuites><testsuite name="s" tests="4">
            <testcase classname="api" name="get" time="0.1"/>
            <testcase name="put"><failure message="500">body
            was empty</failure></testcase>
            <testcase name="crash"><error type="panic"/></testcase>
            <testcase name="later"><skipped/></testcase>
          </testsuite></testsuites>"#;
        let cases = parse(xml).expect("parse");
        let seen: Vec<_> = cases.iter().filter_map(Case::evidence).collect();
        assert_eq!(seen.len(), 3);
        assert_eq!((seen[0].subject.as_str(), seen[0].verdict), ("api: get", Verdict::Pass));
        assert!(seen[1].seen.starts_with("500: body\\u{a}"), "{}", seen[1].seen);
        assert_eq!(seen[2].verdict, Verdict::Fail);
        assert!(cases[3].skipped);
    }

    #[test]
    fn other_documents_are_refused() {
        for xml in ["<html/>", "<testsuite><testcase><testcase/></testcase></testsuite>", "x"] {
            assert!(parse(xml.as_bytes()).is_err(), "{xml}");
        }
        assert_eq!(parse(b"<testsuite/>"), Ok(Vec::new()));
    }

    proptest! {
        #[test]
        fn never_panics(parts in proptest::collection::vec(
            proptest::sample::select(vec![
                "<testsuite>", "</testsuite>", "<testcase name='a'>", "</testcase>", "<failure>",
                "</failure>", "<error/>", "<skipped/>", "text", "&amp;", "&#0;", "<![CDATA[", "]]>",
            ]), 0..20)) {
            let xml = parts.concat();
            let cases = parse(xml.as_bytes()).map(|cases| cases.len()).unwrap_or(0);
            prop_assert!(cases <= parts.len());
        }
    }
}
