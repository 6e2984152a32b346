//! What these tests need of the machine, and a recipe to build on it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

const BUSYBOX: &str = "/bin/busybox";

/// Why this machine cannot run these tests, if it cannot.
pub(crate) fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("sandboxes need root".to_owned());
    }
    if !Path::new(BUSYBOX).exists() {
        return Some(format!("no {BUSYBOX}: apt-get install busybox-static"));
    }
    None
}

/// A root to begin from, in `dir`.
pub(crate) fn make_root(dir: &Path) {
    for sub in ["bin", "etc", "proc", "sys", "dev", "tmp"] {
        fs::create_dir_all(dir.join(sub)).expect("made");
    }
    fs::copy(BUSYBOX, dir.join("bin/busybox")).expect("busybox");
    for name in ["sh", "grep", "echo"] {
        symlink("busybox", dir.join("bin").join(name)).expect("link");
    }
    fs::write(dir.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").expect("passwd");
    fs::write(dir.join("etc/group"), "root:x:0:\n").expect("group");
}

/// A recipe whose steps' files are another for each version, and long enough to be objects.
pub(crate) fn recipe(version: u64) -> String {
    let text = format!("version {version} ").repeat(20);
    format!(
        "version: 1
name: web
from: {{dir: root}}
steps:
  - {{name: one, run: 'echo {text} > /one', network: false}}
  - {{name: two, write: {{path: /two, content: '{text}'}}}}
tests:
  - {{name: sees one, run: 'grep -q \"version {version}\" /one', services: false}}
  - {{name: sees two, run: 'grep -q \"version {version}\" /two', after: [two], services: false}}
shadows: {{min: 1, max: 1}}
"
    )
}

/// Waits for something that no event announces.
#[track_caller]
pub(crate) fn until(what: &str, patience: Duration, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
