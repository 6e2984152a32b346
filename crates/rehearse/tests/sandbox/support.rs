//! A small machine in a directory: a web server whose port stands in its configuration.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command as Program;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use umbra_rehearse::{Bounds, Directory, Edit, Report, Root, Subject, What, rehearse};
use umbra_shadow::Provider;
use umbra_shadow::provider::{Init, Limits, Network};
use umbra_shadow::sandbox::{SandboxConfig, SandboxProvider};
use umbra_shadow::startup::{Ready, Service, Startup};
use umbra_state::{Command, TestKind};
use umbra_suite::Test;
use umbra_suite::spec::{Check, RunCheck};

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

/// The configuration as it is known to be good.
pub(crate) const GOOD: &str = "# The web server's.\nUSER=root\nPORT=8080\nLEVEL=info\nNAME='a b'\n";

pub(crate) struct Ground {
    provider: Option<SandboxProvider>,
    before: RefCell<BTreeMap<PathBuf, (u32, i64, i64, u64)>>,
    dir: tempfile::TempDir,
}

impl Ground {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().join("root");
        machine(&root);
        fs::create_dir(dir.path().join("scratch")).expect("made");
        let provider = SandboxProvider::open(SandboxConfig {
            dir: dir.path().join("shadows"),
            launcher: std::env::current_exe().expect("own path"),
            user_namespaces: true,
            warm: 0,
        });
        let provider = Some(provider.expect("a provider"));
        let ground = Self { provider, before: RefCell::default(), dir };
        ground.remember();
        ground
    }

    /// The machine as it is now is how it must be in the end.
    pub(crate) fn remember(&self) {
        self.before.replace(listed(&self.root()));
    }

    pub(crate) fn provider(&self) -> &SandboxProvider {
        self.provider.as_ref().expect("open")
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The machine with its server and a test that asks it.
    pub(crate) fn subject(&self) -> Subject {
        let run = "PORT=; . /etc/default/web; exec httpd -f -p 127.0.0.1:$PORT -h /srv";
        let server = Service {
            name: "web".to_owned(),
            command: Command::shell(run),
            ready: Some(Ready::Port(8080)),
            timeout: Duration::from_secs(10),
        };
        let ask = "test \"$(wget -q -O - http://127.0.0.1:8080/)\" = hello";
        Subject {
            name: "rehearsed".to_owned(),
            root: Root::Directory(Directory::open(&self.root()).expect("a directory")),
            good: Vec::new(),
            startup: Startup { init: Init::Small, complete: true, services: vec![server] },
            tests: vec![test("web answers", ask)],
            validators: Vec::new(),
            limits: Limits::default(),
            network: Network::None,
            scratch: self.dir.path().join("scratch"),
            bounds: Bounds::default(),
        }
    }

    #[track_caller]
    pub(crate) fn rehearse(&self, subject: &Subject, what: &What) -> Report {
        match rehearse(self.provider(), subject, what, &AtomicBool::new(false)) {
            Ok(report) => report,
            Err(error) => panic!("failed to {}", umbra_state::chain(&error)),
        }
    }

    /// Of a script on the machine with some edits: what its test says.
    #[track_caller]
    pub(crate) fn holds(&self, drift: Vec<Edit>, script: &str) -> Report {
        let mut subject = self.subject();
        subject.startup.services.clear();
        // What passes only with the edits says nothing on the baseline.
        subject.tests = vec![test("holds", &format!("test ! -e /etc/edited || {{ {script}\n}}"))];
        let mut edits = drift;
        edits.push(Edit::new("/etc/edited", umbra_drift::reading::Reading::text("")));
        self.rehearse(&subject, &What::Drift(edits))
    }

    /// Ends the provider; then no shadow, mount or directory may be left, and the machine is as
    /// it was.
    pub(crate) fn assert_nothing_is_left(mut self) {
        let provider = self.provider.take().expect("open");
        assert_eq!(provider.list().expect("listed"), Vec::<String>::new());
        drop(provider);
        let scratch = fs::read_dir(self.dir.path().join("scratch")).expect("listed");
        assert_eq!(scratch.count(), 0);
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        assert!(!mounts.contains(&self.dir.path().display().to_string()), "{mounts}");
        assert_eq!(listed(&self.root()), self.before.take());
    }
}

/// A test that a script succeeds.
pub(crate) fn test(name: &str, script: &str) -> Test {
    Test::new(name, TestKind::Integration, Check::Run(RunCheck::new(Command::shell(script))))
}

/// Everything below a directory, with what changes when it is written to.
fn listed(dir: &Path) -> BTreeMap<PathBuf, (u32, i64, i64, u64)> {
    let mut all = BTreeMap::new();
    let mut ahead = vec![dir.to_owned()];
    while let Some(path) = ahead.pop() {
        let meta = fs::symlink_metadata(&path).expect("there");
        if meta.is_dir() {
            ahead.extend(fs::read_dir(&path).expect("listed").map(|e| e.expect("one").path()));
        }
        all.insert(path, (meta.mode(), meta.ctime(), meta.ctime_nsec(), meta.size()));
    }
    all
}

fn machine(root: &Path) {
    for dir in ["bin", "etc/default", "proc", "sys", "dev", "tmp", "srv", "usr/share"] {
        fs::create_dir_all(root.join(dir)).expect("made");
    }
    fs::copy(BUSYBOX, root.join("bin/busybox")).expect("busybox");
    let list = Program::new(BUSYBOX).arg("--list").output().expect("busybox runs");
    for name in String::from_utf8_lossy(&list.stdout).lines().filter(|name| *name != "busybox") {
        symlink("busybox", root.join("bin").join(name)).expect("link");
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").expect("written");
    fs::write(root.join("etc/default/web"), GOOD).expect("written");
    fs::write(root.join("srv/index.html"), "hello\n").expect("written");
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).expect("set");
}
