//! Shadows that are virtual machines, end to end: a build whose test runs under a kernel of its
//! own. One machine is booted, which takes seconds where it is translated.

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

/// The static program that `cargo xtask test` builds, in this build's target directory.
fn guest() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_umbra"));
    let target = program.ancestors().nth(2).unwrap();
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let guest = target.join(triple).join("debug/umbra-guest");
    assert!(guest.exists(), "{}: `cargo xtask guest --dev` builds it", guest.display());
    guest
}

#[test]
fn a_build_tests_its_steps_on_virtual_machines() {
    let needed = project::missing().map(str::to_owned).or_else(missing);
    if let Some(why) = needed {
        println!("skipped: {why}");
        return;
    }
    let project = project::project();
    let dir = project.path();
    // Kernels are fetched once for all tests.
    let kernels = std::env::temp_dir().join("umbra-test-kernels");
    std::fs::create_dir_all(&kernels).unwrap();
    std::fs::create_dir(dir.join("state")).unwrap();
    symlink(kernels, dir.join("state/kernels")).unwrap();
    std::fs::write(dir.join("umbra.yaml"), RECIPE).unwrap();
    let daemon = Daemon::with(dir, |umbra| {
        umbra.env("UMBRA_GUEST", guest()).env("UMBRA_TRANSLATE", "1");
    });
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
