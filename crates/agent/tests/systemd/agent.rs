//! What a daemon would say to the agent in a shadow; every question has an agent of its own.

use std::time::Duration;

use umbra_drift::config;
use umbra_drift::reading::Snapshot;
use umbra_drift::rollback::Outcome;
use umbra_drift::rollback::plan::{Confirmation, Conflicts, Request, Selection, plan};
use umbra_drift::wire::{self, Ask, Begin, RollBack, Say, Tell};
use umbra_shadow::Shadow;
use umbra_state::Command;

use crate::machine::{BAD, run, sh};

/// Where the machine has the agent.
pub(crate) const PROGRAM: &str = "/usr/local/bin/umbra-agent";

const CONFIG: &str = "version: 2\nparameters:\n  - {name: beacon, path: /etc/beacon.conf, \
    rollback: {mode: restore}, apply: {reload: beacon.service}}\n";

/// Lets the beacon drift and rolls it back; somebody must confirm that within the time.
#[track_caller]
pub(crate) fn roll_back(shadow: &dyn Shadow, id: &str, confirm: Duration) -> Outcome {
    let good = readings(shadow);
    sh(shadow, &format!("printf '{BAD}' > /etc/beacon.conf"));
    let plan = plan(Request {
        config: &config::parse("test.yml", CONFIG).expect("a configuration"),
        target: &good,
        base: &good,
        current: &readings(shadow),
        files: &Default::default(),
        selection: &Selection::Everything,
        conflicts: Conflicts::Stop,
    });
    let timeout_ms = u64::try_from(confirm.as_millis()).expect("a short time");
    let confirm = Some(Confirmation { timeout_ms, probes: Vec::new(), by_person: true });
    let wanted = RollBack { id: id.to_owned(), plan, confirm, ignore_packages: false };
    answer(shadow, Ask::RollBack(Box::new(wanted)))
}

/// What the agent says became of a rollback when it is asked this.
#[track_caller]
pub(crate) fn answer(shadow: &dyn Shadow, ask: Ask) -> Outcome {
    let told = converse(shadow, ask);
    let outcome = told.iter().find_map(|tell| match tell {
        Tell::RolledBack { number: Some(_), outcome, .. } => Some(outcome.clone()),
        _ => None,
    });
    outcome.unwrap_or_else(|| panic!("no outcome in {told:#?}"))
}

#[track_caller]
fn readings(shadow: &dyn Shadow) -> Snapshot {
    let told = converse(shadow, Ask::All).into_iter();
    let readings = told.filter_map(|tell| match tell {
        Tell::All { number: Some(_), readings, .. } => Some(readings),
        _ => None,
    });
    Snapshot { readings: readings.flatten().collect() }
}

#[track_caller]
fn converse(shadow: &dyn Shadow, ask: Ask) -> Vec<Tell> {
    let begin = Say::Begin(Begin {
        version: wire::VERSION,
        root: None,
        config_name: "test.yml".to_owned(),
        config: CONFIG.to_owned(),
        state_dir: "/var/lib/umbra-agent".to_owned(),
    });
    let mut command = Command::new([PROGRAM, "agent"]).with_timeout(Duration::from_secs(30));
    for said in [begin, Say::Ask { number: 1, ask }] {
        wire::write(&mut command.stdin, &said).expect("a line");
    }
    let said = run(shadow, &command);
    let mut from = said.as_slice();
    std::iter::from_fn(|| wire::read(&mut from).expect("a line")).collect()
}
