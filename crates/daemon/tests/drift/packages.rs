//! What a package manager does is held against its lists once it is done.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use umbra_drift::alert::News;
use umbra_drift::config::{Provenance, Severity};
use umbra_drift::service::What;

use crate::scene::Scene;

const BUSYBOX: &str = "/bin/busybox";
/// The MD5 sum of "hello from 2\n".
const SUM: &str = "26926bef3e703c119ea4c532177bb62a";

/// Somebody who holds dpkg's lock until this is dropped.
struct Lock(Child);

impl Lock {
    fn hold(scene: &Scene) -> Self {
        let hold = "import fcntl, sys; file = open(sys.argv[1], 'w'); \
                    fcntl.lockf(file, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()";
        let mut holder = Command::new("python3")
            .args(["-c", hold])
            .arg(scene.root().join("var/lib/dpkg/lock"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        let mut out = BufReader::new(holder.stdout.take().expect("standard output"));
        out.read_line(&mut String::new()).expect("it is held");
        Self(holder)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().expect("it ends");
    }
}

/// The machine's own dpkg writes: a shell under its name.
fn dpkg_writes(scene: &Scene, path: &str, text: &str) {
    let dpkg = scene.root().join("usr/bin/dpkg");
    fs::create_dir_all(dpkg.parent().unwrap()).unwrap();
    fs::copy(BUSYBOX, &dpkg).unwrap();
    let script = "printf '%s' \"$2\" > \"$1\"";
    let mut command = Command::new(&dpkg);
    command.arg0("sh").args(["-c", script, "sh"]).arg(scene.root().join(path)).arg(text);
    assert!(command.status().expect("dpkg").success());
}

#[test]
fn a_configuration_file_is_expected_once_its_package_is_configured() {
    let scene = Scene::new();
    let status = "Package: greeter\nStatus: install ok installed\nArchitecture: all\nVersion: 2\n";
    fs::create_dir_all(scene.root().join("var/lib/dpkg")).unwrap();
    scene.write("/var/lib/dpkg/status", status);
    scene.add("");
    if !scene.sees_who() {
        return;
    }
    let lock = Lock::hold(&scene);
    dpkg_writes(&scene, "etc/motd", "hello from 2\n");
    // Somebody else's change is told at once, and after what was before it.
    scene.change("/etc/resolv.conf", "nameserver 203.0.113.9\n");
    scene.told("dns", News::Opened);
    let motd = |what: &What| matches!(what, What::Alert(alert) if alert.discrepancy.item.parameter == "motd");
    assert!(!scene.so_far().iter().any(motd), "its lists are not written yet");
    scene.write("/var/lib/dpkg/status", &format!("{status}Conffiles:\n /etc/motd {SUM}\n"));
    drop(lock);
    let alert = scene.told("motd", News::Opened);
    assert_eq!(alert.discrepancy.provenance, Provenance::Expected);
    assert_eq!(alert.discrepancy.severity, Severity::Low);
    let attribution = alert.attribution.expect("who");
    let program = &attribution.writers.first().expect("a writer").program;
    assert_eq!(program.exe, Some(scene.root().join("usr/bin/dpkg")));
}

#[test]
fn what_no_list_explains_is_told_when_somebody_looks() {
    let scene = Scene::new();
    fs::create_dir_all(scene.root().join("var/lib/dpkg")).unwrap();
    scene.add("");
    if !scene.sees_who() {
        return;
    }
    let _lock = Lock::hold(&scene);
    dpkg_writes(&scene, "etc/motd", "anything\n");
    let found = scene.check().alerts;
    let severities: Vec<_> = found.iter().map(|alert| alert.discrepancy.severity).collect();
    assert_eq!(severities, [Severity::Medium]);
    assert!(found[0].attribution.as_ref().is_some_and(|by| !by.writers.is_empty()));
}
