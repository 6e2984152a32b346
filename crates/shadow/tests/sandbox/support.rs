//! A root to run in, a provider to run it with.

use std::path::{Path, PathBuf};
use std::process::Command as Program;
use std::time::{Duration, Instant};

use umbra_shadow::provider::{Limits, Network};
use umbra_shadow::sandbox::{SandboxConfig, SandboxProvider};
use umbra_shadow::{Provider, Shadow, ShadowSpec};
use umbra_state::{Command, Output};
use umbra_store::overlay::{Base, Layers};

const BUSYBOX: &str = "/bin/busybox";

/// What this machine lacks for any of the tests.
pub(crate) fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("sandboxes are made by root".to_owned());
    }
    if !Path::new(BUSYBOX).exists() {
        return Some(format!("no {BUSYBOX}: apt-get install busybox-static"));
    }
    None
}

/// A directory with a busybox root in it and the attacker in a layer above.
pub(crate) struct Ground {
    pub(crate) provider: Option<SandboxProvider>,
    dir: tempfile::TempDir,
}

impl Ground {
    pub(crate) fn new() -> Self {
        Self::with(true)
    }

    pub(crate) fn with(user_namespaces: bool) -> Self {
        let mut ground = Self::without_provider();
        ground.provider = Some(open(&ground.shadows(), user_namespaces));
        ground
    }

    /// With sites made ahead, and a first one ready.
    pub(crate) fn warm() -> Self {
        let mut ground = Self::without_provider();
        ground.provider = Some(open_warm(&ground.shadows(), true, WARM));
        drop(ground.spawn("demand", Network::Fenced));
        until("sites are ready", Duration::from_secs(5), || ground.sites_ahead() == WARM);
        ground
    }

    /// How many sites are ready that no shadow has taken yet.
    pub(crate) fn sites_ahead(&self) -> usize {
        let entries = std::fs::read_dir(self.shadows()).expect("listed").flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("warm.")).count()
    }

    pub(crate) fn without_provider() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        busybox_root(&dir.path().join("root"));
        attacker_layer(&dir.path().join("attacker"));
        Self { provider: None, dir }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn shadows(&self) -> PathBuf {
        self.dir.path().join("shadows")
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    pub(crate) fn layers(&self) -> Layers {
        layers(self.dir.path())
    }

    pub(crate) fn provider(&self) -> &SandboxProvider {
        self.provider.as_ref().expect("a provider")
    }

    #[track_caller]
    pub(crate) fn spawn(&self, name: &str, network: Network) -> Box<dyn Shadow> {
        self.spawn_limited(name, network, Limits::default())
    }

    #[track_caller]
    pub(crate) fn spawn_limited(
        &self,
        name: &str,
        network: Network,
        limits: Limits,
    ) -> Box<dyn Shadow> {
        let spec = ShadowSpec::new(name, limits, network);
        self.provider().spawn(&self.layers(), &spec).expect("a shadow")
    }
}

/// How many sites a warm provider makes ahead.
pub(crate) const WARM: usize = 2;

pub(crate) fn open(dir: &Path, user_namespaces: bool) -> SandboxProvider {
    open_warm(dir, user_namespaces, 0)
}

pub(crate) fn open_warm(dir: &Path, user_namespaces: bool, warm: usize) -> SandboxProvider {
    let launcher = std::env::current_exe().expect("own path");
    let config = SandboxConfig { dir: dir.to_owned(), launcher, user_namespaces, warm };
    SandboxProvider::open(config).expect("a provider")
}

/// The layers of a [`Ground`] in this directory.
pub(crate) fn layers(dir: &Path) -> Layers {
    Layers::of(Base::Checkout(dir.join("root"))).with_upper(dir.join("attacker"))
}

#[track_caller]
pub(crate) fn sh(shadow: &dyn Shadow, script: &str) -> Output {
    run(shadow, &Command::shell(script))
}

#[track_caller]
pub(crate) fn run(shadow: &dyn Shadow, command: &Command) -> Output {
    let command = command.clone().with_timeout(Duration::from_secs(20));
    shadow.run(&command).expect("ran")
}

/// The attacker, as a command.
pub(crate) fn attack(words: &[&str]) -> Command {
    Command::new(["/attacker", "attack"].iter().chain(words).copied())
}

/// Runs an attack that must be repelled.
#[track_caller]
pub(crate) fn repelled(shadow: &dyn Shadow, words: &[&str]) {
    let output = run(shadow, &attack(words));
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.exit.success(), "{words:?}: {}: {said}", output.exit);
    assert!(said.contains("repelled"), "{words:?} did not even try: {said}");
}

#[track_caller]
pub(crate) fn until(what: &str, patience: Duration, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited too long until {what}");
        std::thread::yield_now();
    }
}

fn busybox_root(root: &Path) {
    for dir in ["bin", "etc", "proc", "sys", "dev", "tmp"] {
        std::fs::create_dir_all(root.join(dir)).expect("made");
    }
    std::fs::copy(BUSYBOX, root.join("bin/busybox")).expect("busybox");
    let listed = Program::new(BUSYBOX).arg("--list").output().expect("busybox runs");
    for name in String::from_utf8_lossy(&listed.stdout).lines().filter(|name| *name != "busybox") {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).expect("link");
    }
    std::fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").expect("passwd");
    std::fs::set_permissions(
        root.join("tmp"),
        std::os::unix::fs::PermissionsExt::from_mode(0o1777),
    )
    .expect("tmp");
}

/// This very program with the libraries it needs.
fn attacker_layer(layer: &Path) {
    std::fs::create_dir_all(layer).expect("made");
    let own = std::env::current_exe().expect("own path");
    link_or_copy(&own, &layer.join("attacker"));
    let maps = std::fs::read_to_string("/proc/self/maps").expect("own maps");
    let loader = "/lib64/ld-linux-x86-64.so.2";
    let loader = [loader, "/lib/ld-linux-aarch64.so.1"].into_iter().find(|l| Path::new(l).exists());
    let mapped = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    for library in mapped.filter(|path| path.contains(".so")).chain(loader) {
        let place = layer.join(library.trim_start_matches('/'));
        // Where distributions merge /lib into /usr/lib, loaders still ask for /lib.
        let name = Path::new(library).file_name().expect("a name");
        for place in [place, layer.join("lib").join(name)] {
            std::fs::create_dir_all(place.parent().expect("a parent")).expect("made");
            if !place.exists() {
                link_or_copy(&std::fs::canonicalize(library).expect("a library"), &place);
            }
        }
    }
}

fn link_or_copy(from: &Path, to: &Path) {
    if std::fs::hard_link(from, to).is_err() {
        std::fs::copy(from, to).expect("copied");
    }
}
