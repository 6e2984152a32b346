//! A root to run in, a provider to run it with.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use umbra_shadow::qemu::{QemuConfig, QemuProvider};
use umbra_shadow::{Shadow, ShadowError};
use umbra_state::{Command, Output};
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

/// This build's target directory.
fn target() -> PathBuf {
    let own = std::env::current_exe().expect("own path");
    own.ancestors().nth(3).expect("a target directory").to_path_buf()
}

/// The static program that `cargo xtask test` builds, in this build's target directory.
fn guest() -> PathBuf {
    let target = target();
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let guest = target.join(triple).join("debug/umbra-guest");
    assert!(guest.exists(), "{}: cargo xtask guest builds it", guest.display());
    guest
}

/// A directory with a busybox root in it.
pub(crate) struct Ground {
    provider: Option<QemuProvider>,
    dir: tempfile::TempDir,
}

impl Ground {
    pub(crate) fn new() -> Self {
        let mut ground = Self::without_provider();
        ground.provider = match open(ground.path(), None) {
            Ok(provider) => Some(provider),
            Err(error) => panic!("failed to {error}: {:?}", std::error::Error::source(&error)),
        };
        ground
    }

    pub(crate) fn without_provider() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        busybox_root(&dir.path().join("root"));
        Self { provider: None, dir }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn provider(&self) -> &QemuProvider {
        self.provider.as_ref().expect("a provider")
    }

    pub(crate) fn layers(&self) -> Layers {
        layers(self.path())
    }
}

/// The layers of a [`Ground`] in this directory.
pub(crate) fn layers(dir: &Path) -> Layers {
    Layers::of(Base::Checkout(dir.join("root")))
}

/// A provider in this directory whose guests have this first process, or the right one.
pub(crate) fn open(dir: &Path, first: Option<&Path>) -> Result<QemuProvider, ShadowError> {
    QemuProvider::open(QemuConfig {
        dir: dir.join("shadows"),
        // Kernels are fetched once.
        cache: target().join("kernels"),
        launcher: std::env::current_exe().expect("own path"),
        guest: first.map_or_else(guest, Path::to_path_buf),
        kernel: None,
        translate: true,
    })
}

/// The processes of machines of this name.
pub(crate) fn machines_of(name: &str) -> Vec<i32> {
    let named = |pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0);
        words.next().is_some_and(|program| program.ends_with(b"qemu-system-x86_64"))
            && words.any(|word| word == name.as_bytes())
    };
    let entries = std::fs::read_dir("/proc").expect("listed").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(named).collect()
}

#[track_caller]
pub(crate) fn sh(shadow: &dyn Shadow, script: &str) -> Output {
    let command = Command::shell(script).with_timeout(Duration::from_secs(20));
    shadow.run(&command).expect("a command")
}

pub(crate) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Waits for something that happens elsewhere and is announced nowhere.
#[track_caller]
pub(crate) fn until(what: &str, patience: Duration, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(10));
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
