//! A small project with a real daemon: what tests of whole builds begin with.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};

use crate::support;

/// A build in which every test passes.
pub(crate) const RECIPE: &str = r#"
version: 1
name: tiny
from: {dir: root}
steps:
  - name: greeting
    write: {path: /etc/greeting, content: "hello\n", mode: "0644"}
  - name: count
    run: echo 1 2 3 > /etc/count
    network: false
tests:
  - name: greets
    after: [greeting]
    run: grep -q hello /etc/greeting
  - name: counts
    kind: integration
    after: [count]
    run: test "$(cat /etc/count)" = "${{ vars.count }}"
vars: {count: "1 2 3"}
shadows: {min: 1, max: 2}
"#;

/// Its service answers with what the state says.
pub(crate) const SERVED: &str = r#"
version: 1
name: served
from: {dir: root}
steps:
  - name: greeting
    write: {path: /etc/greeting, content: "hello\n", mode: "0644"}
services:
  - name: web
    run: [busybox, httpd, -f, -p, "8080", -h, /etc]
    ready: {port: 8080}
"#;

/// Why this machine cannot run these tests, if it cannot.
pub(crate) fn missing() -> Option<&'static str> {
    if !is_root() {
        return Some("sandboxes need root");
    }
    if !Path::new("/bin/busybox").exists() {
        return Some("no /bin/busybox: install the package busybox-static");
    }
    None
}

fn is_root() -> bool {
    // The owner of this process's own entry is its effective user.
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// A directory with a recipe whose base is a busybox.
pub(crate) fn project() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    for sub in ["bin", "etc", "tmp", "proc", "sys", "dev", "root", "run", "var/tmp"] {
        std::fs::create_dir_all(root.join(sub)).unwrap();
    }
    std::fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    for name in ["sh", "cat", "echo", "grep", "test", "ls", "sleep", "stty", "id", "true"] {
        symlink("busybox", root.join("bin").join(name)).unwrap();
    }
    std::fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
    std::fs::write(root.join("etc/group"), "root:x:0:\n").unwrap();
    std::fs::write(dir.path().join("umbra.yaml"), RECIPE).unwrap();
    dir
}

pub(crate) fn umbra(dir: &Path) -> Command {
    support::umbra(env!("CARGO_BIN_EXE_umbra"), dir)
}

#[track_caller]
pub(crate) fn run(dir: &Path, args: &[&str], code: i32) -> (String, String) {
    let Output { status, stdout, stderr } = umbra(dir).args(args).output().unwrap();
    let (out, err) =
        (String::from_utf8(stdout).unwrap(), String::from_utf8_lossy(&stderr).into_owned());
    assert_eq!(status.code(), Some(code), "{args:?}\nstdout: {out}\nstderr: {err}");
    (out, err)
}

/// A daemon of this test; killed if the test does not end it.
pub(crate) struct Daemon {
    child: Option<Child>,
    state: PathBuf,
}

impl Daemon {
    pub(crate) fn start(dir: &Path) -> Self {
        Self::with(dir, |_| {})
    }

    /// With something of its own.
    pub(crate) fn with(dir: &Path, change: impl FnOnce(&mut Command)) -> Self {
        let mut umbra = umbra(dir);
        change(&mut umbra);
        let child = support::serve(umbra);
        Self { child: Some(child), state: dir.join("state") }
    }

    pub(crate) fn signal(&mut self, name: &str) -> std::process::ExitStatus {
        let mut child = self.child.take().unwrap();
        let sent = Command::new("kill").args(["-s", name, &child.id().to_string()]).status();
        assert!(sent.unwrap().success());
        child.wait().unwrap()
    }

    /// Ends it in order and looks that nothing is left.
    pub(crate) fn stop(mut self) {
        assert!(self.signal("TERM").success());
        assert!(!self.state.join("umbra.sock").exists());
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        let own = self.state.display().to_string();
        assert!(!mounts.contains(&own), "mounts are left: {mounts}");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// A project and its daemon; says why there are none if this machine cannot run them.
pub(crate) fn begin() -> Option<(tempfile::TempDir, Daemon)> {
    if let Some(why) = missing() {
        println!("skipped: {why}");
        return None;
    }
    let project = project();
    let daemon = Daemon::start(project.path());
    Some((project, daemon))
}
