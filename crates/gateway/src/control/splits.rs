//! Splits, as they are asked for and changed.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Method, Request};
use umbra_api::error::{ErrorCode, WireError};

use super::routes::route_statuses;
use super::{Answer, Control, json, read};
use crate::split::splits::{Place, Which};
use crate::split::wire::{EndTo, SplitStatus};

const SPLITS: &str = "/v1/splits";
/// A route's own, which are not of its setup.
const ROUTES: &str = "/v1/routes/";
/// Whoever waits for a change waits no longer.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Whether it is asked for here.
pub(super) fn is_for(path: &str) -> bool {
    path == SPLITS || path.starts_with("/v1/splits/") || path.starts_with(ROUTES)
}

impl Control {
    /// Where its splits are begun, changed and ended.
    pub fn place(&self) -> Place {
        Place { proxy: Arc::clone(&self.proxy), trust: self.trust.clone() }
    }

    /// Goes on with what a gateway before this one kept.
    pub(crate) async fn take_up(&self) {
        let place = self.place();
        // It says itself what cannot be gone on with.
        let _ = tokio::task::spawn_blocking(move || place.resume()).await;
    }

    /// Judges no more: what was said is kept.
    pub(crate) async fn leave(&self) {
        let place = self.place();
        let _ = tokio::task::spawn_blocking(move || place.leave()).await;
    }

    pub(super) async fn split(&self, request: Request<Incoming>) -> Result<Answer, WireError> {
        let path = request.uri().path().to_owned();
        let named = path.strip_prefix(SPLITS).or_else(|| path.strip_prefix(ROUTES));
        let mut parts = named.unwrap_or_default().trim_start_matches('/').splitn(2, '/');
        let (route, rest) = (parts.next().unwrap_or_default().to_owned(), parts.next());
        let of_routes = path.starts_with(ROUTES);
        let method = request.method().clone();
        let rollout = number(request.uri().query(), "rollout")?;
        match (method, of_routes, route.as_str(), rest) {
            (Method::GET, false, "", None) => self.off(|place| place.statuses()).await,
            (Method::GET, false, _, None) => self.watch_split(&route, request).await,
            (Method::POST, false, _, None) => {
                let wanted = read(request).await?;
                self.off(move |place| place.start(&route, wanted)).await
            }
            (Method::DELETE, false, _, None) => {
                let to = end_to(request.uri().query())?;
                self.off(move |place| place.end(Which { route: &route, rollout }, to)).await
            }
            (Method::POST, false, _, Some("weight")) => {
                let wanted: crate::split::wire::SetWeight = read(request).await?;
                self.off(move |place| place.weigh(Which { route: &route, rollout }, wanted.weight))
                    .await
            }
            (Method::POST, false, _, Some("targets")) => {
                let wanted = read(request).await?;
                self.off(move |place| place.aim(Which { route: &route, rollout }, wanted)).await
            }
            (Method::POST, true, _, Some("targets")) => {
                let wanted = read(request).await?;
                self.off(move |place| {
                    place.assign(&route, wanted)?;
                    Ok(route_statuses(&place.proxy.routes()))
                })
                .await
            }
            (Method::POST, true, _, Some("release")) => {
                let to_nothing = value(request.uri().query(), "to") == Some("nothing");
                self.off(move |place| {
                    match to_nothing {
                        true => place.release_to_nothing(&route)?,
                        false => place.release(&route)?,
                    }
                    Ok(route_statuses(&place.proxy.routes()))
                })
                .await
            }
            _ => Err(WireError::new(ErrorCode::NotFound, format!("find {path:?} here"))),
        }
    }

    /// On a thread that may wait for the disk.
    async fn off<T: serde::Serialize + Send + 'static>(
        &self,
        change: impl FnOnce(&Place) -> Result<T, WireError> + Send + 'static,
    ) -> Result<Answer, WireError> {
        let place = self.place();
        let done = tokio::task::spawn_blocking(move || change(&place).map(|done| json(&done)));
        done.await.map_err(|error| WireError::new(ErrorCode::Internal, error))?
    }

    /// How one stands, once it is another than whoever asks knows.
    async fn watch_split(
        &self,
        route: &str,
        request: Request<Incoming>,
    ) -> Result<Answer, WireError> {
        let query = request.uri().query();
        let (after, wait) = (number(query, "after")?, number(query, "wait_ms")?);
        let split = self.place().split(route)?;
        if let (Some(after), Some(wait)) = (after, wait) {
            let changed = split.changed_from(after);
            // Where it does not change in time it is told as it is.
            let _ = tokio::time::timeout(Duration::from_millis(wait).min(WAIT_MAX), changed).await;
        }
        self.off(move |place| -> Result<SplitStatus, WireError> { place.status(&split) }).await
    }
}

fn value<'a>(query: Option<&'a str>, name: &str) -> Option<&'a str> {
    let mut pairs = query?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

fn number(query: Option<&str>, name: &str) -> Result<Option<u64>, WireError> {
    let number = value(query, name).map(str::parse).transpose();
    number.map_err(|_| {
        let message = format!("read the query: expected a number for {name}");
        WireError::new(ErrorCode::BadRequest, message)
    })
}

fn end_to(query: Option<&str>) -> Result<EndTo, WireError> {
    match value(query, "to") {
        Some("baseline") => Ok(EndTo::Baseline),
        Some("candidate") => Ok(EndTo::Candidate),
        _ => Err(WireError::new(
            ErrorCode::BadRequest,
            "end a split: expected to=baseline or to=candidate in the query",
        )),
    }
}
