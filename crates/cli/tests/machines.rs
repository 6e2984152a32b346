//! Shadows that are virtual machines, end to end: a build whose test runs under a kernel of its
//! own, a drift that is rehearsed on one. A boot takes seconds where it is translated.

#![allow(clippy::unwrap_used)]

#[path = "support/project.rs"]
#[allow(dead_code, reason = "the other test that has it uses all of it")]
mod project;
mod support;

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use project::{Daemon, run};

/// Its test fails where the kernel is this machine's.
const RECIPE: &str = r#"
version: 1
name: machine
from: {dir: root}
steps:
  - name: release
    write: {path: /etc/host-release, content: "${{ vars.host }}\n", mode: "0644"}
tests:
  - name: own kernel
    run: cat /proc/version; ! grep -qF "$(cat /etc/host-release)" /proc/version
vars: {host: unknown, provider: qemu}
shadows: {provider: "${{ vars.provider }}", min: 1, max: 1, memory: 128M}
"#;

/// What must hold on the machine that is watched.
const SUITE: &str = r#"
version: 1
name: watched
from: {dir: root}
tests:
  - {name: level, run: grep -qx level=1 /etc/app}
"#;

const CONFIG: &str = "parameters: [{name: app, path: /etc/app, severity: high}]\n";

/// Why this machine cannot run these tests, if it cannot.
fn missing() -> Option<String> {
    if !Path::new("/usr/bin/qemu-system-x86_64").exists() {
        return Some("no qemu: install the package qemu-system-x86".to_owned());
    }
    let virtiofsd = ["/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd"];
    if !virtiofsd.iter().any(|path| Path::new(path).exists()) {
        let package = "virtiofsd (on Debian 12 qemu-system-common)";
        return Some(format!("no virtiofsd: install the package {package}"));
    }
    None
}

/// This build's target directory.
fn target() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_umbra")).ancestors().nth(2).unwrap()
}

/// The static program that `cargo xtask test` builds, in this build's target directory.
fn guest() -> PathBuf {
    let target = target();
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let guest = target.join(triple).join("debug/umbra-guest");
    assert!(guest.exists(), "{}: `cargo xtask guest --dev` builds it", guest.display());
    guest
}

/// A project and its daemon; `None`, with the reason printed, where there can be none.
fn begin() -> Option<(tempfile::TempDir, Daemon)> {
    if let Some(why) = project::missing().map(str::to_owned).or_else(missing) {
        println!("skipped: {why}");
        return None;
    }
    let project = project::project();
    let dir = project.path();
    // Kernels are fetched once for all tests.
    let kernels = target().join("kernels");
    std::fs::create_dir_all(&kernels).unwrap();
    std::fs::create_dir(dir.join("state")).unwrap();
    symlink(kernels, dir.join("state/kernels")).unwrap();
    let daemon = Daemon::with(dir, |umbra| {
        umbra.env("UMBRA_GUEST", guest()).env("UMBRA_TRANSLATE", "1");
    });
    Some((project, daemon))
}

#[test]
fn a_drift_is_rehearsed_on_a_virtual_machine() {
    let Some((project, daemon)) = begin() else { return };
    let dir = project.path();
    std::fs::write(dir.join("suite.yaml"), SUITE).unwrap();
    std::fs::write(dir.join("monitoring_config.yml"), CONFIG).unwrap();
    let app = dir.join("root/etc/app");
    std::fs::write(&app, "level=1\n").unwrap();
    let add = ["primary", "add", "shop", "--root", "root", "--config", "monitoring_config.yml"];
    run(dir, &add, 0);
    std::fs::write(&app, "level=2\n").unwrap();
    let rehearse = ["rehearse", "drift", "shop", "--recipe", "suite.yaml", "--provider", "qemu"];
    let (out, _) = run(dir, &rehearse, 1);
    assert!(out.contains("a machine with a kernel of its own"), "{out}");
    assert!(out.contains("because of /etc/app"), "{out}");
    daemon.stop();
}

#[test]
fn a_build_tests_its_steps_on_virtual_machines() {
    let Some((project, daemon)) = begin() else { return };
    let dir = project.path();
    std::fs::write(dir.join("umbra.yaml"), RECIPE).unwrap();
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let host = format!("host={}", release.trim());
    let (_, err) = run(dir, &["build", "--var", &host], 0);
    assert!(err.contains("test own kernel (unit) after release: PASS"), "{err}");
    // What was seen on a virtual machine says nothing about a sandbox.
    let (_, err) = run(dir, &["build", "--var", &host, "--var", "provider=sandbox"], 1);
    assert!(err.contains("HALT after step release: test own kernel"), "{err}");
    let (_, err) = run(dir, &["exec", "machine", "--provider", "incus", "--", "true"], 2);
    assert!(err.contains("sandbox, qemu"), "{err}");
    daemon.stop();
}
