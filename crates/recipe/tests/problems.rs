//! Bad recipes and what a person is told about them, all of it at once.

use std::path::{Path, PathBuf};

use umbra_recipe::{Overrides, Problems, check_file};

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recipes").join(name)
}

/// What is said about the recipe, with the directory's own path taken out.
fn problems(name: &str) -> (bool, Problems, String) {
    let path = directory("bad").join(name);
    let (recipe, problems) = check_file(&path, &Overrides::new());
    let base = format!("{}/", directory("bad").display());
    let rendered = problems.render(false).replace(&base, "");
    (recipe.is_some(), problems, rendered)
}

#[track_caller]
fn check(name: &str) {
    let (accepted, problems, rendered) = problems(&format!("{name}.yaml"));
    assert!(!accepted, "{name} was accepted");
    assert!(problems.has_errors());
    insta::with_settings!({omit_expression => true, prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!(name, rendered);
    });
}

macro_rules! bad {
    ($($test:ident: $name:literal,)*) => {
        $(#[test] fn $test() { check($name); })*

        /// A recipe without a test would be one whose answer nobody looks at.
        #[test]
        fn every_bad_recipe_is_tested() {
            let mut tested = vec![$(concat!($name, ".yaml").to_owned(),)*];
            let mut present: Vec<String> = std::fs::read_dir(directory("bad"))
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .filter(|name| name.ends_with(".yaml"))
                .collect();
            tested.sort();
            present.sort();
            assert_eq!(tested, present);
        }
    };
}

bad! {
    many_problems_are_all_shown: "many",
    positions_count_characters: "positions",
    windows_line_ends: "crlf",
    syntax: "syntax",
    tabs: "tabs",
    empty: "empty",
    list: "list",
    two_documents: "two-documents",
    billion_laughs: "laughs",
    what_yaml_can_do_beyond_data: "yaml-extras",
    variables: "vars",
    files: "files",
    extending_outside_the_directory: "derived",
    extending: "derived2",
    long_line: "long-line",
}

#[test]
fn a_missing_recipe_is_a_problem_like_any_other() {
    let (recipe, problems) = check_file(Path::new("no/such/umbra.yaml"), &Overrides::new());
    assert!(recipe.is_none());
    assert_eq!(problems.diagnostics[0].code, "unreadable");
    let expected = "error[unreadable]: cannot read `no/such/umbra.yaml`: there is no such file\n \
                    |\n = help: `umbra init` writes a recipe to start from\n\n";
    assert_eq!(problems.render(false), expected);
}

#[test]
fn colour_adds_nothing_but_colour() {
    let (_, problems, _) = problems("many.yaml");
    let coloured = problems.render(true);
    assert!(coloured.contains("\u{1b}["));
    let mut plain = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        rest = after.split_once('m').unwrap().1;
    }
    plain.push_str(rest);
    assert_eq!(plain, problems.render(false));
}

#[test]
fn problems_survive_json() {
    let (_, problems, _) = problems("many.yaml");
    let json = serde_json::to_string(&problems).unwrap();
    let read: Problems = serde_json::from_str(&json).unwrap();
    assert_eq!(read, problems);
    assert_eq!(read.render(false), problems.render(false));
}

/// The terminal is never handed what the recipe's author wrote.
#[test]
fn control_characters_are_shown_not_sent() {
    let text = "version: 1\nname: \"\\e[2J\"\nfrom: debian:bookworm\n\"\\e]0;x\\a\": 1\n";
    let problems = umbra_recipe::parse("a\u{1b}b", text, &Overrides::new()).unwrap_err();
    assert_eq!(problems.diagnostics.len(), 2);
    let rendered = problems.render(false);
    assert!(!rendered.contains('\u{1b}') && !rendered.contains('\u{7}'), "{rendered:?}");
    assert!(rendered.contains("\\u{1b}[2J"), "{rendered}");
}

/// Files made to be expensive are refused, or read, in little time and memory.
#[test]
fn hostile_sizes_end_in_problems() {
    let many = |piece: &str, count: usize| piece.repeat(count);
    let head = "version: 1\nname: a\nfrom: debian:sid\n";
    let steps = (0..500).map(|n| format!("- {{name: {n:050}x, run: x}}\n")).collect::<String>();
    let hostile = [
        many("[", 100_000),
        many("{a: ", 10_000),
        many("- ", 10_000),
        format!("a: &a {}\nb: [{}]", many("x", 500_000), many("*a, ", 1000)),
        (0..60_000).map(|n| format!("k{n}: 1\n")).collect(),
        format!(
            "{head}vars: {{v: {}}}\nenv: {{A: \"{}\"}}",
            many("y", 9_000),
            many("${{vars.v}}", 9_000)
        ),
        format!("{head}env: {{A: \"{}\"}}", many("${{ vars.none }}", 20_000)),
        format!(
            "{head}steps:\n{steps}tests:\n- {{name: t, run: x, after: [{}]}}",
            many("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, ", 9_000)
        ),
        many("x", 2 << 20),
    ];
    for text in hostile {
        let problems = umbra_recipe::parse("x", &text, &Overrides::new()).unwrap_err();
        assert!(problems.has_errors() && problems.diagnostics.len() <= Problems::SHOWN_MAX);
        assert!(problems.render(false).len() < 200_000);
    }
}
