//! Rehearsals as a client meets them, on a whole daemon with fake shadows: validators are
//! programs of those, so that `true` accepts everything and `fail` nothing.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use support::{FakeProvider, client, idle, start};
use umbra_api::client::{Client, ClientError};
use umbra_api::error::ErrorCode;
use umbra_daemon::instance::Instance;
use umbra_drift::policy::Refusal;
use umbra_drift::rollback::Outcome;
use umbra_drift::service::{
    AddPrimary, By, ConfigText, DriftReply, Event, PrimaryInfo, Selection, What,
};
use umbra_rehearse::Kind;
use umbra_rehearse::service::{RehearseReply, RehearseRequest};
use umbra_state::Verdict;

const PATIENCE: Duration = Duration::from_secs(30);

/// A primary that is a directory with one file, watched as `config` says.
struct Ground {
    instance: Instance,
    provider: Arc<FakeProvider>,
    dir: tempfile::TempDir,
}

impl Ground {
    fn new(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::write(root.join("etc/app"), "level=1\n").unwrap();
        let provider = Arc::<FakeProvider>::default();
        let ground =
            Self { instance: start(dir.path(), Arc::clone(&provider), idle), provider, dir };
        let request = AddPrimary {
            name: "web".into(),
            root: Some(root.display().to_string()),
            remote: None,
            image: None,
            config: Some(ConfigText { path: "c.yml".into(), text: config.into() }),
        };
        let _: PrimaryInfo = ground.client().post("/v1/primaries", &request).unwrap();
        ground
    }

    fn client(&self) -> Client {
        client(&self.instance)
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("root/etc/app")
    }

    fn rehearse(&self, what: Kind) -> Result<RehearseReply, ClientError> {
        let request = RehearseRequest {
            what,
            selection: Selection::default(),
            to: None,
            overwrite: false,
            recipe: None,
            provider: None,
        };
        self.client().post("/v1/primaries/web/rehearse", &request)
    }

    /// Follows events until one is found.
    #[track_caller]
    fn until<T>(&self, mut find: impl FnMut(What) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let events = self.client().follow::<Event>("/v1/drift/events?from=0&follow=true").unwrap();
        for event in events {
            if let Some(found) = find(event.unwrap().what) {
                return found;
            }
            assert!(Instant::now() < deadline, "waited too long");
        }
        panic!("the events ended");
    }

    #[track_caller]
    fn assert_nothing_is_left(self) {
        assert_eq!(self.provider.alive.names(), Vec::<String>::new());
        let scratch = fs::read_dir(self.dir.path().join("state/rehearsals")).unwrap();
        assert_eq!(scratch.count(), 0);
        self.instance.shutdown();
    }
}

fn config(rest: &str) -> String {
    format!("parameters:\n  - {{name: app, path: /etc/app, severity: critical, {rest}}}\n")
}

#[test]
fn a_drift_a_rollback_and_both_are_tried() {
    let ground = Ground::new(&config("validate: [accepts, '{file}']"));
    fs::write(ground.file(), "level=2\n").unwrap();
    for (what, runs) in [(Kind::Drift, 2), (Kind::Rollback, 2), (Kind::Both, 4)] {
        let report = ground.rehearse(what).unwrap().report;
        assert_eq!((report.what, report.verdict), (what, Verdict::Pass), "{report:?}");
        assert_eq!(report.runs.len(), runs);
        assert_eq!(report.runs[0].seen[0].name, "accepts /etc/app");
    }
    let told = ground.until(|what| match what {
        What::Rehearsed(told) => Some(told),
        _ => None,
    });
    assert_eq!((told.of.as_str(), told.by, told.verdict), ("drift", By::Person, Verdict::Pass));
    assert_eq!((told.parameters, told.level.as_str()), (vec!["app".to_owned()], "validators"));
    let drift: DriftReply = ground.client().get("/v1/primaries/web/drift").unwrap();
    assert_eq!(drift.rehearsal.unwrap().of, "both");
    // Another drift was not rehearsed.
    fs::write(ground.file(), "level=3\n").unwrap();
    let drift: DriftReply = ground.client().get("/v1/primaries/web/drift?fresh=true").unwrap();
    assert_eq!(drift.rehearsal, None);
    ground.assert_nothing_is_left();
}

#[test]
fn what_cannot_be_tried_is_no_pass() {
    let ground = Ground::new(&config("validate: [fail, '1']"));
    let nothing = ground.rehearse(Kind::Drift);
    assert!(matches!(nothing, Err(ClientError::Refused(e)) if e.code == ErrorCode::NotFound));
    fs::write(ground.file(), "level=2\n").unwrap();
    let report = ground.rehearse(Kind::Drift).unwrap().report;
    assert_eq!(report.verdict, Verdict::Inconclusive);
    let why = report.why.unwrap();
    assert!(why.contains("fail 1"), "{why}");
    // Nobody saw it start.
    let report = ground.rehearse(Kind::Reboot).unwrap().report;
    assert_eq!((report.what, report.verdict), (Kind::Reboot, Verdict::Inconclusive));
    ground.assert_nothing_is_left();
}

#[test]
fn files_among_which_the_daemons_own_are_can_be_shown() {
    let ground = Ground::new(&config(""));
    let filesystem = |path: &Path| fs::metadata(path).unwrap().dev();
    if filesystem(Path::new("/dev/shm")) == filesystem(ground.dir.path()) {
        println!("skipped: no memory filesystem lies beside the state directory");
        return;
    }
    let text = config("").replace("/etc/app", "/root/etc/app");
    let request = AddPrimary {
        name: "all".into(),
        root: Some(ground.dir.path().display().to_string()),
        remote: None,
        image: None,
        config: Some(ConfigText { path: "c.yml".into(), text }),
    };
    let _: PrimaryInfo = ground.client().post("/v1/primaries", &request).unwrap();
    fs::write(ground.file(), "level=2\n").unwrap();
    let rehearse = serde_json::json!({"what": "drift"});
    let reply: RehearseReply =
        ground.client().post("/v1/primaries/all/rehearse", &rehearse).expect("a shadow of them");
    // Nothing runs there that could say anything.
    assert_eq!(reply.report.verdict, Verdict::Inconclusive, "{:?}", reply.report);
    ground.assert_nothing_is_left();
}

#[test]
fn an_image_that_is_none_is_refused() {
    let ground = Ground::new(&config(""));
    let request = AddPrimary {
        name: "img".into(),
        root: Some(ground.dir.path().join("root").display().to_string()),
        remote: None,
        image: Some("nowhere".into()),
        config: Some(ConfigText { path: "c.yml".into(), text: config("") }),
    };
    let _: PrimaryInfo = ground.client().post("/v1/primaries", &request).unwrap();
    fs::write(ground.file(), "level=2\n").unwrap();
    let rehearse = serde_json::json!({"what": "drift"});
    let refused: Result<RehearseReply, _> =
        ground.client().post("/v1/primaries/img/rehearse", &rehearse);
    assert!(matches!(refused, Err(ClientError::Refused(e)) if e.code == ErrorCode::NotFound));
    ground.assert_nothing_is_left();
}

#[test]
fn a_recipe_that_is_none_is_refused() {
    let ground = Ground::new(&config(""));
    fs::write(ground.file(), "level=2\n").unwrap();
    let request = RehearseRequest {
        what: Kind::Drift,
        selection: Selection::default(),
        to: None,
        overwrite: false,
        recipe: Some("/nowhere/umbra.yaml".into()),
        provider: None,
    };
    let refused: Result<RehearseReply, _> =
        ground.client().post("/v1/primaries/web/rehearse", &request);
    assert!(matches!(refused, Err(ClientError::Refused(e)) if e.code == ErrorCode::BadRecipe));
    ground.assert_nothing_is_left();
}

#[test]
fn a_drift_that_wants_it_is_tried_by_itself() {
    let ground = Ground::new(&config("on_drift: rehearse, validate: [accepts]"));
    fs::write(ground.file(), "level=2\n").unwrap();
    let told = ground.until(|what| match what {
        What::Rehearsed(told) => Some(told),
        _ => None,
    });
    assert_eq!((told.of.as_str(), told.by, told.verdict), ("drift", By::Policy, Verdict::Pass));
    ground.assert_nothing_is_left();
}

const POLICY: &str = "policy:\n  auto_rollback: {min_severity: high, require: [rehearsal_pass]}\n";

#[test]
fn a_policy_rolls_back_what_passed() {
    let rest = "on_drift: rollback, validate: [accepts]";
    let ground = Ground::new(&format!("{}{POLICY}", config(rest)));
    fs::write(ground.file(), "level=2\n").unwrap();
    let mut rehearsed = None;
    let outcome = ground.until(|what| match what {
        What::Rehearsed(told) => {
            rehearsed = Some((told.of, told.by));
            None
        }
        What::RollbackEnded { outcome, .. } => Some(outcome),
        What::NotRolledBack { refusal, .. } => panic!("{refusal}"),
        _ => None,
    });
    assert_eq!(outcome, Outcome::Done);
    assert_eq!(rehearsed, Some(("rollback".to_owned(), By::Policy)));
    assert_eq!(fs::read_to_string(ground.file()).unwrap(), "level=1\n");
    ground.assert_nothing_is_left();
}

#[test]
fn a_policy_leaves_what_did_not_pass() {
    let rest = "on_drift: rollback, validate: [fail, '1']";
    let ground = Ground::new(&format!("{}{POLICY}", config(rest)));
    fs::write(ground.file(), "level=2\n").unwrap();
    let refusal = ground.until(|what| match what {
        What::NotRolledBack { refusal, .. } => Some(refusal),
        What::RollbackBegun { .. } => panic!("it was begun"),
        _ => None,
    });
    assert_eq!(refusal, Refusal::NotRehearsed { verdict: Some(Verdict::Inconclusive) });
    assert_eq!(fs::read_to_string(ground.file()).unwrap(), "level=2\n");
    ground.assert_nothing_is_left();
}

#[test]
fn a_daemon_that_goes_down_ends_what_is_tried() {
    let ground = Ground::new(&config("on_drift: rehearse, validate: [wait-gone]"));
    fs::write(ground.file(), "level=2\n").unwrap();
    let deadline = Instant::now() + PATIENCE;
    while ground.provider.alive.names().is_empty() {
        assert!(Instant::now() < deadline, "waited too long");
        std::thread::sleep(Duration::from_millis(5));
    }
    let began = Instant::now();
    ground.instance.shutdown();
    assert!(began.elapsed() < PATIENCE / 2);
    assert_eq!(ground.provider.alive.names(), Vec::<String>::new());
    assert_eq!(fs::read_dir(ground.dir.path().join("state/rehearsals")).unwrap().count(), 0);
}

#[test]
fn layers_of_a_killed_daemon_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let left = dir.path().join("state/rehearsals/rehearsal-rehearsal-1");
    fs::create_dir_all(left.join("1")).unwrap();
    let instance = start(dir.path(), Arc::default(), idle);
    assert!(!Path::new(&left).exists());
    instance.shutdown();
}
