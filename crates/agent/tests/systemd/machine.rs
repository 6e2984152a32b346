//! A primary under care: a Debian with the agent in it, and a service whose configuration file
//! drifts.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command as Program, Stdio};
use std::time::Duration;

use umbra_shadow::provider::{Init, Limits, Network};
use umbra_shadow::sandbox::{SandboxConfig, SandboxProvider};
use umbra_shadow::{Provider, Shadow, ShadowSpec};
use umbra_state::Command;
use umbra_store::overlay::{Base, Layers};

use crate::{agent, debian};

/// The beacon's configuration as it is meant to be.
pub(crate) const GOOD: &str = "light on\n";
/// And as it should not be.
pub(crate) const BAD: &str = "light off\n";

const BEACON: &str = "[Service]\n\
    ExecStart=/bin/sleep infinity\n\
    ExecReload=/bin/sh -c 'cat /etc/beacon.conf >> /run/seen'\n";

/// The kernel under all systems booted here is booted once. As container managers do, each is
/// given a name of its own for its boot.
const BOOT: &str = "[Unit]\n\
    DefaultDependencies=no\n\
    [Service]\n\
    Type=oneshot\n\
    ExecStart=/bin/sh -ec 'cat /proc/sys/kernel/random/uuid > /run/boot; \
        mount --bind /run/boot /proc/sys/kernel/random/boot_id'\n";

/// What it takes to boot one.
pub(crate) struct Machine {
    provider: SandboxProvider,
    dir: tempfile::TempDir,
}

impl Machine {
    /// Makes it; or what is missing for that.
    pub(crate) fn new() -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("sandboxes are made by root".to_owned());
        }
        let dir = tempfile::tempdir().expect("a directory");
        let config = SandboxConfig {
            dir: dir.path().join("shadows"),
            launcher: std::env::current_exe().expect("own path"),
            user_namespaces: true,
            warm: 0,
        };
        let provider = SandboxProvider::open(config).expect("a provider");
        let capabilities = provider.capabilities();
        if !capabilities.systemd {
            return Err(format!("no systemd can be booted: {:?}", capabilities.missing));
        }
        let machine = Self { provider, dir };
        debian::make(&machine.root(), "essential", "dbus,systemd-sysv")?;
        furnish(&machine.root());
        runs_the_agent(&machine.root())?;
        Ok(machine)
    }

    /// Boots it as it was made, until its beacon shines.
    #[track_caller]
    pub(crate) fn boot(&self, name: &str) -> Box<dyn Shadow> {
        self.boot_layers(name, &self.layers())
    }

    /// Boots it with what was kept of an earlier run: a tar archive.
    #[track_caller]
    pub(crate) fn boot_with(&self, name: &str, kept: &[u8]) -> Box<dyn Shadow> {
        let upper = self.dir.path().join("kept");
        unpack(kept, &upper);
        self.boot_layers(name, &self.layers().with_upper(upper))
    }

    #[track_caller]
    fn boot_layers(&self, name: &str, layers: &Layers) -> Box<dyn Shadow> {
        let spec = ShadowSpec::new(name, Limits::default(), Network::None);
        let spec = ShadowSpec { init: Init::Systemd, ..spec };
        let shadow = self.provider.spawn(layers, &spec).expect("a shadow");
        until(&*shadow, "systemctl is-active --quiet beacon.service");
        shadow
    }

    fn layers(&self) -> Layers {
        Layers::of(Base::Checkout(self.root()))
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }
}

fn furnish(root: &Path) {
    fs::copy(env!("CARGO_BIN_EXE_umbra-agent"), root.join(&agent::PROGRAM[1..])).expect("copied");
    fs::write(root.join("etc/beacon.conf"), GOOD).expect("written");
    add_unit(root, "beacon.service", BEACON, "multi-user.target");
    add_unit(root, "boot.service", BOOT, "sysinit.target");
}

/// A program that was built for a later C library than Debian's says nothing about timers.
fn runs_the_agent(root: &Path) -> Result<(), String> {
    let mut asked = Program::new("chroot");
    let output = asked.arg(root).args([agent::PROGRAM, "--version"]).output();
    let output = output.map_err(|error| format!("chroot does not run: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    match said.contains("GLIBC") {
        true => Err(format!("the agent built here does not run in bookworm: {said}")),
        false => Ok(()),
    }
}

fn add_unit(root: &Path, name: &str, text: &str, wanted_by: &str) {
    let units = root.join("etc/systemd/system");
    let wants = units.join(format!("{wanted_by}.wants"));
    fs::create_dir_all(&wants).expect("made");
    fs::write(units.join(name), text).expect("written");
    symlink(Path::new("..").join(name), wants.join(name)).expect("linked");
}

fn unpack(archive: &[u8], to: &Path) {
    fs::create_dir(to).expect("made");
    let mut tar = Program::new("tar")
        .args(["-x", "--numeric-owner", "-C"])
        .arg(to)
        .stdin(Stdio::piped())
        .spawn()
        .expect("tar starts");
    let mut input = tar.stdin.take().expect("its input");
    input.write_all(archive).expect("all of it");
    drop(input);
    assert!(tar.wait().expect("ended").success());
}

/// What a script says that must succeed.
#[track_caller]
pub(crate) fn sh(shadow: &dyn Shadow, script: &str) -> Vec<u8> {
    let mut command = Command::shell(script).with_timeout(Duration::from_secs(60));
    command.output_bytes_max = 16 << 20;
    run(shadow, &command)
}

/// What a command says that must succeed.
#[track_caller]
pub(crate) fn run(shadow: &dyn Shadow, command: &Command) -> Vec<u8> {
    let output = shadow.run(command).expect("ran");
    if !output.exit.success() {
        let [said, complained] = [&output.stdout, &output.stderr].map(|one| one.escape_ascii());
        panic!("{:?}: {}: {said} {complained}", command.argv, output.exit);
    }
    output.stdout
}

/// Waits until a condition of the shell's holds. If it does not, what there is of umbra's says
/// why, perhaps.
#[track_caller]
pub(crate) fn until(shadow: &dyn Shadow, condition: &str) {
    let script = format!(
        "for again in $(seq 200); do {condition} && exit; sleep 0.1; done
        systemctl --no-pager --all --lines 20 status 'umbra-*' || true
        find /etc /run/systemd -name '*umbra-*'
        exit 1"
    );
    sh(shadow, &script);
}
