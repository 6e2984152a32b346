//! What everything that runs instances must do, as one suite that every implementation runs.

use std::time::Duration;

use umbra_api::error::ErrorCode;
use umbra_shadow::provider::{Init, Limits, Network};
use umbra_shadow::startup::{Service, Startup};
use umbra_state::{Command, Digest, StateId};

use super::{InstancePhase, InstanceSpec, Instances};

/// Panics unless `instances`, which has none yet, does what it must. `there` can be started; the
/// state of `gone` is not there.
#[track_caller]
pub fn check(instances: &dyn Instances, there: &InstanceSpec, gone: &InstanceSpec) {
    let names = || -> Vec<String> {
        let list = instances.list().expect("listed");
        list.into_iter().map(|instance| instance.name).collect()
    };
    assert_eq!(names(), [""; 0], "none is there at first");

    let [first, second] = ["conform-1", "conform-2"].map(|name| named(there, name));
    let started = instances.start(&first).expect("started");
    assert_eq!((started.name.as_str(), started.phase), ("conform-1", InstancePhase::Running));
    assert_eq!((&started.service, started.state), (&first.service, first.state));
    assert!(started.to.ends_with(&format!(":{}", first.port)), "{}", started.to);
    assert_eq!(instances.start(&first).expect("it is there"), started, "asking twice is once");

    let limits = Limits { pids: Some(4096), ..first.limits };
    let edited = InstanceSpec { limits, ..first.clone() };
    assert_eq!(instances.start(&edited).expect("it is there"), started, "as it was asked for");
    let other = InstanceSpec { port: first.port.wrapping_add(1), ..first.clone() };
    let refused = instances.start(&other).expect_err("the name is another's");
    assert_eq!(refused.code, ErrorCode::Conflict, "{refused}");
    let refused = instances.start(&named(gone, "conform-3")).expect_err("no such state");
    assert_eq!(refused.code, ErrorCode::NotFound, "{refused}");
    for bad in [named(there, "No Name"), InstanceSpec { port: 0, ..second.clone() }] {
        let refused = instances.start(&bad).expect_err("it could never run");
        assert_eq!(refused.code, ErrorCode::BadRequest, "{refused}");
    }
    assert_eq!(names(), ["conform-1"], "what was refused is not there");

    let twin = instances.start(&second).expect("started");
    assert_ne!(twin.to, started.to, "each has a place of its own");
    assert_eq!(instances.list().expect("listed"), [started, twin]);

    instances.stop("conform-1").expect("stopped");
    instances.stop("conform-1").expect("as good as stopped");
    assert_eq!(names(), ["conform-2"]);
    instances.start(&other).expect("the name is free again");
    for name in names() {
        instances.stop(&name).expect("stopped");
    }
    assert_eq!(names(), [""; 0]);
}

/// A spec of a state that is `number` in every byte.
pub fn sample(number: u8) -> InstanceSpec {
    let sleeper = Service {
        name: "web".to_owned(),
        command: Command::new(["sleep", "600"]),
        ready: None,
        timeout: Duration::from_secs(5),
    };
    InstanceSpec {
        service: "web".to_owned(),
        name: format!("web-{number}"),
        state: StateId(Digest::new([number; 32])),
        port: 8080,
        startup: Startup { init: Init::Small, complete: true, services: vec![sleeper] },
        network: Network::Fenced,
        limits: Limits::default(),
    }
}

fn named(spec: &InstanceSpec, name: &str) -> InstanceSpec {
    InstanceSpec { name: name.to_owned(), ..spec.clone() }
}
