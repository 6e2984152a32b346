//! Which rollout is meant, also where none is named.

use umbra_api::client::Client;
use umbra_api::rollout::{RolloutStatus, Told};

use crate::args::rollout::Which;
use crate::error::{CliError, Finish};

/// As many are looked at where none is named.
const LOOKED_AT: u32 = 100;

/// The one that is asked about; the last one if none is named.
pub(super) fn asked(client: &Client, which: &Which) -> Result<RolloutStatus, CliError> {
    if let Some(name) = &which.rollout {
        return Ok(client.rollout(name)?);
    }
    client.rollouts(1)?.into_iter().next().ok_or_else(none)
}

/// The one that is told something: the only one for which that makes sense if none is named.
pub(super) fn told(client: &Client, which: &Which, told: Told) -> Result<RolloutStatus, CliError> {
    match &which.rollout {
        Some(name) => Ok(client.rollout(name)?),
        None => only(client.rollouts(LOOKED_AT)?, told),
    }
}

fn only(all: Vec<RolloutStatus>, told: Told) -> Result<RolloutStatus, CliError> {
    if all.is_empty() {
        return Err(none());
    }
    let mut meant = meant(all, told);
    match meant.len() {
        0 => Err(CliError::new(Finish::Usage, "find a rollout that goes on: all are over")
            .with_hint("`umbra rollout ls` lists them")),
        1 => Ok(meant.remove(0)),
        _ => {
            let services: Vec<&str> = meant.iter().map(|one| one.service.as_str()).collect();
            Err(CliError::new(Finish::Usage, "choose a rollout: several can be meant")
                .with_hint(format!("name one of the services: {}", services.join(", "))))
        }
    }
}

/// The last rollout of each service, as far as it can be told this.
fn meant(all: Vec<RolloutStatus>, told: Told) -> Vec<RolloutStatus> {
    let mut last: Vec<RolloutStatus> = Vec::new();
    for one in all {
        match last.iter_mut().find(|known| known.service == one.service) {
            Some(known) if known.id < one.id => *known = one,
            Some(_) => {}
            None => last.push(one),
        }
    }
    let again = matches!(told, Told::Retry | Told::Undo);
    last.retain(|one| again || !one.phase.is_over());
    last
}

fn none() -> CliError {
    CliError::new(Finish::Usage, "find a rollout: there is none yet")
        .with_hint("begin one with `umbra rollout start SERVICE --image IMAGE`")
}

#[cfg(test)]
mod tests {
    use umbra_api::rollout::{ArmStatus, RolloutPhase};

    use super::*;

    fn rollout(id: u64, service: &str, phase: RolloutPhase) -> RolloutStatus {
        RolloutStatus {
            id,
            service: service.to_owned(),
            candidate: "new".to_owned(),
            state: None,
            baseline: "old".to_owned(),
            phase,
            reason: String::new(),
            steps: Vec::new(),
            weight_percent: 0.0,
            mirror_percent: 0.0,
            began_at_ms: 0,
            ended_at_ms: None,
            arms: [ArmStatus::default(), ArmStatus::default()],
            judged: None,
            analyses: Vec::new(),
            held_by: Vec::new(),
            journal: None,
            rolled_back: None,
            topped_up: 0,
        }
    }

    #[test]
    fn only_what_can_be_meant_is_told() {
        use RolloutPhase::{Failed, Paused, Running, Successful};
        #[track_caller]
        fn check(all: &[(u64, &str, RolloutPhase)], told: Told, expected: Result<u64, &str>) {
            let all = all.iter().map(|(id, service, phase)| rollout(*id, service, *phase));
            let found = only(all.collect(), told);
            let found = found
                .map(|one| one.id)
                .map_err(|error| format!("{} {}", error.message, error.hint.unwrap_or_default()));
            match expected {
                Ok(id) => assert_eq!(found, Ok(id)),
                Err(part) => {
                    assert!(found.as_ref().is_err_and(|all| all.contains(part)), "{found:?}")
                }
            }
        }
        let web = [(3, "web", Running), (2, "web", Failed), (1, "web", Successful)];
        check(&[], Told::Abort, Err("there is none yet"));
        check(&web, Told::Abort, Ok(3));
        check(&web[1..], Told::Abort, Err("all are over"));
        check(&web[1..], Told::Retry, Ok(2));
        let both = [(4, "api", Paused), (3, "web", Running), (2, "db", Failed)];
        check(&both, Told::Pause, Err("api, web"));
        check(&both, Told::Undo, Err("api, web, db"));
        check(&[(4, "api", Successful), (3, "web", Running)], Told::Promote, Ok(3));
    }
}
