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
    Ok(([(CONTENT_TYPE, FORMAT)], page.into_text()).into_response())
}
