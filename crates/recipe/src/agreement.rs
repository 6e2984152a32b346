//! The parser and the JSON Schema held against each other, on files and on mutations.

use std::path::Path;
use std::sync::LazyLock;

use jsonschema::Validator;
use proptest::prelude::*;
use umbra_document::diagnostic::Found;
use umbra_document::scalar::to_json;
use umbra_document::source::Source;
use umbra_document::yaml::{Node, Value};
use umbra_document::{check, laws, yaml};

use crate::formats;
use crate::load::NOUN;
use crate::{Overrides, schema, shapes};

fn validator() -> Validator {
    jsonschema::draft7::new(&schema()).unwrap()
}

/// What the structural check says, variables not replaced; `None` if this is not YAML, a
/// document the schema never sees.
fn structure(text: &str) -> Option<(Found, serde_json::Value)> {
    let mut found = Found::default();
    let mut root = yaml::parse(0, text, NOUN, &mut found).filter(|_| !found.has_errors())?;
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
    for text in corpus() {
        laws::near_misses(&text).for_each(|near| agree(&validator, &near));
    }
}

/// An egress is stricter than any pattern can tell: which addresses exist.
#[test]
fn checks_and_patterns_of_texts_agree() {
    laws::forms_agree(formats::ALL, &[&formats::EGRESS]);
}

static CORPUS: LazyLock<Vec<String>> = LazyLock::new(corpus);

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

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
