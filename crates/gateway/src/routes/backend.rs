//! A target as routes use it: its connections, how it stands, and what it was asked.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use hyper::http::uri::PathAndQuery;
use hyper::{Request, StatusCode, Uri};
use tokio::time::timeout;

use super::setup::{EjectSetup, HealthSetup};
use super::standing::Standing;
use super::weigh::identity;
use crate::body::Passing;
use crate::listen::proxy_header::Version;
use crate::upstream::{Failure, Target, Trust, TrustError, Upstream};

/// A target, and how it is asked and judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) target: Target,
    pub(super) send_proxy: Option<Version>,
    pub(super) health: Option<HealthSetup>,
    pub(super) eject: Option<EjectSetup>,
}

/// One target of one kind. Kept over changes of routes for as long as some route has it.
#[derive(Debug)]
pub struct Backend {
    kind: Kind,
    upstream: Upstream<Passing>,
    identity: u64,
    standing: Standing,
    asked: AtomicU64,
    failed: AtomicU64,
}

impl Backend {
    /// Begins to be asked whether it is well, within a runtime.
    pub(super) fn new(kind: Kind, trust: &Trust) -> Result<Arc<Self>, TrustError> {
        let upstream = Upstream::new(kind.target.clone(), trust)?.announcing(kind.send_proxy);
        let backend = Arc::new(Self {
            upstream,
            identity: identity(&kind.target.to_string()),
            standing: Standing::default(),
            asked: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            kind,
        });
        if let Some(health) = backend.kind.health.clone() {
            tokio::spawn(keep_checking(Arc::downgrade(&backend), health));
        }
        Ok(backend)
    }

    /// Whether it is what would be made of this.
    pub(super) fn is(&self, kind: &Kind) -> bool {
        self.kind == *kind
    }

    /// Who it is, as a number: the same wherever it stands among others.
    pub(super) fn identity(&self) -> u64 {
        self.identity
    }

    /// Where it is.
    pub fn upstream(&self) -> &Upstream<Passing> {
        &self.upstream
    }

    /// Requests it was asked, and those it did not answer or answered with 500 to 599.
    pub fn asked(&self) -> (u64, u64) {
        (self.asked.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }

    /// Whether its checks say that it is well, and whether it is left out because of its answers.
    pub fn standing(&self) -> (bool, bool) {
        (self.standing.is_well(), self.standing.is_ejected())
    }

    /// Whether it is to be asked: it is both.
    pub fn is_usable(&self) -> bool {
        self.standing.is_usable()
    }

    /// What came of a request.
    pub(crate) fn answered(&self, status: Option<StatusCode>) {
        let well = status.is_some_and(|status| !status.is_server_error());
        self.asked.fetch_add(1, Ordering::Relaxed);
        if !well {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(eject) = &self.kind.eject
            && self.standing.answered(well, eject)
        {
            let target = self.upstream.target();
            tracing::warn!(%target, "a target is left out for a while: it fails again and again");
        }
    }

    async fn check(&self, health: &HealthSetup) -> bool {
        let mut request = Request::new(Passing::made(""));
        let path = health.path.parse::<PathAndQuery>();
        *request.uri_mut() = path.map(Uri::from).unwrap_or_default();
        let asked = self.upstream.send(Box::new(request), |_| None);
        match timeout(Duration::from_millis(health.timeout_ms), asked).await {
            Ok(Ok(answer)) => answer.status().as_u16() < 400,
            Ok(Err(Failure::Connect { .. } | Failure::Broken(_) | Failure::Body)) | Err(_) => false,
        }
    }
}

async fn keep_checking(backend: Weak<Backend>, health: HealthSetup) {
    loop {
        let Some(backend) = backend.upgrade() else { return };
        let well = backend.check(&health).await;
        if backend.standing.checked(well, health.rise, health.fall) {
            let target = backend.upstream.target();
            tracing::warn!(%target, well, "a target's health changed");
        }
        drop(backend);
        tokio::time::sleep(Duration::from_millis(health.every_ms)).await;
    }
}
