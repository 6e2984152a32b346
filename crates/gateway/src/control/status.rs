//! How a gateway stands.

use serde::{Deserialize, Serialize};

use super::Control;
use super::mirrors::{MirrorStatus, statuses};
use super::routes::{RouteStatus, route_statuses};
use crate::listen::access_log::LogStatus;
use crate::listen::counts::ClosedStatus;
use crate::listen::tls::TlsStatus;

/// How a gateway stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GatewayStatus {
    /// Where clients come to.
    pub listen: String,
    /// Requests answered.
    pub requests: u64,
    /// Those of them that production did not answer.
    pub failed: u64,
    /// Memory for copies that is taken, in bytes.
    pub mirror_bytes: u64,
    /// As much as may be taken.
    pub mirror_bytes_max: u64,
    /// Its routes.
    pub routes: Vec<RouteStatus>,
    /// Its mirrors.
    pub mirrors: Vec<MirrorStatus>,
    /// Certificates clients are served with, if there are any.
    #[serde(default)]
    pub tls: Option<TlsStatus>,
    /// Its access log, if there is one.
    #[serde(default)]
    pub access_log: Option<LogStatus>,
    /// Connections the gateway closed, and bodies it broke off, by cause.
    #[serde(default)]
    pub closed: Vec<ClosedStatus>,
}

impl Control {
    /// How everything stands.
    pub fn status(&self) -> GatewayStatus {
        let metrics = self.proxy.metrics();
        let taken = self.memory_bytes_max.saturating_sub(self.memory.available_permits());
        GatewayStatus {
            listen: self.listen.clone(),
            requests: metrics.requests(),
            failed: metrics.failed(),
            mirror_bytes: taken as u64,
            mirror_bytes_max: self.memory_bytes_max as u64,
            routes: route_statuses(&self.proxy.routes()),
            mirrors: statuses(&self.proxy.mirrors()),
            tls: self.front.tls_status(),
            access_log: self.front.log_status(),
            closed: self.front.closed_status(),
        }
    }
}
