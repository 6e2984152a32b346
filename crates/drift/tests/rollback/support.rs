//! A small root directory, its readings, and the processes that work on it.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::io::{BufRead, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use umbra_api::blob::Blob;
use umbra_drift::attributes::{Kind, Xattrs, encode_id, encode_mode, encode_type, insert_xattrs};
use umbra_drift::config::{self, Attribute, Config};
use umbra_drift::reading::{Content, Item, Reading, Snapshot, Value};
use umbra_drift::rollback::plan::{Conflicts, Request, Selection, plan};
use umbra_drift::rollback::timer::{Manual, Timer, Watchdog};
use umbra_drift::rollback::{Faults, Finished, Options, Plan, Rollbacks};

/// As long as anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Everything below `/etc` of the root, put back as a whole.
pub(crate) const WHOLE: &str = "version: 2\nparameters:\n  - {name: etc, glob: '/etc/**', \
    attrs: [content, type, mode, owner, group, acl, xattr, caps, link], \
    rollback: {mode: restore}}\n";

/// A root directory that is no machine, and its rollbacks.
pub(crate) struct World {
    _keep: tempfile::TempDir,
    pub(crate) base: PathBuf,
    pub(crate) root: PathBuf,
    pub(crate) config: Config,
}

impl World {
    pub(crate) fn new(config: &str) -> Self {
        let keep = tempfile::tempdir().expect("directory");
        let base = keep.path().canonicalize().expect("path");
        Self::at(keep, base, config)
    }

    pub(crate) fn at(keep: tempfile::TempDir, base: PathBuf, config: &str) -> Self {
        let root = base.join("root");
        fs::create_dir_all(root.join("etc")).expect("root");
        fs::create_dir_all(base.join("journals")).expect("journals");
        let config = config.replace("BASE", &base.display().to_string());
        let config = config::parse("test.yml", &config).expect("a configuration");
        Self { _keep: keep, base, root, config }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join("etc").join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("parent")).expect("directory");
        fs::write(path, content).expect("written");
    }

    /// Everything below `/etc`, as items of the parameter `etc`.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        self.walk(Path::new("etc"), &mut snapshot.readings);
        snapshot
    }

    fn walk(&self, below: &Path, readings: &mut BTreeMap<Item, Reading>) {
        for entry in fs::read_dir(self.root.join(below)).expect("directory") {
            let path = below.join(entry.expect("entry").file_name());
            let part = Path::new("/").join(&path);
            let item = Item::part("etc", part.as_os_str().as_bytes());
            readings.insert(item, reading(&self.root.join(&path)));
            if fs::symlink_metadata(self.root.join(&path)).expect("metadata").is_dir() {
                self.walk(&path, readings);
            }
        }
    }

    pub(crate) fn plan(&self, target: &Snapshot) -> Plan {
        let current = self.snapshot();
        plan(Request {
            config: &self.config,
            target,
            base: target,
            current: &current,
            files: &BTreeMap::new(),
            selection: &Selection::Everything,
            conflicts: Conflicts::Stop,
        })
    }

    pub(crate) fn options(&self) -> Options {
        Options::directory("test", self.root.clone())
    }

    pub(crate) fn journals(&self) -> PathBuf {
        self.base.join("journals")
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.journals().join("test")
    }

    /// Carries a plan out in this process.
    pub(crate) fn begin(&self, plan: Plan, options: Options) -> Finished {
        self.begin_with(plan, options, &Manual::default())
    }

    pub(crate) fn begin_with(&self, plan: Plan, options: Options, timer: &dyn Timer) -> Finished {
        let rollbacks = Rollbacks::new(self.journals(), timer);
        let read = &mut |items: &[Item]| read(&self.root, items);
        rollbacks.begin(plan, options, read).expect("a journal")
    }

    /// Puts everything back to `target`.
    pub(crate) fn roll_back(&self, target: &Snapshot) -> Finished {
        self.begin(self.plan(target), self.options())
    }

    /// Another process that carries `plan` out and is killed at the given point.
    pub(crate) fn child(&self, role: &str, plan: &Plan, options: &Options, at: usize) -> Child {
        let order = (plan, options);
        let file = self.base.join("order");
        fs::write(&file, serde_json::to_vec(&order).expect("serialisable")).expect("written");
        Command::new(std::env::current_exe().expect("program"))
            .args([role.as_ref(), file.as_os_str(), self.journals().as_os_str()])
            .arg(at.to_string())
            .stdin(Stdio::null())
            .spawn()
            .expect("a process")
    }
}

/// What the items' paths say.
pub(crate) fn read(root: &Path, items: &[Item]) -> BTreeMap<Item, Reading> {
    let of = |item: &Item| {
        let part = item.part.as_ref().map(|part| part.0.clone()).unwrap_or_default();
        let path = String::from_utf8(part).expect("a path");
        (item.clone(), reading(&root.join(path.trim_start_matches('/'))))
    };
    items.iter().map(of).collect()
}

/// What a collector says of a path.
pub(crate) fn reading(path: &Path) -> Reading {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Reading::Absent };
    let kind = Kind::of_mode(metadata.mode()).expect("a kind");
    let mut attributes = BTreeMap::from([
        (Attribute::Type, encode_type(kind, metadata.rdev())),
        (Attribute::Owner, encode_id(metadata.uid())),
        (Attribute::Group, encode_id(metadata.gid())),
    ]);
    let mut content = None;
    match kind {
        Kind::Link => {
            let to = fs::read_link(path).expect("a link");
            attributes.insert(Attribute::Link, Blob(to.as_os_str().as_bytes().to_vec()));
        }
        Kind::File => content = Some(Content::Bytes(Blob(fs::read(path).expect("content")))),
        _ => {}
    }
    if kind != Kind::Link {
        attributes.insert(Attribute::Mode, encode_mode(metadata.mode()));
        insert_xattrs(xattrs(path), &mut attributes);
    }
    Reading::Present(Value { content, attributes })
}

fn xattrs(path: &Path) -> Xattrs {
    let mut names = vec![0; 4096];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap_or(0);
    let mut xattrs = Xattrs::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 4096];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..]).expect("value");
        xattrs.insert(name.to_vec(), value[..length].to_vec());
    }
    xattrs
}

/// What this program is when a test starts it.
pub(crate) fn child(role: &str, arguments: &[String]) -> ExitCode {
    match (role, arguments) {
        ("as-begin" | "as-begin-watched" | "as-recover", [order, journals, at]) => {
            let order = fs::read(order).expect("order");
            let (plan, options): (Plan, Options) = serde_json::from_slice(&order).expect("order");
            let at: usize = at.parse().expect("a number");
            let (manual, watchdog) = (Manual::default(), watchdog());
            let watched = role == "as-begin-watched";
            let timer: &dyn Timer = if watched { &watchdog } else { &manual };
            let mut rollbacks = Rollbacks::new(journals.into(), timer);
            rollbacks.faults = faults(at);
            let root = options.root.clone();
            let journal = Path::new(journals).join(&options.id);
            let ended = if role == "as-recover" {
                rollbacks.recover(&journal)
            } else {
                rollbacks.begin(plan, options, &mut |items| read(&root, items))
            };
            ended.map_or(ExitCode::FAILURE, |_| ExitCode::SUCCESS)
        }
        ("as-watch", [journal]) => {
            let timer = watchdog();
            let journal = Path::new(journal);
            let rollbacks = Rollbacks::new(journal.parent().expect("parent").into(), &timer);
            let watched = rollbacks.keep_watch(journal, std::io::stdout());
            watched.map_or(ExitCode::FAILURE, |_| ExitCode::SUCCESS)
        }
        ("as-package-manager", [path]) => {
            let lock = fs::File::options().write(true).open(path).expect("lock");
            let exclusive = rustix::fs::FlockOperation::LockExclusive;
            rustix::fs::fcntl_lock(&lock, exclusive).expect("locked");
            println!("locked");
            let _ = std::io::stdin().read(&mut [0]);
            ExitCode::SUCCESS
        }
        _ => ExitCode::FAILURE,
    }
}

/// A timer that is this program.
pub(crate) fn watchdog() -> Watchdog {
    let program = std::env::current_exe().expect("program").display().to_string();
    Watchdog::new(vec![program, "as-watch".to_owned(), "{journal}".to_owned()])
}

/// Dies at the given point, as if somebody had pulled the plug on the process.
fn faults(at: usize) -> Faults {
    let passed = AtomicUsize::new(0);
    Faults::new(move |_| {
        if passed.fetch_add(1, Ordering::Relaxed) + 1 == at {
            let own = rustix::process::getpid();
            let _ = rustix::process::kill_process(own, rustix::process::Signal::KILL);
        }
    })
}

/// A process that holds a package manager's lock until it is dropped.
pub(crate) struct PackageManager(Child);

impl PackageManager {
    pub(crate) fn new(lock: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("program"))
            .arg("as-package-manager")
            .arg(lock)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let mut said = String::new();
        let out = child.stdout.as_mut().expect("output");
        std::io::BufReader::new(out).read_line(&mut said).expect("a line");
        assert_eq!(said, "locked\n");
        Self(child)
    }
}

impl Drop for PackageManager {
    fn drop(&mut self) {
        if let Some(mut input) = self.0.stdin.take() {
            let _ = input.write_all(b"\n");
        }
        let _ = self.0.wait();
    }
}

/// Looks again until `done`.
#[track_caller]
pub(crate) fn until(mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "in vain");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A mount that goes when this does, also when a test fails.
pub(crate) struct Mounted(PathBuf);

impl Mounted {
    pub(crate) fn tmpfs(at: &Path, options: &str) -> Self {
        let options = CString::new(options).expect("options");
        mount("umbra-test", at, "tmpfs", MountFlags::empty(), Some(options.as_c_str()))
            .expect("tmpfs");
        Self(at.to_owned())
    }

    pub(crate) fn bind(from: &Path, to: &Path) -> Self {
        rustix::mount::mount_bind(from, to).expect("bind mount");
        Self(to.to_owned())
    }

    pub(crate) fn read_only(self) -> Self {
        let flags = MountFlags::BIND | MountFlags::RDONLY;
        rustix::mount::mount_remount(&self.0, flags, c"").expect("remount");
        self
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

/// Names of files in the journal or beside others.
#[track_caller]
pub(crate) fn same(found: &Snapshot, expected: &Snapshot, what: &str) {
    let keys = found.readings.keys().chain(expected.readings.keys());
    let differ: Vec<_> = keys
        .filter(|item| found.readings.get(item) != expected.readings.get(item))
        .map(|item| (item, found.readings.get(item), expected.readings.get(item)))
        .collect();
    assert!(differ.is_empty(), "{what}: {differ:#?}");
}
