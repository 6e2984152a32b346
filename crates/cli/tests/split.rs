//! A route's sessions split between two arms, by a gateway that is killed, replaced and told to
//! read its files again.

#![allow(clippy::unwrap_used)]

#[path = "support/gateway.rs"]
mod support;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::{Gateway, answering, good, server, umbra};
use umbra_api::client::Client;
use umbra_gateway::routes::setup::TargetSetup;
use umbra_gateway::split::wire::{OnWorse, SetWeight, SplitStatus, StartSplit};
use umbra_judge::journal::replay::replay;
use umbra_judge::settings::{Metrics, Settings};

struct Place {
    dir: tempfile::TempDir,
    baseline: SocketAddr,
    gateway: Option<Gateway>,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let baseline = server("baseline");
        let place = Self { dir, baseline, gateway: None };
        place.write("web", &format!("[{{ to: '{baseline}' }}]"));
        place
    }

    fn state(&self) -> &Path {
        self.dir.path()
    }

    fn routes(&self) -> PathBuf {
        self.state().join("routes.yaml")
    }

    /// The file of routes.
    fn write(&self, name: &str, targets: &str) {
        let text = format!(
            "routes:\n  - name: {name}\n    targets: {targets}\n    sticky: {{ header: x-user }}\n"
        );
        std::fs::write(self.routes(), text).unwrap();
    }

    fn begin(&mut self, more: &[&str]) {
        let routes = self.routes().display().to_string();
        let words = ["--listen", "127.0.0.1:0", "--routes", &routes];
        self.gateway = Some(Gateway::with(self.state(), &[&words, more].concat()));
    }

    fn gateway(&self) -> &Gateway {
        self.gateway.as_ref().unwrap()
    }

    fn control(&self) -> Client {
        Client::new(self.state().join("gateway.sock"))
    }

    fn split(&self, candidate: SocketAddr, weight: f64) -> SplitStatus {
        let start = StartSplit {
            candidate: vec![TargetSetup {
                to: candidate.to_string(),
                weight: 1.0,
                send_proxy: None,
            }],
            control: Vec::new(),
            weight,
            settings: Settings {
                metrics: Metrics { errors: true, ..Metrics::NONE },
                ..Settings::default()
            },
            journal: self.journal(),
            on_worse: OnWorse::Rollback,
            rollout: 3,
        };
        self.control().post("/v1/splits/web", &start).unwrap()
    }

    fn journal(&self) -> PathBuf {
        self.state().join("web.journal")
    }

    /// Who serves each of some users.
    fn served(&self) -> Vec<String> {
        let one = |n| self.gateway().ask(&["-H", &format!("x-user: {n}")]);
        (0..40).map(one).collect()
    }

    /// How it stands, once it stands so.
    #[track_caller]
    fn until(&self, so: impl Fn(&SplitStatus) -> bool) -> SplitStatus {
        let until = Instant::now() + Duration::from_secs(60);
        let (mut after, control) = (0, self.control());
        loop {
            let target = format!("/v1/splits/web?after={after}&wait_ms=50");
            let status: SplitStatus = control.get(&target).unwrap();
            if so(&status) {
                return status;
            }
            assert!(Instant::now() < until, "{status:#?}");
            after = status.version;
        }
    }
}

fn units(status: &SplitStatus) -> u64 {
    status.standing.as_ref().map_or(0, |one| one.units.iter().sum())
}

#[test]
fn a_killed_gateway_goes_on_where_it_was() {
    let mut place = Place::new();
    place.begin(&[]);
    place.split(server("candidate"), 0.4);
    let served = place.served();
    assert!(served.iter().any(|who| who == "candidate"), "{served:?}");
    // What is in the journal is there, whoever is killed.
    let before = place.until(|status| units(status) == 40 && status.journal.bytes > 40 * 16);
    place.gateway().signal(Signal::KILL);
    place.begin(&[]);
    assert_eq!(place.served(), served, "every session is where it was");
    let after = place.until(|status| units(status) == 40);
    assert_eq!((after.weight, after.rollout), (0.4, 3));
    assert!(after.version > before.version && after.journal.problem.is_none());
    let log_e = |status: SplitStatus| status.standing.unwrap().log_e.to_bits();
    assert_eq!(log_e(after), log_e(before));
}

#[test]
fn a_successor_goes_on_and_rolls_back() {
    let mut place = Place::new();
    place.begin(&[]);
    // So few that there is nothing to decide yet, whoever they are.
    place.split(answering("500 Oh", "candidate"), 0.001);
    place.served();
    let mut first = place.gateway.take().unwrap();
    let at = first.at.clone();
    let routes = place.routes().display().to_string();
    let words = ["--listen", &at, "--routes", &routes, "--replace"];
    place.gateway = Some(Gateway::with(place.state(), &words));
    assert!(first.process.wait().unwrap().success());
    let control = place.control();
    let _: SplitStatus = control.post("/v1/splits/web/weight", &SetWeight { weight: 0.3 }).unwrap();
    place.served();
    let status = place.until(|status| status.rolled_back);
    let worse = status.worse.clone().unwrap();
    assert!(worse.words.starts_with("errors"), "{worse:?}");
    assert!(place.served().iter().all(|who| who == "baseline"));
    let refused: Result<SplitStatus, _> =
        control.post("/v1/splits/web/weight", &SetWeight { weight: 0.3 });
    assert!(refused.unwrap_err().to_string().contains("rolled back"));
    let listed = good(&umbra(place.state(), &["route", "list"]));
    assert!(listed.contains("rollout 3 was rolled back"), "{listed}");

    let metrics = Gateway::metrics(place.state());
    for line in [
        "umbra_split_weight{route=\"web\"} 0",
        "umbra_split_rolled_back{route=\"web\"} 1",
        "umbra_split_in_flight{route=\"web\",arm=\"candidate\"} 0",
    ] {
        assert!(metrics.lines().any(|one| one == line), "{line} is not in\n{metrics}");
    }

    // Killed now, it stays rolled back; its journal says why to whoever asks.
    place.gateway().signal(Signal::KILL);
    place.begin(&[]);
    assert!(place.served().iter().all(|who| who == "baseline"));
    assert!(place.until(|status| status.standing.is_some()).rolled_back);
    let journal = std::fs::read(place.journal()).unwrap();
    let replayed = replay(&journal).unwrap();
    assert!(replayed.trial.is_worse());
    assert_eq!((replayed.decisions, replayed.different), (1, 0));
    // What was under way then is counted, too.
    assert!(replayed.trial.log_peak() >= worse.log_e);
}

#[test]
fn what_a_rollout_left_outlives_files_that_are_read_again() {
    let mut place = Place::new();
    place.begin(&[]);
    place.split(server("candidate"), 0.5);
    let served = place.served();
    good(&umbra(place.state(), &["gateway", "reload"]));
    assert_eq!(place.served(), served);
    for (name, targets, why) in [
        ("shop", "[{ to: '127.0.0.1:9' }]", "it would not be there any more"),
        ("web", "[{ to: 'x' }]", "target"),
    ] {
        place.write(name, targets);
        let refused = umbra(place.state(), &["gateway", "reload"]);
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && told.contains(why), "{told}");
        assert_eq!(place.served(), served);
    }
    place.write("web", &format!("[{{ to: '{}' }}]", place.baseline));
    let _: SplitStatus = place.control().remove("/v1/splits/web?to=candidate".to_owned()).unwrap();
    place.gateway().signal(Signal::HUP);
    assert!(place.served().iter().all(|who| who == "candidate"));
    place.gateway().signal(Signal::KILL);
    place.begin(&[]);
    assert!(place.served().iter().all(|who| who == "candidate"));

    let listed = good(&umbra(place.state(), &["route", "list"]));
    assert!(listed.contains("umbra route release"), "{listed}");
    let weigh = ["route", "weigh", "web", &format!("{}=2", place.baseline)];
    let refused = umbra(place.state(), &weigh);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("rollout 3 manages it"));
    good(&umbra(place.state(), &["route", "release", "web"]));
    assert!(place.served().iter().all(|who| who == "baseline"));
    assert!(!umbra(place.state(), &["route", "release", "web"]).status.success());
}
