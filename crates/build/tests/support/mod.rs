//! A place to run builds in: a store, a provider, a small root, and a memory.

// Not every test binary uses all of it.
#![allow(dead_code, unused_macros, unused_imports)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use umbra_api::build::{Answer, BuildPhase, BuildRequest, Event};
use umbra_build::{Build, Engine, EventSink, Providers, StepCache, StepKey, TestKey};
use umbra_shadow::sandbox::{SandboxConfig, SandboxProvider};
use umbra_shadow::{Provider, ShadowError};
use umbra_state::{StateId, Verdict};
use umbra_store::{Store, StoreOptions};

/// The value in an event of one kind.
macro_rules! named {
    ($event:expr, $pattern:pat $(if $guard:expr)? => $value:expr) => {
        match $event {
            $pattern $(if $guard)? => Some($value),
            _ => None,
        }
    };
}
pub(crate) use named;

pub(crate) struct Bench {
    pub(crate) store: Store,
    provider: Option<Arc<SandboxProvider>>,
    events: Arc<Events>,
    memory: Arc<Memory>,
    builds: AtomicU64,
    dir: tempfile::TempDir,
}

/// A build that ended.
pub(crate) struct Run {
    pub(crate) build: Build,
    pub(crate) phase: BuildPhase,
    pub(crate) events: Vec<Event>,
}

/// No build here takes longer; one that does hangs.
const PATIENCE: Duration = Duration::from_secs(200);

/// A test that is reported as skipped, with the reason, where the machine cannot run it.
pub(crate) fn trial(name: &'static str, test: fn(&Bench)) -> Trial {
    trial_with(name, StoreOptions::default(), test)
}

/// The same on a store opened in another way.
pub(crate) fn trial_with(name: &'static str, options: StoreOptions, test: fn(&Bench)) -> Trial {
    Trial::test(name, move || match Bench::open(options) {
        Ok(bench) => {
            test(&bench);
            bench.assert_nothing_is_left();
            Ok(())
        }
        Err(reason) if reason.starts_with("skipped") => {
            println!("{name}: {reason}");
            Ok(())
        }
        Err(reason) => Err(Failed::from(reason)),
    })
}

impl Bench {
    fn open(options: StoreOptions) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("skipped: sandboxes need root".to_owned());
        }
        if !Path::new("/bin/busybox").exists() {
            return Err("skipped: no /bin/busybox (apt-get install busybox-static)".to_owned());
        }
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        busybox_root(&dir.path().join("root"));
        let store = Store::open_with(&dir.path().join("store"), options);
        let store = store.map_err(|error| error.to_string())?;
        let provider = SandboxProvider::open(SandboxConfig {
            dir: dir.path().join("shadows"),
            launcher: std::env::current_exe().expect("own path"),
            user_namespaces: true,
            warm: 2,
        })
        .map_err(|error| error.to_string())?;
        Ok(Self {
            store,
            provider: Some(Arc::new(provider)),
            events: Arc::default(),
            memory: Arc::default(),
            builds: AtomicU64::new(1),
            dir,
        })
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn provider(&self) -> &SandboxProvider {
        self.provider.as_ref().expect("open")
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// Builds a recipe to its end.
    pub(crate) fn build(&self, recipe: &str) -> Run {
        self.build_with(recipe, |_| {}, &[])
    }

    /// Builds with another request; answers each question with the next answer.
    pub(crate) fn build_with(
        &self,
        recipe: &str,
        change: impl FnOnce(&mut BuildRequest),
        answers: &[Answer],
    ) -> Run {
        let build = self.start(recipe, change);
        for (asked, answer) in answers.iter().enumerate() {
            self.events.wait_for(|events| {
                events.iter().filter(|event| matches!(event, Event::Asked { .. })).count() > asked
            });
            assert!(build.answer(*answer));
        }
        self.wait_for(|event| matches!(event, Event::Ended { .. }));
        let phase = build.wait();
        Run { build, phase, events: self.events.take() }
    }

    pub(crate) fn start(&self, recipe: &str, change: impl FnOnce(&mut BuildRequest)) -> Build {
        self.events.take();
        let path = self.dir.path().join("umbra.yaml");
        fs::write(&path, recipe).expect("recipe written");
        let mut request = BuildRequest {
            recipe: path.display().to_string(),
            vars: Vec::new(),
            until: None,
            no_cache: false,
            on_error: None,
        };
        change(&mut request);
        let provider = Arc::clone(self.provider.as_ref().expect("open"));
        let engine = Engine::new(self.store.clone(), Arc::new(Only(provider.clone())), provider);
        let id = self.builds.fetch_add(1, Ordering::Relaxed);
        engine
            .start(id, request, self.events.clone(), self.memory.clone())
            .unwrap_or_else(|error| panic!("the build did not begin: {error}"))
    }

    /// Waits until such an event came.
    pub(crate) fn wait_for(&self, wanted: impl Fn(&Event) -> bool) {
        self.events.wait_for(|events| events.iter().any(&wanted));
    }

    /// Ends the provider; then no shadow, mount or directory of a build may be left, and the
    /// store must be whole.
    pub(crate) fn assert_nothing_is_left(mut self) {
        let bench = &mut self;
        let provider = bench.provider.take().expect("open");
        assert_eq!(provider.list().expect("listed"), Vec::<String>::new());
        drop(provider);
        let layers = fs::read_dir(bench.store.layers_dir()).expect("layers");
        let left: Vec<_> = layers
            .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
            .filter(|name| name.starts_with("build-"))
            .collect();
        assert_eq!(left, Vec::<String>::new());
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        assert!(!mounts.contains(&bench.dir.path().display().to_string()), "{mounts}");
        let report = bench.store.fsck().expect("checked");
        assert!(report.is_clean(), "{report:?}");
    }
}

impl Run {
    pub(crate) fn verdict(&self) -> Verdict {
        self.find(|event| named!(event, Event::Ended { verdict, .. } => *verdict))
    }

    /// The last such event's value.
    pub(crate) fn find<T>(&self, wanted: impl Fn(&Event) -> Option<T>) -> T {
        let found = self.events.iter().rev().find_map(wanted);
        found.unwrap_or_else(|| panic!("no such event in {:#?}", self.events))
    }

    pub(crate) fn count(&self, wanted: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|event| wanted(event)).count()
    }
}

#[derive(Default)]
struct Events {
    list: Mutex<Vec<Event>>,
    came: Condvar,
}

impl Events {
    fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.list.lock().expect("events"))
    }

    fn wait_for(&self, wanted: impl Fn(&[Event]) -> bool) {
        let started = Instant::now();
        let mut list = self.list.lock().expect("events");
        while !wanted(&list) {
            assert!(started.elapsed() < PATIENCE, "it hangs after {list:#?}");
            list = self.came.wait_timeout(list, Duration::from_secs(1)).expect("events").0;
        }
    }
}

impl EventSink for Events {
    fn emit(&self, event: Event) {
        self.list.lock().expect("events").push(event);
        self.came.notify_all();
    }
}

#[derive(Default)]
struct Memory {
    steps: Mutex<Vec<(StepKey, StateId)>>,
    passed: Mutex<BTreeSet<TestKey>>,
    last: Mutex<BTreeMap<(String, String), StepKey>>,
}

impl StepCache for Memory {
    fn get(&self, key: &StepKey) -> Option<StateId> {
        let steps = self.steps.lock().expect("steps");
        steps.iter().rev().find(|(known, _)| known == key).map(|(_, state)| *state)
    }

    fn put(&self, key: &StepKey, state: StateId) {
        self.steps.lock().expect("steps").push((key.clone(), state));
        let names = (key.image.clone(), key.step.clone());
        self.last.lock().expect("last").insert(names, key.clone());
    }

    fn last(&self, image: &str, step: &str) -> Option<StepKey> {
        let last = self.last.lock().expect("last");
        last.get(&(image.to_owned(), step.to_owned())).cloned()
    }

    fn passed(&self, key: &TestKey) -> bool {
        self.passed.lock().expect("passed").contains(key)
    }

    fn put_passed(&self, key: &TestKey) {
        self.passed.lock().expect("passed").insert(*key);
    }
}

fn busybox_root(root: &Path) {
    for dir in ["bin", "etc", "proc", "sys", "dev", "tmp"] {
        fs::create_dir_all(root.join(dir)).expect("made");
    }
    fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox");
    for name in [
        "sh", "ls", "cat", "grep", "true", "false", "sleep", "touch", "test", "echo", "httpd",
        "wget",
    ] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).expect("link");
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").expect("passwd");
    fs::write(root.join("etc/group"), "root:x:0:\n").expect("group");
}

/// One provider, whatever a recipe says.
struct Only(Arc<SandboxProvider>);

impl Providers for Only {
    fn provider(&self, _name: &str) -> Result<Arc<dyn Provider>, ShadowError> {
        Ok(self.0.clone())
    }
}
