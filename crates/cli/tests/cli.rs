//! The real program: what it prints and how it ends, without a daemon.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};

fn umbra(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_umbra"))
        .args(args)
        .current_dir(dir)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("UMBRA_STATE_DIR", dir.join("state"))
        .output()
        .expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("the program prints UTF-8")
}

#[track_caller]
fn check(output: &Output, code: i32) -> (String, String) {
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "stdout: {out}\nstderr: {err}");
    assert!(!out.contains('\x1b') && !err.contains('\x1b'), "no colour into pipes: {err:?}");
    (out, err)
}

#[test]
fn help_is_as_published() {
    let dir = tempfile::tempdir().unwrap();
    let (out, _) = check(&umbra(dir.path(), &["--help"]), 0);
    insta::assert_snapshot!("help", out);
    let (out, _) = check(&umbra(dir.path(), &["build", "--help"]), 0);
    insta::assert_snapshot!("help_build", out);
    let (imports, _) = check(&umbra(dir.path(), &["drift", "import", "--help"]), 0);
    insta::assert_snapshot!("help_drift_import", imports);
    let (add, _) = check(&umbra(dir.path(), &["primary", "add", "--help"]), 0);
    insta::assert_snapshot!("help_primary_add", add);
    let (gateway, _) = check(&umbra(dir.path(), &["gateway", "--help"]), 0);
    insta::assert_snapshot!("help_gateway", gateway);
    let (mirror, _) = check(&umbra(dir.path(), &["mirror", "start", "--help"]), 0);
    insta::assert_snapshot!("help_mirror_start", mirror);
    let (tap, _) = check(&umbra(dir.path(), &["tap", "--help"]), 0);
    insta::assert_snapshot!("help_tap", tap);
    let (rollout, _) = check(&umbra(dir.path(), &["rollout", "--help"]), 0);
    insta::assert_snapshot!("help_rollout", rollout);
    let (start, _) = check(&umbra(dir.path(), &["rollout", "start", "--help"]), 0);
    insta::assert_snapshot!("help_rollout_start", start);
    assert!(!out.contains("launcher"), "the launcher is nobody's command");
}

#[test]
fn every_shell_gets_completions() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (out, _) = check(&umbra(dir.path(), &["completions", shell]), 0);
        assert!(out.contains("umbra") && out.contains("shadow"), "{shell}");
    }
    // What bash gets, bash accepts.
    let (script, _) = check(&umbra(dir.path(), &["completions", "bash"]), 0);
    let file = dir.path().join("umbra.bash");
    std::fs::write(&file, script).unwrap();
    let parsed = Command::new("bash").arg("-n").arg(&file).output().expect("bash runs");
    assert!(parsed.status.success(), "{}", text(&parsed.stderr));
}

#[test]
fn without_a_daemon_every_command_says_how_to_start_one() {
    let dir = tempfile::tempdir().unwrap();
    for args in [
        &["ls"][..],
        &["log", "web"],
        &["diff", "a", "b"],
        &["shell", "web"],
        &["exec", "web", "--", "true"],
        &["shadow", "ls"],
        &["gc"],
        &["fsck"],
        &["health"],
        &["follow"],
        &["cancel", "1"],
        &["export", "web", "-o", "out"],
    ] {
        let (out, err) = check(&umbra(dir.path(), args), 3);
        assert_eq!(out, "", "{args:?}");
        assert!(err.starts_with("error: failed to reach the daemon at "), "{args:?}: {err}");
        assert!(err.contains("umbra serve"), "{args:?}: {err}");
    }
    let (out, _) = check(&umbra(dir.path(), &["version"]), 0);
    assert!(out.contains("no daemon runs"), "{out}");
    let (out, _) = check(&umbra(dir.path(), &["version", "--json"]), 0);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["daemon"], serde_json::Value::Null);
}

#[test]
fn nonsense_is_a_usage_error() {
    let dir = tempfile::tempdir().unwrap();
    for args in [
        &["fly"][..],
        &["build", "--var", "novalue"],
        &["diff", "a", "b", "--stat", "--content"],
        &["exec", "web"],
        &["shadow", "create", "--from", "x", "--ttl", "soon"],
        &[],
    ] {
        let (out, err) = check(&umbra(dir.path(), args), 2);
        assert_eq!(out, "", "{args:?}");
        assert!(!err.is_empty(), "{args:?}");
    }
}

#[test]
fn a_bad_recipe_is_shown_before_any_daemon_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let recipe =
        "version: 1\nname: web\nfrom: {dir: .}\nstepz: []\nsteps:\n  - name: a\n    run: true\n";
    std::fs::write(dir.path().join("umbra.yaml"), recipe).unwrap();
    let (out, err) = check(&umbra(dir.path(), &["build"]), 2);
    assert_eq!(out, "");
    assert!(err.contains("stepz") && err.contains("umbra.yaml"), "{err}");
    assert!(err.contains("error: failed to accept the recipe"), "{err}");
    assert!(!err.contains("daemon"), "{err}");
    let (out, _) = check(&umbra(dir.path(), &["build", "--json"]), 2);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(json["diagnostics"].as_array().is_some_and(|all| !all.is_empty()), "{json}");
    let (_, err) = check(&umbra(dir.path(), &["build", "-f", "none.yaml"]), 2);
    assert!(err.contains("umbra init"), "{err}");
}

#[test]
fn init_writes_a_recipe_that_is_good_and_never_over_another() {
    let dir = tempfile::tempdir().unwrap();
    check(&umbra(dir.path(), &["init", "My Shop"]), 0);
    let text = std::fs::read_to_string(dir.path().join("My Shop/umbra.yaml")).unwrap();
    assert!(text.contains("my-shop"), "{text}");
    // Good: the next thing that is missing is the daemon.
    let (_, err) = check(&umbra(dir.path(), &["build", "-f", "My Shop/umbra.yaml"]), 3);
    assert!(err.contains("umbra serve"), "{err}");
    let (_, err) =
        check(&umbra(dir.path(), &["build", "-f", "My Shop/umbra.yaml", "--until", "nothing"]), 2);
    assert!(err.contains("its steps are"), "{err}");
    let (_, err) = check(&umbra(dir.path(), &["init", "My Shop"]), 2);
    assert!(err.contains("there is one already"), "{err}");
}

#[test]
fn the_schema_is_json() {
    let dir = tempfile::tempdir().unwrap();
    let (out, _) = check(&umbra(dir.path(), &["schema"]), 0);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(json.is_object());
}

#[test]
fn a_report_that_could_not_be_written_is_refused_first() {
    let dir = tempfile::tempdir().unwrap();
    check(&umbra(dir.path(), &["init", "."]), 0);
    let (_, err) = check(&umbra(dir.path(), &["build", "--junit", "none/junit.xml"]), 2);
    assert!(err.contains("write a report to"), "{err}");
}

#[test]
fn another_tools_configuration_is_imported() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("aide.conf");
    std::fs::write(&file, "Own = p+i\n/etc/ Own\n!/etc/\\b\n").unwrap();
    let import = ["drift", "import", "--from", "aide", "aide.conf"];
    let (out, err) = check(&umbra(dir.path(), &import), 0);
    insta::assert_snapshot!("import", format!("{out}---\n{err}"));
    // What is written is what is printed, and never over another.
    let written = dir.path().join("monitoring_config.yml");
    let to_file = [&import[..], &["-o", "monitoring_config.yml"]].concat();
    let (none, err) = check(&umbra(dir.path(), &to_file), 0);
    assert_eq!((none.as_str(), std::fs::read_to_string(&written).unwrap()), ("", out));
    assert!(err.contains("umbra primary add NAME --config monitoring_config.yml"), "{err}");
    let (_, err) = check(&umbra(dir.path(), &to_file), 2);
    assert!(err.contains("there is one already"), "{err}");
    check(&umbra(dir.path(), &[&to_file[..], &["--force"]].concat()), 0);
}

#[test]
fn what_cannot_be_imported_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let import = |tool: &str, text: &str| {
        std::fs::write(dir.path().join("x"), text).unwrap();
        let (out, err) = check(&umbra(dir.path(), &["drift", "import", "--from", tool, "x"]), 2);
        assert_eq!(out, "");
        err
    };
    let err = import("aide", "nonsense\n");
    assert!(err.contains("x:1: `nonsense` is not understood"), "{err}");
    let err = import("osquery", "{\n,}");
    assert!(err.contains("failed to import x") && err.contains("line 2"), "{err}");
    let err = import("wazuh", "<a>");
    assert!(err.contains("not closed"), "{err}");
    let err = import("goss", "file: {{range}}\n");
    assert!(err.contains("goss render"), "{err}");
    let args = ["drift", "import", "--from", "aide", "none"];
    let (_, err) = check(&umbra(dir.path(), &args), 2);
    assert!(err.contains("there is no such file"), "{err}");
}
