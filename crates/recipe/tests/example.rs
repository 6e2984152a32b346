//! The example image's recipes: accepted, complete, and what the demonstration relies on.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use umbra_recipe::{Action, Overrides, Recipe, base_dir, check_file};
use umbra_state::TestKind;
use umbra_suite::spec::Check;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/web").join(name)
}

#[track_caller]
fn load(name: &str) -> Recipe {
    let (recipe, problems) = check_file(&example(name), &Overrides::new());
    assert!(problems.is_empty(), "{}", problems.render(false));
    recipe.expect("no problem, so a recipe")
}

#[test]
fn the_example_tests_all_four_kinds_in_every_way() {
    let recipe = load("umbra.yaml");
    let suite = recipe.suite(base_dir(&example("umbra.yaml"))).unwrap();
    assert_eq!(suite.len(), recipe.tests.len());
    let kinds: BTreeSet<TestKind> = suite.iter().map(|test| test.kind).collect();
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), TestKind::ALL);
    let words: BTreeSet<&str> = suite.iter().map(|test| test.check.word()).collect();
    assert!(["run", "http", "goss", "load", "security"].iter().all(|word| words.contains(word)));
    let load = suite.iter().find_map(|test| match &test.check {
        Check::Load(load) => Some(load),
        _ => None,
    });
    assert_eq!(load.unwrap().problems(), Vec::<String>::new());
}

#[test]
fn every_file_a_step_reads_is_there() {
    let recipe = load("umbra.yaml");
    let base = example("umbra.yaml");
    let copied: usize =
        recipe.steps.iter().map(|step| step.inputs(base_dir(&base)).unwrap().files.len()).sum();
    assert!(copied >= 6, "{copied}");
}

/// The fault comes before the last steps, so that there is something to throw away.
#[test]
fn the_broken_example_differs_by_one_step() {
    let (good, broken) = (load("umbra.yaml"), load("broken.yaml"));
    let fault = broken.step_index("tune limits").unwrap();
    assert!(matches!(broken.steps[fault].action, Action::Write(_)));
    assert!(fault + 2 < broken.steps.len());
    let mut steps = broken.steps.clone();
    steps.remove(fault);
    assert_eq!(steps, good.steps);
    assert_eq!(broken.tests, good.tests);
    assert_ne!(broken.name, good.name);
}
