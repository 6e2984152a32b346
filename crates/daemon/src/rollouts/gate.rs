//! The gateway, as one rollout speaks with it.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use umbra_api::client::{Client, ClientError, percent};
use umbra_api::error::{ErrorCode, WireError};
use umbra_gateway::compare::report::CompareReport;
use umbra_gateway::control::{GatewayStatus, MirrorStatus, RouteStatus, StartMirror, TargetStatus};
use umbra_gateway::routes::RoutesSetup;
use umbra_gateway::routes::setup::{RouteSetup, TargetSetup};
use umbra_gateway::split::wire::{
    AssignTargets, EndTo, SetTargets, SetWeight, SplitArm, SplitStatus, StartSplit,
};
use umbra_state::chain;

/// A gateway answers at once, if it does at all.
const PATIENCE: Duration = Duration::from_secs(10);

/// One route of a gateway, and the rollout that speaks: it changes no other's split.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    client: Client,
    route: String,
    rollout: u64,
}

/// Why a gateway did not do as it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum GateError {
    /// It may do so in a moment.
    #[error("{0}")]
    Away(String),
    /// There is no such thing there.
    #[error("{0}")]
    Nothing(String),
    /// It cannot be done as things are.
    #[error("{0}")]
    Conflict(String),
    /// It never will.
    #[error("{0}")]
    Refused(String),
}

impl Gate {
    /// The route of this name at the gateway with this socket.
    pub(super) fn new(socket: &Path, route: &str, rollout: u64) -> Self {
        let client = Client::new(socket).with_patience(PATIENCE);
        Self { client, route: route.to_owned(), rollout }
    }

    /// The route as it was set up; `None` where there is none of this name.
    pub(super) fn route(&self) -> Result<Option<RouteSetup>, GateError> {
        let all: RoutesSetup = self.client.get("/v1/routes").map_err(error)?;
        Ok(all.routes.into_iter().find(|route| route.name == self.route))
    }

    /// How the whole gateway stands.
    pub(super) fn gateway(&self) -> Result<GatewayStatus, GateError> {
        self.client.get("/v1/gateway").map_err(error)
    }

    /// How the split stands.
    pub(super) fn split(&self) -> Result<SplitStatus, GateError> {
        self.client.get(&self.target("")).map_err(error)
    }

    /// The same, once it is another than `after` or so much time has passed.
    pub(super) fn split_after(&self, after: u64, wait: Duration) -> Result<SplitStatus, GateError> {
        let patient = self.client.clone().with_patience(PATIENCE + wait);
        let range = format!("?after={after}&wait_ms={}", wait.as_millis());
        patient.get(&self.target(&range)).map_err(error)
    }

    /// Whether a split is this rollout's.
    pub(super) fn is_own(&self, split: &SplitStatus) -> bool {
        split.rollout == self.rollout
    }

    /// Mirrored requests that both shadows were compared by so far; where nothing is compared,
    /// those that mirror sent.
    pub(super) fn compared(&self, mirror: &str) -> u64 {
        if let Ok(report) = self.client.get::<CompareReport>("/v1/compare") {
            return report.compared;
        }
        // Without mirrors there is nothing, and nobody asks for long.
        let mirrors = self.gateway().map(|gateway| gateway.mirrors).unwrap_or_default();
        let mirror = mirrors.iter().find(|one| one.name == mirror);
        mirror.map_or(0, |mirror| mirror.counted.mirrored)
    }

    /// Where the route's requests go now; `None` where there is no such route.
    pub(super) fn leads_to(&self) -> Result<Option<Vec<TargetSetup>>, GateError> {
        let all: Vec<RouteStatus> = self.client.get("/v1/routes/status").map_err(error)?;
        let route = all.into_iter().find(|route| route.name == self.route);
        let target = |target: TargetStatus| TargetSetup {
            to: target.to,
            weight: target.weight,
            send_proxy: None,
        };
        Ok(route.map(|route| route.targets.into_iter().map(target).collect()))
    }

    /// Begins to split.
    pub(super) fn begin(&self, start: &StartSplit) -> Result<SplitStatus, GateError> {
        self.client.post(&self.target(""), start).map_err(error)
    }

    /// Gives a route that leads nowhere these targets.
    pub(super) fn assign(&self, targets: Vec<TargetSetup>) -> Result<(), GateError> {
        let target = format!("/v1/routes/{}/targets", percent(&self.route));
        let assign = AssignTargets { targets, rollout: self.rollout };
        self.client.post::<Value>(&target, &assign).map(drop).map_err(error)
    }

    /// Changes the candidate's part.
    pub(super) fn weigh(&self, weight: f64) -> Result<SplitStatus, GateError> {
        self.client.post(&self.own("/weight?"), &SetWeight { weight }).map_err(error)
    }

    /// Changes where an arm's requests go.
    pub(super) fn aim(&self, arm: SplitArm, targets: Vec<TargetSetup>) -> Result<(), GateError> {
        let set = SetTargets { arm, targets };
        self.client.post::<Value>(&self.own("/targets?"), &set).map(drop).map_err(error)
    }

    /// Ends the split.
    pub(super) fn end(&self, to: EndTo) -> Result<(), GateError> {
        let to = match to {
            EndTo::Baseline => "?to=baseline&",
            EndTo::Candidate => "?to=candidate&",
        };
        self.client.remove::<Value>(self.own(to)).map(drop).map_err(error)
    }

    /// Begins to mirror, or goes on otherwise.
    pub(super) fn mirror(&self, name: &str, start: &StartMirror) -> Result<(), GateError> {
        let target = format!("/v1/mirrors/{}", percent(name));
        self.client.post::<MirrorStatus>(&target, start).map(drop).map_err(error)
    }

    /// Mirrors no more under this name.
    pub(super) fn stop_mirror(&self, name: &str) -> Result<(), GateError> {
        let target = format!("/v1/mirrors/{}", percent(name));
        match self.client.remove::<Value>(target).map_err(error) {
            // What is not there needs not be removed.
            Ok(_) | Err(GateError::Nothing(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn target(&self, rest: &str) -> String {
        format!("/v1/splits/{}{rest}", percent(&self.route))
    }

    /// The same, of a split that is this rollout's or is not there.
    fn own(&self, rest: &str) -> String {
        self.target(&format!("{rest}rollout={}", self.rollout))
    }
}

fn error(error: ClientError) -> GateError {
    match error {
        ClientError::Refused(refused) => said(&refused),
        // Nobody listens, the connection broke, or it takes its time.
        ClientError::Connect { source, .. } => GateError::Away(source.to_string()),
        other => GateError::Away(chain(&other)),
    }
}

/// What it said, in one line.
fn said(error: &WireError) -> GateError {
    let mut why = error.message.clone();
    for cause in &error.causes {
        why.push_str(": ");
        why.push_str(cause);
    }
    match error.code {
        ErrorCode::NotFound => GateError::Nothing(why),
        ErrorCode::Conflict => GateError::Conflict(why),
        ErrorCode::ShuttingDown | ErrorCode::Timeout => GateError::Away(why),
        _ => GateError::Refused(why),
    }
}
