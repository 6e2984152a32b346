//! What a step's cached result depends on, and what it does not.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use umbra_recipe::{Action, InputKind, InputsError, Overrides, Recipe, Step, parse};

#[track_caller]
fn recipe(steps: &str) -> Recipe {
    let text = format!("version: 1\nname: a\nfrom: debian:bookworm\nsteps: [{steps}]\n");
    match parse("x", &text, &Overrides::new()) {
        Ok(recipe) => recipe,
        Err(problems) => panic!("{}", problems.render(false)),
    }
}

#[track_caller]
fn step(step: &str) -> Step {
    recipe(step).steps.remove(0)
}

#[test]
fn what_can_alter_the_result_alters_the_key() {
    let base = "name: a, run: make, env: {A: b}, user: www-data, workdir: /srv, network: true, cache: [/c], secrets: [{id: k, env: K}]";
    let changed = [
        ("run: make", "run: make all"),
        ("run: make", "run: [make]"),
        ("A: b", "A: c"),
        ("www-data", "root"),
        ("/srv", "/opt"),
        ("network: true", "network: false"),
        ("[/c]", "[/d]"),
        ("id: k", "id: l"),
        ("run: make", "continue_on_error: true, run: make"),
    ];
    let digest = step(&format!("{{{base}}}")).definition_digest();
    for (from, to) in changed {
        let other = step(&format!("{{{}}}", base.replace(from, to)));
        assert_ne!(other.definition_digest(), digest, "{from} -> {to}");
    }
    let unchanged =
        [("name: a", "name: b"), ("name: a", "name: a, timeout: 3s"), ("env: K", "env: L")];
    for (from, to) in unchanged {
        let other = step(&format!("{{{}}}", base.replace(from, to)));
        assert_eq!(other.definition_digest(), digest, "{from} -> {to}");
    }
}

#[test]
fn every_kind_of_step_has_its_own_key() {
    let steps = recipe(
        "{name: a, run: x}, {name: b, run: [x]}, {name: c, packages: [x]}, \
         {name: d, packages: {names: [x], recommends: true}}, {name: e, packages: {names: [x], update: false}}, \
         {name: f, write: {path: /x, content: x}}, {name: g, write: {path: /x, content: x, mode: \"600\"}}, \
         {name: h, copy: {src: x, dest: /x}}, {name: i, copy: {src: x, dest: /x, owner: \"1:1\"}}",
    )
    .steps;
    let mut digests: Vec<_> = steps.iter().map(Step::definition_digest).collect();
    digests.sort();
    digests.dedup();
    assert_eq!(digests.len(), steps.len());
}

/// Cached steps of today must be found tomorrow: whoever alters this, alters the prefix.
#[test]
fn keys_do_not_move() {
    let step = step("{name: a, run: make, env: {B: c, A: b}, secrets: [{id: k, env: K}]}");
    let bytes = String::from_utf8(step.definition_bytes()).unwrap();
    let expected = concat!(
        "umbra step 1\n",
        r#"{"action":{"shell":"make"},"env":{"A":"b","B":"c"},"workdir":null,"user":null,"#,
        r#""network":true,"cache":[],"secrets":[["k","/run/secrets/k"]],"continue_on_error":false}"#,
    );
    assert_eq!(bytes, expected);
}

fn copy_step(mode: &str) -> Step {
    step(&format!("{{name: a, copy: {{src: site, dest: /srv{mode}}}}}"))
}

fn site(root: &Path) -> std::io::Result<()> {
    fs::create_dir_all(root.join("site/sub"))?;
    fs::write(root.join("site/b.txt"), "bee")?;
    fs::write(root.join("site/a.txt"), "ay")?;
    fs::write(root.join("site/sub/c"), "")?;
    symlink("../../outside", root.join("site/link"))
}

#[test]
fn inputs_are_listed_in_order_and_links_stay_links() {
    let base = tempfile::tempdir().unwrap();
    site(base.path()).unwrap();
    let inputs = copy_step("").inputs(base.path()).unwrap();
    let paths: Vec<&str> = inputs.files.iter().map(|input| input.path.to_str().unwrap()).collect();
    assert_eq!(paths, ["", "a.txt", "b.txt", "link", "sub", "sub/c"]);
    assert!(matches!(&inputs.files[1].kind, InputKind::File { size: 2, .. }));
    let target = Path::new("../../outside").to_owned();
    assert_eq!(inputs.files[3].kind, InputKind::Symlink { target });
    assert_eq!(inputs.files[4].kind, InputKind::Directory);
}

#[test]
fn inputs_change_with_content_names_modes_and_links() {
    let base = tempfile::tempdir().unwrap();
    site(base.path()).unwrap();
    let step = copy_step("");
    let fixed_mode = copy_step(", mode: \"0644\"");
    let mut seen = vec![step.inputs(base.path()).unwrap().digest];
    let with_mode = fixed_mode.inputs(base.path()).unwrap().digest;
    assert_eq!(step.inputs(base.path()).unwrap().digest, seen[0]);

    let file = base.path().join("site/a.txt");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    seen.push(step.inputs(base.path()).unwrap().digest);
    assert_eq!(fixed_mode.inputs(base.path()).unwrap().digest, with_mode);
    fs::write(&file, "yo").unwrap();
    seen.push(step.inputs(base.path()).unwrap().digest);
    fs::rename(&file, base.path().join("site/aa.txt")).unwrap();
    seen.push(step.inputs(base.path()).unwrap().digest);
    fs::remove_file(base.path().join("site/link")).unwrap();
    symlink("elsewhere", base.path().join("site/link")).unwrap();
    seen.push(step.inputs(base.path()).unwrap().digest);
    fs::create_dir(base.path().join("site/empty")).unwrap();
    seen.push(step.inputs(base.path()).unwrap().digest);
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), count);
}

#[test]
fn a_single_file_or_link_can_be_the_source() {
    let base = tempfile::tempdir().unwrap();
    fs::write(base.path().join("site"), "x").unwrap();
    let inputs = copy_step("").inputs(base.path()).unwrap();
    assert!(matches!(inputs.files[..], [_]) && inputs.files[0].path == Path::new(""));
    fs::remove_file(base.path().join("site")).unwrap();
    symlink("/etc/passwd", base.path().join("site")).unwrap();
    let inputs = copy_step("").inputs(base.path()).unwrap();
    assert!(
        matches!(&inputs.files[0].kind, InputKind::Symlink { target } if target == Path::new("/etc/passwd"))
    );
}

#[test]
fn nothing_is_read_from_outside() {
    let base = tempfile::tempdir().unwrap();
    symlink("/etc", base.path().join("out")).unwrap();
    let through_link = step("{name: a, copy: {src: out/passwd, dest: /x}}");
    assert!(matches!(through_link.inputs(base.path()), Err(InputsError::Outside { .. })));
    // No recipe says this, but a step is a plain value that anybody can make.
    for source in ["../x", "/etc/passwd", "a/../../x"] {
        let mut step = copy_step("");
        let Action::Copy(copy) = &mut step.action else { panic!("no copy") };
        copy.src = source.to_owned();
        assert!(matches!(step.inputs(base.path()), Err(InputsError::Outside { .. })), "{source}");
    }
}

#[test]
fn missing_and_special_files_are_errors() {
    let base = tempfile::tempdir().unwrap();
    assert!(matches!(copy_step("").inputs(base.path()), Err(InputsError::Open { .. })));
    fs::create_dir(base.path().join("site")).unwrap();
    let path = base.path().join("site/pipe");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    assert!(matches!(copy_step("").inputs(base.path()), Err(InputsError::Special { .. })));
}

#[test]
fn steps_that_read_nothing_have_no_inputs() {
    let base = tempfile::tempdir().unwrap();
    let run = step("{name: a, run: x}").inputs(base.path()).unwrap();
    assert!(run.files.is_empty());
    assert_eq!(run.digest, step("{name: b, packages: [y]}").inputs(base.path()).unwrap().digest);
}
