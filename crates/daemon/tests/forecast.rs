//! Forecasts as a client meets them: numbers with bounds are listed, and kept over a restart.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use support::{client, idle, start};
use umbra_daemon::instance::Instance;
use umbra_drift::forecast::{Bound, Outlook};
use umbra_drift::service::{AddPrimary, ConfigText, Forecast, PrimaryInfo};

const CONFIG: &str = "
parameters:
  - {name: used, path: /used, severity: high, tolerance: 100, expect: {le: 95}}
  - {name: exact, path: /exact, severity: high}
";

/// Asks until a number was kept.
#[track_caller]
fn until_kept(instance: &Instance, points: u64) -> Vec<Forecast> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let all: Vec<Forecast> = client(instance).get("/v1/primaries/web/forecast").unwrap();
        if all.iter().any(|one| one.points >= points) {
            return all;
        }
        assert!(Instant::now() < deadline, "{all:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn numbers_with_bounds_are_listed_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("used"), "50\n").unwrap();
    fs::write(root.join("exact"), "1\n").unwrap();
    let instance = start(dir.path(), Arc::default(), idle);
    let request = AddPrimary {
        name: "web".into(),
        root: Some(root.display().to_string()),
        remote: None,
        image: None,
        config: Some(ConfigText { path: "c.yml".into(), text: CONFIG.into() }),
    };
    let _: PrimaryInfo = client(&instance).post("/v1/primaries", &request).unwrap();
    let all = until_kept(&instance, 1);
    let [used] = &all[..] else { panic!("{all:?}") };
    assert_eq!((used.item.parameter.as_str(), used.value), ("used", 50.0));
    assert!(matches!(used.bound, Bound::Above(_)));
    assert!(matches!(used.outlook, Outlook::Unknown(_)), "one reading is no forecast");
    instance.shutdown();
    let instance = start(dir.path(), Arc::default(), idle);
    until_kept(&instance, 2);
    instance.shutdown();
}
