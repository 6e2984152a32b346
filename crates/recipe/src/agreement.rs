//! The parser and the JSON Schema held against each other, on files and on mutations.

use std::path::Path;
use std::sync::LazyLock;

use jsonschema::Validator;
use proptest::prelude::*;

use crate::diagnostic::Found;
use crate::formats::{self, Format};
use crate::scalar::to_json;
use crate::source::Source;
use crate::yaml::{Node, Value};
use crate::{Overrides, check, schema, shapes, yaml};

fn validator() -> Validator {
    jsonschema::draft7::new(&schema()).unwrap()
}

/// What the structural check says, variables not replaced; `None` if this is not YAML, a
/// document the schema never sees.
fn structure(text: &str) -> Option<(Found, serde_json::Value)> {
    let mut found = Found::default();
    let mut root = yaml::parse(0, text, &mut found).filter(|_| !found.has_errors())?;
    leave_references_open(&mut root);
    let derived = root.get("extends").is_some();
    check::check(&root, if derived { &shapes::DERIVED } else { &shapes::RECIPE }, &mut found);
    for insertion in root.get("insert").map(Node::list).unwrap_or_default() {
        for step in insertion.get("steps").map(Node::list).unwrap_or_default() {
            check::check(step, &shapes::STEP, &mut found);
        }
    }
    Some((found, to_json(&root)))
}

/// The schema cannot know what stands for a reference, and accepts it in every place.
fn leave_references_open(node: &mut Node) {
    match &mut node.value {
        Value::Scalar(scalar) => scalar.unresolved = scalar.text.contains("${{"),
        Value::List(items) => items.iter_mut().for_each(leave_references_open),
        Value::Map(entries) => {
            entries.iter_mut().for_each(|(_, node)| leave_references_open(node));
        }
    }
}

#[track_caller]
fn agree(validator: &Validator, text: &str) {
    let Some((found, json)) = structure(text) else { return };
    if validator.is_valid(&json) != found.has_errors() {
        return;
    }
    let schema: Vec<String> = validator.iter_errors(&json).map(|e| e.to_string()).collect();
    let source = Source { name: "x".to_owned(), text: text.to_owned() };
    let parser = found.into_problems(&[source]).render(false);
    panic!("{text}\nparser: {parser}\nschema: {schema:?}");
}

/// All example recipes.
fn corpus() -> Vec<String> {
    let recipes = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recipes");
    let mut texts = Vec::new();
    for directory in ["good", "bad"] {
        for entry in std::fs::read_dir(recipes.join(directory)).unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            texts.push(text);
        }
    }
    texts.push(crate::init_template("web", "bookworm"));
    texts
}

#[test]
fn parser_and_schema_accept_the_same_recipes() {
    let validator = validator();
    let corpus = corpus();
    let (good, bad): (Vec<_>, Vec<_>) = corpus
        .iter()
        .filter_map(|text| structure(text))
        .partition(|(found, _)| !found.has_errors());
    assert!(good.len() >= 5 && bad.len() >= 5, "{} good, {} bad", good.len(), bad.len());
    corpus.iter().for_each(|text| agree(&validator, text));
}

/// Every line of every recipe left out, and every value replaced: hundreds of near misses.
#[test]
fn parser_and_schema_refuse_the_same_near_misses() {
    let validator = validator();
    let values = ["", "12", "yes", "[a]", "{a: b}", "/x"];
    for text in corpus() {
        let lines: Vec<&str> = text.lines().collect();
        for index in 0..lines.len() {
            let mut fewer = lines.clone();
            fewer.remove(index);
            agree(&validator, &fewer.join("\n"));
            let Some((key, _)) = lines[index].split_once(": ") else { continue };
            for value in values {
                let mut changed = lines.clone();
                let line = format!("{key}: {value}");
                changed[index] = &line;
                agree(&validator, &changed.join("\n"));
            }
        }
    }
}

/// Texts that are near the forms: pieces of all of them in any order.
fn near_texts() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "",
        "a",
        "Z",
        "0",
        "7",
        "12",
        "644",
        "/",
        "..",
        ".",
        ":",
        "-",
        "_",
        "=",
        "+",
        "~",
        " ",
        "\n",
        "\t",
        "\u{0}",
        "\u{85}",
        "é",
        "😀",
        "ms",
        "s",
        "h",
        "M",
        "Mi",
        "root",
        "http://",
        "https://",
        "debian:",
        "oci:",
        "state:",
        "bookworm",
        "[",
        "]",
        "::1",
        "127.0.0.1",
        ":80",
        "99999",
        "$",
        "/../",
        "etc",
        "*",
    ]);
    prop::collection::vec(pieces, 0..6).prop_map(|pieces| pieces.concat())
}

/// A form whose check is wider than any pattern can be told: which addresses exist.
fn is_stricter_than_its_pattern(format: &Format) -> bool {
    std::ptr::eq(format, &formats::EGRESS)
}

static PATTERNS: LazyLock<Vec<Validator>> = LazyLock::new(|| {
    let schema = |format: &&Format| serde_json::json!({ "pattern": format.pattern });
    formats::ALL.iter().map(|f| jsonschema::draft7::new(&schema(f)).unwrap()).collect()
});

static CORPUS: LazyLock<Vec<String>> = LazyLock::new(corpus);

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn checks_and_patterns_of_texts_agree(text in near_texts()) {
        for (format, pattern) in formats::ALL.iter().zip(PATTERNS.iter()) {
            let matches = pattern.is_valid(&text.clone().into());
            let accepted = (format.check)(&text).is_ok();
            if is_stricter_than_its_pattern(format) {
                prop_assert!(matches || !accepted, "{} {:?}", format.noun, text);
            } else {
                prop_assert_eq!(matches, accepted, "{} {:?}", format.noun, text);
            }
        }
    }

    #[test]
    fn any_bytes_are_read_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let text = String::from_utf8_lossy(&bytes);
        let problems = crate::parse("x", &text, &Overrides::new());
        prop_assert!(problems.is_err());
    }

    #[test]
    fn yaml_like_text_is_read_to_an_end(text in "([a-z]{1,3}: |- |\\[|\\]|\\{|\\}|&a |\\*a|\"|'|\\||>|#|!t |\\$\\{\\{ vars\\.|\\}\\}|\n {0,4}|é){0,60}") {
        let _ = crate::parse("x", &text, &Overrides::new()).map_err(|p| p.render(true));
    }

    #[test]
    fn mutated_recipes_are_read_to_an_end(
        pick in any::<prop::sample::Index>(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0..6_u8, any::<char>()), 1..6),
    ) {
        let mut text: Vec<char> = pick.get(&CORPUS).chars().collect();
        for (at, action, with) in cuts {
            let at = at.index(text.len().max(1)).min(text.len());
            match action {
                0 => text.insert(at, with),
                1 => text.truncate(at),
                2 => { text.drain(at..(at + 7).min(text.len())); }
                3 => { let tail = text[at..(at + 40).min(text.len())].to_vec(); text.extend(tail); }
                _ => text.insert(at, ['\n', ':', ' ', '[', '&', '*', '"', '\t'][with as usize % 8]),
            }
        }
        let text: String = text.into_iter().collect();
        match crate::parse("x", &text, &Overrides::new()) {
            Err(problems) => prop_assert!(problems.has_errors() && !problems.render(true).is_empty()),
            Ok(recipe) => {
                let again = crate::parse("again", &recipe.canonical(), &Overrides::new());
                let again = again.map_err(|p| TestCaseError::fail(p.render(false)))?;
                prop_assert_eq!(again.canonical(), recipe.canonical());
            }
        }
    }

    /// Whatever texts a recipe holds, its canonical text holds them too.
    #[test]
    fn canonical_texts_hold_any_text(content in any::<String>(), word in "[ -~]{1,30}") {
        prop_assume!(!content.contains('\0') && !word.trim().is_empty());
        let json = |text: &str| serde_json::Value::from(text.replace("${{", "$${{"));
        let text = format!(
            "{{version: 1, name: a, from: 'debian:sid', env: {{A: {}}}, steps: [{{name: x, write: {{path: /x, content: {}}}}}, {{name: y, run: [{}]}}]}}",
            json(&word), json(&content), json(&word),
        );
        let recipe = crate::parse("x", &text, &Overrides::new());
        let recipe = recipe.map_err(|p| TestCaseError::fail(p.render(false)))?;
        let crate::Action::Write(write) = &recipe.steps[0].action else { unreachable!() };
        prop_assert_eq!(&write.content, &content);
        let again = crate::parse("again", &recipe.canonical(), &Overrides::new());
        let again = again.map_err(|p| TestCaseError::fail(p.render(false)))?;
        prop_assert_eq!(again, recipe);
    }
}
