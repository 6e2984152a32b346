//! Rehearsals end to end: the real program, a real daemon and agent, real sandboxes. A small
//! machine with a web server whose port stands in its configuration.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::{Child, Command, Output};

const BUSYBOX: &str = "/bin/busybox";

const RECIPE: &str = r#"
version: 1
name: web
from: {dir: root}
steps:
  - name: site
    write: {path: /srv/index.html, content: "hello\n", mode: "0644"}
services:
  - name: web
    run: PORT=; . /etc/default/web; exec httpd -f -p 127.0.0.1:$PORT -h /srv
    ready: {port: 8080}
    timeout: 2s
tests:
  - name: web answers
    run: test "$(wget -q -O - http://127.0.0.1:8080/)" = hello
shadows: {min: 1, max: 1}
"#;

const CONFIG: &str = "
parameters:
  - {name: web, path: /etc/default/web, severity: high}
  - {name: motd, path: /etc/motd, severity: low}
";

const GOOD: &str = "USER=root\nPORT=8080\nLEVEL=info\n";

/// Why this machine cannot run these tests, if it cannot.
fn missing() -> Option<&'static str> {
    // The owner of this process's own entry is its effective user.
    if fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() != 0) {
        return Some("sandboxes need root");
    }
    (!Path::new(BUSYBOX).exists()).then_some("no /bin/busybox: install busybox-static")
}

/// A directory with a recipe and the machine's root.
fn project() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    for sub in ["bin", "etc/default", "tmp", "proc", "sys", "dev", "root", "run", "srv", "var/tmp"]
    {
        fs::create_dir_all(root.join(sub)).unwrap();
    }
    fs::copy(BUSYBOX, root.join("bin/busybox")).unwrap();
    for name in ["sh", "test", "httpd", "wget", "true"] {
        symlink("busybox", root.join("bin").join(name)).unwrap();
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
    fs::write(root.join("etc/group"), "root:x:0:\n").unwrap();
    fs::write(root.join("etc/default/web"), GOOD).unwrap();
    fs::write(root.join("etc/motd"), "welcome\n").unwrap();
    fs::write(root.join("srv/index.html"), "hello\n").unwrap();
    fs::write(dir.path().join("umbra.yaml"), RECIPE).unwrap();
    fs::write(dir.path().join("monitoring_config.yml"), CONFIG).unwrap();
    dir
}

fn umbra(dir: &Path) -> Command {
    support::umbra(env!("CARGO_BIN_EXE_umbra"), dir)
}

#[track_caller]
fn run(dir: &Path, args: &[&str], code: i32) -> String {
    let Output { status, stdout, stderr } = umbra(dir).args(args).output().unwrap();
    let out = String::from_utf8(stdout).unwrap();
    let err = String::from_utf8_lossy(&stderr);
    assert_eq!(status.code(), Some(code), "{args:?}\nstdout: {out}\nstderr: {err}");
    out
}

/// A daemon of this test; killed if the test does not end it.
struct Daemon(Option<Child>);

impl Daemon {
    fn start(dir: &Path) -> Self {
        Self(Some(support::serve(umbra(dir))))
    }

    /// Ends it in order and looks that nothing is left.
    fn stop(mut self, dir: &Path) {
        let mut child = self.0.take().unwrap();
        let sent = Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status();
        assert!(sent.unwrap().success());
        assert!(child.wait().unwrap().success());
        assert_eq!(fs::read_dir(dir.join("state/rehearsals")).unwrap().count(), 0);
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        assert!(!mounts.contains(&dir.display().to_string()), "mounts are left: {mounts}");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// What a primary that is added with these words says of drifts and their rollback.
fn check_primary(name: &str, extra: &[&str], recipe: &[&str]) {
    if let Some(reason) = missing() {
        println!("{name}: skipped: {reason}");
        return;
    }
    let dir = project();
    let dir = dir.path();
    let daemon = Daemon::start(dir);
    if !extra.is_empty() {
        run(dir, &["build", "-f", "umbra.yaml"], 0);
    }
    let add = ["primary", "add", "shop", "--root", "root", "--config", "monitoring_config.yml"];
    run(dir, &[&add[..], extra].concat(), 0);
    let rehearse = |what: &str, more: &[&str], code| {
        run(dir, &[&["rehearse", what, "shop"], recipe, more].concat(), code)
    };
    let root = dir.join("root");
    fs::write(root.join("etc/motd"), "hello there\n").unwrap();
    fs::write(root.join("etc/default/web"), "USER=root\nPORT=8080\nLEVEL=debug\n").unwrap();
    let harmless = rehearse("drift", &[], 0);
    assert!(harmless.contains("breaks nothing that was tried"), "{harmless}");

    fs::write(root.join("etc/default/web"), "USER=root\nPORT=9090\nLEVEL=debug\n").unwrap();
    let broken = rehearse("drift", &[], 1);
    let because = "because of /etc/default/web: PORT from 8080 to 9090 (of 2 changed paths)";
    assert!(broken.contains(because), "{broken}");
    assert!(broken.contains("a virtual machine would add"), "{broken}");
    assert!(rehearse("drift", &["--parameter", "motd"], 0).contains("PASS"));
    assert!(run(dir, &["drift", "show", "shop"], 4).contains("rehearsed: "));
    rehearse("rollback", &[], 0);
    let both = rehearse("rollback", &["--both"], 1);
    assert!(both.contains("PASS with the drift rolled back"), "{both}");
    assert!(both.contains("FAIL with the drift again after the rollback"), "{both}");
    let json: serde_json::Value =
        serde_json::from_str(&rehearse("reboot", &["--json"], 1)).unwrap();
    assert_eq!(json["report"]["what"], "reboot");
    assert_eq!(json["report"]["failures"][0]["changes"][0]["keys"][0]["key"], "PORT");

    let rollback = ["drift", "rollback", "shop", "--yes", "--rehearse"];
    run(dir, &[&rollback[..], recipe].concat(), 0);
    assert_eq!(fs::read_to_string(root.join("etc/default/web")).unwrap(), GOOD);
    let events = run(dir, &["primary", "show", "shop"], 0);
    assert!(events.contains("shop"), "{events}");
    daemon.stop(dir);
}

#[test]
fn a_directory_is_rehearsed_on_its_own_files() {
    check_primary("directory", &[], &["--recipe", "umbra.yaml"]);
}

#[test]
fn an_image_is_rehearsed_with_the_suite_that_made_it() {
    check_primary("image", &["--image", "web"], &[]);
}
