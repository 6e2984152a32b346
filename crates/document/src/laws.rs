//! What holds for every kind of document: check and schema accept the same.
//!
//! A schema and a check made from one table can still disagree in what the table's words
//! mean. Tests of a kind of document hold them against each other on good texts, on bad
//! ones and on everything near them.

use std::collections::BTreeMap;
use std::path::Path;

use jsonschema::Validator;
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRunner};

use serde_json::Value as Json;

use crate::formats::Format;
use crate::shape::{Shape, Ty};

/// Panics unless the check and the pattern of every form say the same about texts near the
/// forms. The check of a form in `stricter` may refuse what its pattern cannot tell.
pub fn forms_agree(forms: &[&Format], stricter: &[&Format]) {
    let patterns: Vec<Validator> = forms.iter().map(|form| pattern(form)).collect();
    let config = ProptestConfig { cases: 500, failure_persistence: None, ..Default::default() };
    let agree = |text: String| {
        for (form, pattern) in forms.iter().zip(&patterns) {
            let matches = pattern.is_valid(&text.clone().into());
            let accepted = (form.check)(&text).is_ok();
            let excused = stricter.iter().any(|other| std::ptr::eq(*other, *form)) && !accepted;
            if matches != accepted && !excused {
                let reason = format!("{} {text:?}: the pattern says {matches}", form.noun);
                return Err(TestCaseError::fail(reason));
            }
        }
        Ok(())
    };
    if let Err(error) = TestRunner::new(config).run(&near_texts(), agree) {
        panic!("{error}");
    }
    for form in forms {
        assert_eq!((form.check)(form.example), Ok(()), "the example of {}", form.noun);
    }
}

fn pattern(form: &Format) -> Validator {
    let schema = serde_json::json!({ "pattern": form.pattern });
    jsonschema::draft7::new(&schema).unwrap_or_else(|error| panic!("{}: {error}", form.noun))
}

/// The text with each line left out, and with each value replaced by others: near misses.
pub fn near_misses(text: &str) -> impl Iterator<Item = String> + '_ {
    let lines: Vec<&str> = text.lines().collect();
    (0..lines.len()).flat_map(move |index| {
        let with = |line: Option<&str>| {
            let (before, after) = (&lines[..index], &lines[index + 1..]);
            let lines = before.iter().copied().chain(line).chain(after.iter().copied());
            lines.collect::<Vec<_>>().join("\n")
        };
        let replaced = lines[index].split_once(": ").into_iter().flat_map(|(key, _)| {
            VALUES.iter().map(|value| with(Some(&format!("{key}: {value}")))).collect::<Vec<_>>()
        });
        std::iter::once(with(None)).chain(replaced).collect::<Vec<_>>()
    })
}

const VALUES: [&str; 8] = ["", "12", "-1", "1.5", "yes", "[a]", "{a: b}", "/x"];

/// Panics if two shapes below `roots` have one noun: they would share a definition of the
/// schema, and one of them be lost. Returns how many shapes there are.
pub fn nouns_are_unique(roots: &[&'static Shape]) -> usize {
    fn visit(ty: &'static Ty, seen: &mut BTreeMap<&'static str, *const Shape>) {
        match ty {
            Ty::Object(shape) => {
                let pointer: *const Shape = *shape;
                match seen.insert(shape.noun, pointer) {
                    Some(before) => assert_eq!(before, pointer, "{}", shape.noun),
                    None => shape.fields.iter().for_each(|field| visit(&field.ty, seen)),
                }
            }
            Ty::List { item: ty, .. } | Ty::MapOf { value: ty, .. } | Ty::Elsewhere(ty) => {
                visit(ty, seen);
            }
            Ty::Either(types) => types.iter().for_each(|ty| visit(ty, seen)),
            _ => {}
        }
    }
    let mut seen = BTreeMap::new();
    let fields = roots.iter().flat_map(|shape| shape.fields);
    fields.for_each(|field| visit(&field.ty, &mut seen));
    seen.len()
}

/// Panics unless the file at `path` holds this schema; `UMBRA_BLESS=1` writes it anew.
pub fn is_published(path: &Path, schema: &Json) {
    let current = format!("{schema:#}\n");
    if std::env::var_os("UMBRA_BLESS").is_some() {
        std::fs::write(path, &current)
            .unwrap_or_else(|error| panic!("write {}: {error}", path.display()));
    }
    let published = std::fs::read_to_string(path).unwrap_or_default();
    assert!(published == current, "{} is stale; run with UMBRA_BLESS=1", path.display());
}

/// Texts that are near the forms: pieces of all of them in any order.
fn near_texts() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(PIECES), 0..6).prop_map(|pieces| pieces.concat())
}

#[rustfmt::skip]
const PIECES: &[&str] = &[
    "", "a", "Z", "0", "7", "12", "644", "/", "..", ".", ":", "-", "_", "=", "+", "~", " ", "\n",
    "\t", "\u{0}", "\u{85}", "é", "😀", "ms", "s", "h", "M", "Mi", "root", "http://", "https://",
    "debian:", "oci:", "state:", "bookworm", "[", "]", "::1", "127.0.0.1", ":80", "99999", "$",
    "/../", "etc", "*", "%", "!", "tcp://", ".service",
];
