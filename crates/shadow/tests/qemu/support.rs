//! A root to run in, a provider to run it with.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use umbra_shadow::qemu::{QemuConfig, QemuProvider};
use umbra_store::overlay::{Base, Layers};

const BUSYBOX: &str = "/bin/busybox";

/// What this machine lacks for any of the tests.
pub(crate) fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("virtual machines are kept by root".to_owned());
    }
    if !Path::new(BUSYBOX).exists() {
        return Some(format!("no {BUSYBOX}: apt-get install busybox-static"));
    }
    if !Path::new("/usr/bin/qemu-system-x86_64").exists() {
        return Some("no qemu: apt-get install qemu-system-x86".to_owned());
    }
    None
}

/// The static program that `cargo xtask test` builds, in this build's target directory.
fn guest() -> PathBuf {
    let own = std::env::current_exe().expect("own path");
    let target = own.ancestors().nth(3).expect("a target directory");
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let guest = target.join(triple).join("debug/umbra-guest");
    assert!(guest.exists(), "{}: cargo xtask guest builds it", guest.display());
    guest
}

/// A directory with a busybox root in it.
pub(crate) struct Ground {
    provider: QemuProvider,
    dir: tempfile::TempDir,
}

impl Ground {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        busybox_root(&dir.path().join("root"));
        let config = QemuConfig {
            dir: dir.path().join("shadows"),
            // Kernels are fetched once.
            cache: std::env::temp_dir().join("umbra-test-kernels"),
            launcher: std::env::current_exe().expect("own path"),
            guest: guest(),
            kernel: None,
            translate: true,
        };
        let provider = match QemuProvider::open(config) {
            Ok(provider) => provider,
            Err(error) => panic!("failed to {error}: {:?}", std::error::Error::source(&error)),
        };
        Self { provider, dir }
    }

    pub(crate) fn provider(&self) -> &QemuProvider {
        &self.provider
    }

    pub(crate) fn layers(&self) -> Layers {
        Layers::of(Base::Checkout(self.dir.path().join("root")))
    }
}

fn busybox_root(root: &Path) {
    for dir in ["bin", "etc", "tmp", "root", "dev", "proc", "sys"] {
        std::fs::create_dir_all(root.join(dir)).expect("made");
    }
    std::fs::copy(BUSYBOX, root.join("bin/busybox")).expect("copied");
    for program in
        ["sh", "cat", "dd", "id", "mkfifo", "sleep", "stty", "echo", "kill", "ls", "mount"]
    {
        symlink("busybox", root.join("bin").join(program)).expect("linked");
    }
    std::fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").expect("written");
}
