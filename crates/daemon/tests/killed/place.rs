//! A directory in which daemons live and die, and what must hold there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use umbra_api::build::{BuildEvent, BuildPhase, BuildRequest, Event};
use umbra_api::client::Client;
use umbra_state::StateId;
use umbra_store::Store;

use crate::process::{Daemon, config};
use crate::support::{make_root, recipe, until};
use crate::traces::{Traces, group_dirs, lives, owner};

const PATIENCE: Duration = Duration::from_secs(10);

/// What came of a daemon that was to die at a point.
#[derive(Debug)]
pub(crate) struct Round {
    /// Whether it did, and did not pass fewer points than that.
    pub(crate) died: bool,
    /// Whether its build's seal was kept.
    pub(crate) sealed: bool,
}

/// See the module.
pub(crate) struct Place {
    dir: tempfile::TempDir,
    /// The last build that is known, and the image it made.
    build: u64,
    image: Option<StateId>,
    /// The processes of daemons that died.
    families: Vec<(u32, String)>,
}

impl Place {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        make_root(&dir.path().join("root"));
        Self { dir, build: 0, image: None, families: Vec::new() }
    }

    /// A daemon's life with one build; how many points it passes.
    pub(crate) fn undisturbed(&mut self, version: u64) -> usize {
        let daemon = self.daemon(0).expect("nothing kills it");
        self.build(version);
        let points = daemon.stop().expect("nothing kills it");
        self.check_nothing_is_left();
        points
    }

    /// A daemon that dies at `point` of its life, and what its successors make of it.
    pub(crate) fn killed_at(&mut self, point: usize, version: u64) -> Round {
        let daemon = self.daemon(point);
        let told = if daemon.is_some() { self.try_build(version) } else { Vec::new() };
        let died = self.end(daemon);
        // The first successor may die while it cleans up: its points are few, so each has its
        // turn, and in every fifth round none has.
        if point.is_multiple_of(2) {
            // Needs no successor: a killed daemon's launcher ends what it made.
            self.check_nothing_lives();
        }
        let successor = self.daemon(point % 5);
        self.end(successor);
        let daemon = self.daemon(0).expect("nothing kills it");
        self.check_nothing_lives();
        let sealed = self.check_remains(&told);
        self.build(version);
        daemon.stop().expect("nothing kills it");
        self.check_nothing_is_left();
        Round { died, sealed }
    }

    fn daemon(&self, point: usize) -> Option<Daemon> {
        Daemon::start(self.dir.path(), point)
    }

    fn client(&self) -> Client {
        Client::new(config(self.dir.path()).socket)
    }

    fn store(&self) -> Store {
        Store::open(&config(self.dir.path()).store()).expect("the store")
    }

    fn request(&self, version: u64) -> BuildRequest {
        let path = self.dir.path().join("umbra.yaml");
        fs::write(&path, recipe(version)).expect("a recipe");
        BuildRequest {
            recipe: path.display().to_string(),
            vars: Vec::new(),
            until: None,
            no_cache: false,
            on_error: None,
        }
    }

    /// Builds, and takes it that the build is good and its image the one that is known.
    fn build(&mut self, version: u64) {
        let umbra = self.client();
        self.build = umbra.start_build(&self.request(version)).expect("started").id;
        let events: Vec<BuildEvent> =
            umbra.events(self.build, 0).expect("followed").map(Result::unwrap).collect();
        assert_eq!(end(&events), BuildPhase::Done, "{events:#?}");
        self.image = sealed(&events);
        let known = umbra.images().expect("listed").into_iter().map(|image| image.state);
        assert_eq!(known.collect::<Vec<_>>(), Vec::from_iter(self.image));
    }

    /// Builds as far as the daemon lives; the events that were told.
    fn try_build(&self, version: u64) -> Vec<BuildEvent> {
        let umbra = self.client();
        let started = umbra.start_build(&self.request(version));
        let events = started.and_then(|info| umbra.events(info.id, 0));
        events.into_iter().flatten().map_while(Result::ok).collect()
    }

    /// Waits for a daemon's death, or ends it in order where it lives on. Whether it was killed.
    fn end(&mut self, daemon: Option<Daemon>) -> bool {
        self.families.extend(daemon.iter().flat_map(|daemon| daemon.family.clone()));
        daemon.is_none_or(|daemon| daemon.stop().is_none())
    }

    /// Nothing of those that died lives, or soon will: neither they and their launchers, nor a
    /// shadow, a port or a mount of theirs.
    fn check_nothing_lives(&mut self) {
        let (families, shadows) = (std::mem::take(&mut self.families), self.shadows());
        until("their processes are gone", PATIENCE, || {
            !families.iter().any(lives) && processes(&shadows).is_empty()
        });
        let traces = Traces::of(&shadows);
        until("their ports are gone", PATIENCE, || traces.ports().is_empty());
        traces.check_no_mounts();
    }

    fn shadows(&self) -> PathBuf {
        config(self.dir.path()).shadows()
    }

    /// A build is absent or whole, and everything that tells of it says the same. Whether it
    /// was sealed.
    fn check_remains(&self, told: &[BuildEvent]) -> bool {
        let umbra = self.client();
        let newest = umbra.builds(1).expect("listed").pop().filter(|info| info.id > self.build);
        let events: Vec<BuildEvent> = match &newest {
            Some(info) => umbra.events(info.id, 0).expect("read").map(Result::unwrap).collect(),
            None => Vec::new(),
        };
        assert!(events.starts_with(told), "{told:#?} were told, {events:#?} are kept");
        assert!(events.iter().zip(0..).all(|(event, seq)| event.seq == seq), "{events:#?}");
        let store = self.store();
        if let Some(info) = &newest {
            assert_eq!(info.phase, end(&events));
            let reason = info.reason.as_deref().unwrap_or_default();
            let expected = match info.phase {
                BuildPhase::Done => reason.is_empty(),
                BuildPhase::Broken => reason.contains("ended without notice"),
                _ => false,
            };
            assert!(expected, "{info:?}");
            for state in ingested(&events) {
                store.load(state).expect("a state that was told is whole");
            }
        }
        let sealed = sealed(&events);
        let image = sealed.or(self.image);
        let known = umbra.images().expect("listed").into_iter().map(|image| image.state);
        assert_eq!(known.collect::<Vec<_>>(), Vec::from_iter(image), "the database's image");
        assert_eq!(store.get_ref("image/web").expect("read"), image, "the store's image");
        if image.is_some() {
            let timeline = umbra.timeline("web").expect("read");
            assert_eq!(timeline.last().map(|entry| entry.state), image);
        }
        let last = newest.map_or(self.build, |info| info.id);
        for name in store.list_refs().expect("listed").into_keys() {
            let build = name.strip_prefix("build/").and_then(|rest| rest.split('/').next());
            let build = build.and_then(|number| number.parse().ok());
            assert!(build.is_none_or(|build: u64| build <= last), "{name} is of no build");
        }
        sealed.is_some()
    }

    /// After a daemon that ended in order: nothing on the machine, only what belongs there in
    /// the directory, and every byte of it right.
    fn check_nothing_is_left(&self) {
        Traces::of(&self.shadows()).check_gone();
        let report = self.store().fsck().expect("checked");
        assert!(report.leftovers_checked && report.is_clean(), "{report:?}");
        let state = config(self.dir.path()).state_dir;
        check_names(self.dir.path(), &["points", "root", "state", "umbra.yaml"]);
        check_names(&state, &["daemon.lock", "rehearsals", "shadows", "store", "umbra.db"]);
        check_names(&state.join("rehearsals"), &[]);
        check_names(&state.join("shadows"), &["lock"]);
        check_names(&state.join("store"), &["checkouts", "journal", "layers", "lock", "repo"]);
        check_names(&state.join("store/layers"), &[]);
    }
}

#[track_caller]
fn check_names(dir: &Path, expected: &[&str]) {
    let entries = fs::read_dir(dir).expect("listed").flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let expected = expected.iter().map(ToString::to_string);
    assert_eq!(names.collect::<BTreeSet<_>>(), expected.collect(), "in {}", dir.display());
}

/// The processes in the control groups of a provider's shadows.
fn processes(shadows: &Path) -> Vec<String> {
    let groups = group_dirs(&owner(shadows)).into_iter().filter_map(|dir| fs::read_dir(dir).ok());
    let lists = groups
        .flat_map(|entries| entries.flatten())
        .filter_map(|entry| fs::read_to_string(entry.path().join("cgroup.procs")).ok());
    lists.flat_map(|list| list.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

fn end(events: &[BuildEvent]) -> BuildPhase {
    match events.last().map(|last| &last.event) {
        Some(Event::Ended { phase, .. }) => *phase,
        other => panic!("expected an end, found {other:?}"),
    }
}

fn sealed(events: &[BuildEvent]) -> Option<StateId> {
    events.iter().find_map(|event| match event.event {
        Event::Sealed { state, .. } => Some(state),
        _ => None,
    })
}

fn ingested(events: &[BuildEvent]) -> impl Iterator<Item = StateId> {
    events.iter().filter_map(|event| match event.event {
        Event::StepIngested { state, .. } => Some(state),
        _ => None,
    })
}
