//! What is counted, as Prometheus scrapes it.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use umbra_api::exposition::{FORMAT, Page};
use umbra_drift::metrics;
use umbra_drift::service::Phase;

use super::ApiError;
use crate::daemon::Daemon;
use crate::rollouts::{Gauge, PHASES, phase_word};
use crate::states::blocking;

pub(super) async fn metrics(State(daemon): State<Arc<Daemon>>) -> Result<Response, ApiError> {
    let mut page = Page::default();
    page.family("umbra_builds", "gauge", "Builds that are remembered.");
    for (phase, count) in daemon.db().builds_by_phase().await? {
        page.sample(&[("phase", &phase)], count);
    }
    page.family("umbra_shadows", "gauge", "Shadows that run.");
    page.sample(&[], daemon.registry().count());
    page.family("umbra_primary_watched", "gauge", "Whether an agent watches the primary.");
    for primary in daemon.primaries().list() {
        let watched = u64::from(primary.phase == Phase::Watched);
        page.sample(&[("primary", &primary.name)], watched);
    }
    let asked = Arc::clone(&daemon);
    let standings = blocking(move || Ok(asked.primaries().standings())).await?;
    metrics::write(&mut page, &standings);
    write_rollouts(&mut page, &daemon.rollouts().gauges().await?);
    Ok(([(CONTENT_TYPE, FORMAT)], page.into_text()).into_response())
}

/// The last rollout of each service.
fn write_rollouts(page: &mut Page, gauges: &[Gauge]) {
    page.family("umbra_rollout_phase", "gauge", "1 for the phase a service's rollout is in.");
    for Gauge { service, status } in gauges {
        for phase in PHASES {
            let labels = [("service", service.as_str()), ("phase", phase_word(phase))];
            page.sample(&labels, u64::from(status.phase == phase));
        }
    }
    page.family("umbra_rollout_weight", "gauge", "The candidate's part of requests, from 0 to 1.");
    for Gauge { service, status } in gauges {
        page.part("", &[("service", service)], status.weight_percent / 100.0);
    }
    let judged =
        || gauges.iter().filter_map(|one| Some((&one.service, one.status.judged.as_ref()?)));
    let what = "Natural logarithm of the e-value of a candidate being worse.";
    page.family("umbra_rollout_log_e", "gauge", what);
    for (service, judged) in judged() {
        page.part("", &[("service", service)], judged.log_e);
    }
    page.family("umbra_rollout_limit", "gauge", "What it is rolled back at.");
    for (service, judged) in judged() {
        page.part("", &[("service", service)], judged.log_limit);
    }
}
