//! Rollbacks without asking: what the policy refuses for now is done when that has passed.

use umbra_drift::policy::Refusal;
use umbra_drift::rollback::Outcome;
use umbra_drift::service::{By, RollbackReply, What};

use crate::scene::Scene;

const CONFIG: &str = "
version: 2
defaults: {debounce: 10ms}
parameters:
  - {name: dns, path: /etc/resolv.conf, severity: critical, on_drift: rollback}
  - {name: motd, path: /etc/motd, severity: low}
policy:
  auto_rollback: {min_severity: high, require: [no_conflict]}
";

const BAD: &str = "nameserver 203.0.113.9\n";

fn refused(scene: &Scene) -> Refusal {
    scene.until(|what| match what {
        What::NotRolledBack { refusal, .. } => Some(refusal),
        What::RollbackBegun { by: By::Policy, .. } => panic!("two at once"),
        _ => None,
    })
}

fn rolled_back(scene: &Scene) {
    let mut by_policy = None;
    let outcome = scene.until(|what| match what {
        What::RollbackBegun { number, by: By::Policy, .. } => {
            by_policy = Some(number);
            None
        }
        What::RollbackEnded { number, outcome, .. } if by_policy == Some(number) => Some(outcome),
        _ => None,
    });
    assert_eq!(outcome, Outcome::Done);
    assert!(scene.check().alerts.is_empty());
}

#[test]
fn one_waits_for_another_and_is_done_then() {
    let scene = Scene::new();
    scene.try_add(&scene.request("web", CONFIG)).expect("added");
    scene.rollback_waits();
    scene.change("/etc/resolv.conf", BAD);
    assert_eq!(refused(&scene), Refusal::InProgress);
    let reply: RollbackReply =
        scene.umbra().post("/v1/primaries/web/confirm", &()).expect("confirmed");
    assert_eq!(reply.rollback.expect("a rollback").outcome, Some(Outcome::Done));
    rolled_back(&scene);
}

#[test]
fn what_drifted_while_no_daemon_ran_is_put_back_by_the_next() {
    let mut scene = Scene::new();
    scene.try_add(&scene.request("web", CONFIG)).expect("added");
    scene.restart(|scene| scene.change("/etc/resolv.conf", BAD));
    rolled_back(&scene);
}
