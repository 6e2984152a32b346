//! What is asked about rollouts.

use tokio::sync::watch as told;
use umbra_api::error::{ErrorCode, WireError};
use umbra_api::rollout::{RolloutStatus, ServiceInfo, ServingInfo};

use super::plan::{Record, Serving};
use super::{Gauge, Rollouts, unknown};
use crate::db::rollouts::{RolloutRow, ServiceRow};

impl Rollouts {
    /// How a rollout stands.
    pub async fn status(&self, id: u64) -> Result<RolloutStatus, WireError> {
        if let Some(live) = self.live(id) {
            return Ok(live);
        }
        let row = self.db.rollout(id).await?.ok_or_else(|| unknown(&id.to_string()))?;
        kept_status(&row)
    }

    /// The number that a number or a service's name means: of that service's last rollout.
    pub async fn find(&self, name: &str) -> Result<u64, WireError> {
        if let Ok(id) = name.parse() {
            let known = self.live(id).is_some() || self.db.rollout(id).await?.is_some();
            return if known { Ok(id) } else { Err(unknown(name)) };
        }
        let last = self.db.last_rollout(name).await?;
        last.map(|row| row.id).ok_or_else(|| unknown(name))
    }

    /// The last rollouts, newest first.
    pub async fn list(&self, limit: u32) -> Result<Vec<RolloutStatus>, WireError> {
        let rows = self.db.rollouts(limit).await?;
        rows.iter().map(|row| self.live(row.id).map_or_else(|| kept_status(row), Ok)).collect()
    }

    fn live(&self, id: u64) -> Option<RolloutStatus> {
        let desks = self.lock();
        let kept = desks.going_on.get(&id).filter(|kept| !kept.is_over())?;
        Some(kept.status())
    }

    /// A receiver that changes when events of this rollout are committed; `None` of one that is
    /// over.
    pub fn committed(&self, id: u64) -> Option<told::Receiver<u64>> {
        let desks = self.lock();
        let kept = desks.going_on.get(&id).filter(|kept| !kept.is_over())?;
        Some(kept.shared.committed.subscribe())
    }

    /// What serves services, by name.
    pub async fn services(&self) -> Result<Vec<ServiceInfo>, WireError> {
        let rows = self.db.services().await?;
        let info = |row: &ServiceRow| service(row, self.going_on_of(&row.name));
        Ok(rows.iter().filter_map(info).collect())
    }

    fn going_on_of(&self, service: &str) -> Option<u64> {
        let desks = self.lock();
        let mut all = desks.going_on.iter();
        all.find(|(_, kept)| kept.service == service && !kept.is_over()).map(|(id, _)| *id)
    }

    /// The last rollout of each service.
    pub async fn gauges(&self) -> Result<Vec<Gauge>, WireError> {
        let rows = self.db.last_rollouts().await?;
        let gauge = |row: &RolloutRow| {
            let status = self.live(row.id).map_or_else(|| kept_status(row), Ok)?;
            Ok(Gauge { service: row.service.clone(), status })
        };
        rows.iter().map(gauge).collect()
    }
}

fn kept_status(row: &RolloutRow) -> Result<RolloutStatus, WireError> {
    serde_json::from_str(&row.status).map_err(|error| {
        let message = format!("read how rollout {} stood", row.id);
        WireError::new(ErrorCode::Environment, message).caused_by(error)
    })
}

fn service(row: &ServiceRow, goes_on: Option<u64>) -> Option<ServiceInfo> {
    let record: Record = serde_json::from_str(&row.record).ok()?;
    let serving = |serving: Serving| ServingInfo {
        what: serving.words,
        state: serving.state,
        targets: serving.targets.into_iter().map(|target| target.to).collect(),
        instances: serving.instances,
    };
    Some(ServiceInfo {
        name: row.name.clone(),
        gateway: record.gateway,
        route: record.route,
        rollout: record.rollout,
        since_ms: record.since_ms,
        goes_on,
        now: serving(record.now),
        before: serving(record.before),
    })
}
