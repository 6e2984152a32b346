//! Keepers over shadows that exist in this process only.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use umbra_api::error::ErrorCode;
use umbra_shadow::fake::FakeProvider;
use umbra_shadow::startup::{Ready, Service};
use umbra_state::{Command, Dir, Meta, StateId, Tree};
use umbra_store::Store;

use super::conformance::{check, sample};
use super::journal::{Journal, Wanted};
use super::{InstancePhase, InstanceSpec, Instances, Keeper};

fn store(dir: &Path) -> Store {
    Store::open(&dir.join("store")).expect("a store")
}

fn keeper(dir: &Path) -> Keeper {
    let provider = Arc::new(FakeProvider::default());
    Keeper::open(dir, provider, store(dir)).expect("a keeper")
}

fn state(store: &Store, mode: u16) -> StateId {
    let root = Dir { meta: Meta { mode, ..Meta::default() }, ..Dir::default() };
    store.put(&Tree { root: root.into() }).expect("put")
}

/// An instance of a state that is in the store, with these commands as its services.
fn web(dir: &Path, commands: &[&str]) -> InstanceSpec {
    let mut spec = InstanceSpec { state: state(&store(dir), 0o755), ..sample(1) };
    spec.startup.services = commands
        .iter()
        .map(|command| Service {
            name: "web".to_owned(),
            command: Command::shell(*command),
            ready: None,
            timeout: Duration::from_secs(5),
        })
        .collect();
    spec
}

#[track_caller]
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn it_conforms() {
    let dir = tempfile::tempdir().expect("a directory");
    let keeper = keeper(dir.path());
    check(&keeper, &web(dir.path(), &["sleep 600"]), &sample(2));
    assert_eq!(store(dir.path()).list_refs().expect("refs").len(), 0, "no state is kept");
}

#[test]
fn what_is_wanted_is_kept_from_the_collector_and_begun_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = web(dir.path(), &["sleep 600"]);
    let second = InstanceSpec { name: "web-2".to_owned(), ..first.clone() };
    let begun = keeper(dir.path());
    let started = begun.start(&first).expect("started");
    begun.start(&second).expect("started");
    begun.stop("web-2").expect("stopped");
    let collected = store(dir.path()).gc(&[]).expect("collected");
    assert_eq!(collected.states_removed, [], "an instance shows it");
    drop(begun);
    store(dir.path()).set_ref("instance/stale", first.state).expect("what a kill may leave");

    let next = keeper(dir.path());
    assert_eq!(next.start(&first).expect("it is there").to, started.to);
    let names: Vec<String> = next.list().expect("listed").into_iter().map(|i| i.name).collect();
    assert_eq!(names, ["web-1"]);
    let refs = store(dir.path()).list_refs().expect("refs");
    assert_eq!(refs.into_keys().collect::<Vec<_>>(), ["instance/web-1"]);

    assert_eq!(next.stop_all().expect("stopped"), ["web-1"]);
    assert!(next.is_over(Duration::MAX));
    let refused = next.start(&first).expect_err("it ends");
    assert_eq!(refused.code, ErrorCode::ShuttingDown);
    drop(next);
    assert_eq!(keeper(dir.path()).list().expect("listed"), []);
    assert_eq!(store(dir.path()).gc(&[]).expect("collected").states_removed, [first.state]);
}

#[test]
fn a_keeper_is_over_after_a_while_without_instances_only() {
    let dir = tempfile::tempdir().expect("a directory");
    let keeper = keeper(dir.path());
    let refused = keeper.start(&web(dir.path(), &[])).expect_err("nothing runs in it");
    assert_eq!(refused.code, ErrorCode::BadRequest);
    let spec = web(dir.path(), &["sleep 600"]);
    assert!(!keeper.is_over(Duration::from_secs(600)));
    keeper.start(&spec).expect("started");
    assert!(!keeper.is_over(Duration::ZERO), "there is one");
    keeper.stop(&spec.name).expect("stopped");
    assert!(keeper.is_over(Duration::ZERO));
}

#[test]
fn a_state_that_is_gone_is_said_as_long_as_it_is() {
    let dir = tempfile::tempdir().expect("a directory");
    let gone = Wanted { spec: sample(7), address: Some([192, 0, 2, 77].into()) };
    Journal::of(dir.path()).write(vec![gone]).expect("written");
    let keeper = keeper(dir.path());
    until("it was tried more than once", || {
        keeper.list().expect("listed").iter().all(|instance| instance.restarts >= 2)
    });
    let instance = keeper.list().expect("listed").remove(0);
    assert_eq!(instance.phase, InstancePhase::Restarting);
    assert_eq!(instance.to, "192.0.2.77:8080", "where it was");
    let why = instance.why.expect("a reason");
    assert!(why.contains("the store does not have state 070707"), "{why}");
    assert_eq!(keeper.start(&sample(7)).expect_err("gone").code, ErrorCode::NotFound);
    assert_eq!(keeper.list().expect("listed").len(), 1, "it is wanted all the same");
}

#[test]
fn a_service_that_ends_is_started_again_beside_the_others() {
    let dir = tempfile::tempdir().expect("a directory");
    let keeper = keeper(dir.path());
    let spec = web(dir.path(), &["echo begun ; exit 3", "sleep 600"]);
    keeper.start(&spec).expect("started");
    until("it was started again", || keeper.list().expect("listed")[0].restarts >= 2);
    let why = keeper.list().expect("listed").remove(0).why.expect("a reason");
    assert_eq!(why, "service web ended with exit code 3");
    let logs = keeper.logs(&spec.name, 1000).expect("logs");
    assert!(logs[0].text.matches("begun").count() >= 2, "{logs:?}");
    assert_eq!((logs[1].restarts, logs[1].text.as_str()), (0, ""));
    assert_eq!(keeper.logs(&spec.name, 4).expect("logs")[0].text.len(), 4);
}

#[test]
fn what_does_not_begin_is_told_and_leaves_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let keeper = keeper(dir.path());
    let mut never = web(dir.path(), &["echo oh no ; exit 1"]);
    never.startup.services[0].ready = Some(Ready::Command(Command::new(["false"])));
    let refused = keeper.start(&never).expect_err("it ends");
    let told = format!("{refused}: {}", refused.causes.join("; "));
    assert!(told.contains("it ended with exit code 1") && told.contains("oh no"), "{told}");
    assert_eq!(keeper.list().expect("listed"), []);
    assert_eq!(store(dir.path()).list_refs().expect("refs").len(), 0);
}

#[test]
fn one_that_is_asked_for_anew_or_stopped_while_it_begins_does_not_hang() {
    let dir = tempfile::tempdir().expect("a directory");
    let keeper = keeper(dir.path());
    let spec = web(dir.path(), &["sleep 600"]);
    let before = keeper.start(&spec).expect("started");
    let anew = keeper.restart(&spec.name).expect("begun anew");
    assert_eq!((anew.restarts, anew.to), (1, before.to));
    assert_eq!(keeper.restart("nobody").expect_err("unknown").code, ErrorCode::NotFound);

    let mut slow = InstanceSpec { name: "slow".to_owned(), ..spec };
    slow.startup.services[0].ready = Some(Ready::Command(Command::new(["false"])));
    slow.startup.services[0].timeout = Duration::from_secs(600);
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| keeper.start(&slow));
        until("it begins", || keeper.list().expect("listed").len() == 2);
        keeper.stop("slow").expect("stopped");
        let told = starting.join().expect("no panic").expect_err("stopped meanwhile");
        assert!(!told.message.is_empty());
    });
    assert_eq!(keeper.list().expect("listed").len(), 1);
}
