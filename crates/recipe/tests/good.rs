//! Good recipes: what they mean, and that their canonical text means the same.

use std::path::{Path, PathBuf};
use std::time::Duration;

use umbra_recipe::test::Check;
use umbra_recipe::{Action, CommandLine, Overrides, Recipe, Severity, check_file, load, parse};

fn good(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recipes/good").join(name)
}

#[track_caller]
fn parse_good(name: &str, overrides: &Overrides) -> Recipe {
    let text = std::fs::read_to_string(good(name)).expect(name);
    match parse(name, &text, overrides) {
        Ok(recipe) => recipe,
        Err(problems) => panic!("{}", problems.render(false)),
    }
}

#[test]
fn everything_means_what_it_says() {
    let recipe = parse_good("everything.yaml", &Overrides::new());
    insta::assert_snapshot!("everything", recipe.canonical());
}

#[test]
fn canonical_texts_read_back() {
    for name in ["least.yaml", "everything.yaml", "aliases.yaml", "least-steps.yaml"] {
        let recipe = parse_good(name, &Overrides::new());
        let canonical = recipe.canonical();
        let again = match parse("canonical", &canonical, &Overrides::new()) {
            Ok(again) => again,
            Err(problems) => panic!("{name}: {}", problems.render(false)),
        };
        assert_eq!(again, recipe, "{name}");
        assert_eq!(again.canonical(), canonical, "{name}");
    }
}

#[test]
fn settings_are_inherited() {
    let recipe = parse_good("everything.yaml", &Overrides::new());
    let setup = &recipe.steps[recipe.step_index("setup").unwrap()];
    assert_eq!(setup.env["PORT"], "8080");
    assert_eq!(setup.env["VERSION"], "1.10");
    assert_eq!(setup.workdir.as_deref(), Some("/root"));
    assert_eq!(setup.timeout, Duration::from_secs(20 * 60));
    let argv = &recipe.steps[recipe.step_index("argv").unwrap()];
    assert_eq!(argv.workdir.as_deref(), Some("/srv"));
    assert_eq!(recipe.steps[0].timeout, Duration::from_secs(90));
    let site = &recipe.steps[recipe.step_index("site").unwrap()];
    assert!(site.env.is_empty() && site.network.is_none() && site.workdir.is_none());
}

#[test]
fn services_exist_from_their_step_on() {
    let recipe = parse_good("everything.yaml", &Overrides::new());
    let at = |step: &str| {
        let index = recipe.step_index(step).unwrap();
        recipe.services_after(index).map(|service| service.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(at("packages"), ["web", "ticks", "db"]);
    assert_eq!(at("setup"), ["app", "web", "ticks", "db"]);
}

#[test]
fn overrides_take_the_place_of_variables() {
    let overrides = Overrides::from([("port".to_owned(), "9090".to_owned())]);
    let recipe = parse_good("everything.yaml", &overrides);
    let Action::Write(write) = &recipe.steps[3].action else { panic!("no write") };
    assert_eq!(
        write.content,
        "port = 9090\ngreeting = Grüße, 世界 😀\nliteral = ${{ vars.port }}\n"
    );
    let strange = Overrides::from([("prot".to_owned(), "1".to_owned())]);
    let text = std::fs::read_to_string(good("everything.yaml")).unwrap();
    let problems = parse("x", &text, &strange).unwrap_err();
    assert_eq!(problems.diagnostics[0].code, "unknown-var");
    assert_eq!(problems.diagnostics[0].help.as_deref(), Some("did you mean `port`?"));
}

#[test]
fn steps_are_put_between_those_of_another_recipe() {
    let recipe = load(&good("derived.yaml"), &Overrides::new()).unwrap();
    let names: Vec<&str> = recipe.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, ["first", "between", "last"]);
    assert_eq!(recipe.name, "derived");
    let echo = Action::Run(CommandLine::Shell("echo other".to_owned()));
    assert!(recipe.steps[..2].iter().all(|step| step.action == echo));
}

#[test]
fn warnings_do_not_refuse() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("umbra.yaml");
    std::fs::write(&path, "version: 1\nname: a\nfrom: debian:sid\nvars: {spare: 1}\n").unwrap();
    let (recipe, problems) = check_file(&path, &Overrides::new());
    assert!(recipe.is_some());
    assert!(!problems.has_errors());
    assert_eq!(problems.diagnostics[0].severity, Severity::Warning);
    assert_eq!(problems.diagnostics[0].code, "unused-var");
}

#[test]
fn the_template_is_a_good_recipe() {
    for (name, distro) in
        [("web", "debian:bookworm"), ("x-1", "trixie"), ("NOT a name", "no/suite")]
    {
        let text = umbra_recipe::init_template(name, distro);
        assert!(text.starts_with("# yaml-language-server: $schema="));
        let recipe = parse("umbra.yaml", &text, &Overrides::new());
        let recipe = recipe.unwrap_or_else(|problems| panic!("{}", problems.render(false)));
        assert!(recipe.tests.iter().any(|test| matches!(test.check, Check::Load(_))));
    }
}

#[test]
fn tests_become_ready_to_run() {
    let recipe = parse_good("everything.yaml", &Overrides::new());
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("goss.yaml"), "file:\n  /etc:\n    exists: true\n")
        .unwrap();
    let suite = recipe.suite(directory.path()).unwrap();
    insta::assert_debug_snapshot!("suite", suite);
    std::fs::remove_file(directory.path().join("goss.yaml")).unwrap();
    let error = recipe.suite(directory.path()).unwrap_err();
    assert_eq!(error.name, "goss");
}
