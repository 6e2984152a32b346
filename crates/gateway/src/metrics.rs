//! What is counted of production's own requests, and all of it as Prometheus reads it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::StatusCode;
use umbra_api::exposition::Page;

use crate::compare::Comparison;
use crate::mirror::Mirrors;
use crate::routes::{Backend, Routes};

/// Upper bounds of the buckets of times, in microseconds.
const BOUNDS_US: [u64; 14] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 10_000_000,
];

/// Why the gateway answered instead of production.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The request is not one that is passed on.
    Refused,
    /// No route is for it.
    NoRoute,
    /// Its route has no target.
    Unassigned,
    /// No connection to production was made.
    Unreachable,
    /// Its connection broke, or what came was no answer.
    Broken,
    /// It did not answer in time.
    TimedOut,
    /// The client did not finish its request.
    Unfinished,
}

const CAUSES: [(Cause, &str); 7] = [
    (Cause::Refused, "refused"),
    (Cause::NoRoute, "no_route"),
    (Cause::Unassigned, "unassigned"),
    (Cause::Unreachable, "unreachable"),
    (Cause::Broken, "broken"),
    (Cause::TimedOut, "timed_out"),
    (Cause::Unfinished, "unfinished"),
];

/// Counters of one gateway.
#[derive(Debug, Default)]
pub struct Metrics {
    /// By the first digit of the status.
    answers: [AtomicU64; 6],
    /// By place in [`CAUSES`].
    causes: [AtomicU64; CAUSES.len()],
    /// Until the answer's head; the last is of what took longer than any bound.
    times: [AtomicU64; BOUNDS_US.len() + 1],
    times_us: AtomicU64,
    connections: AtomicU64,
    open: AtomicU64,
}

impl Metrics {
    pub(crate) fn answered(&self, status: StatusCode, after: Duration) {
        let class = usize::from(status.as_u16() / 100).min(self.answers.len() - 1);
        add(&self.answers[class]);
        let us = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        add(&self.times[BOUNDS_US.partition_point(|bound| *bound < us)]);
        self.times_us.fetch_add(us, Ordering::Relaxed);
    }

    pub(crate) fn caused(&self, cause: Cause) {
        let place = CAUSES.iter().position(|(one, _)| *one == cause);
        if let Some(counter) = place.and_then(|place| self.causes.get(place)) {
            add(counter);
        }
    }

    /// A connection of a client, until this is dropped.
    pub(crate) fn connection(&self) -> Open<'_> {
        add(&self.connections);
        add(&self.open);
        Open(&self.open)
    }

    /// All requests that were answered, by whomever.
    pub fn requests(&self) -> u64 {
        self.answers.iter().map(read).sum()
    }

    /// Those the gateway answered instead of production.
    pub fn failed(&self) -> u64 {
        self.causes.iter().map(read).sum()
    }

    /// As Prometheus reads it.
    pub fn exposed(&self, routes: &Routes, mirrors: &Mirrors) -> String {
        let mut page = Page::default();
        page.family("umbra_gateway_requests_total", "counter", "Requests answered.");
        for (class, counter) in self.answers.iter().enumerate().skip(1) {
            page.sample(&[("code", &format!("{class}xx"))], read(counter));
        }
        page.family("umbra_gateway_failures_total", "counter", "Answered instead of the primary.");
        for ((_, cause), counter) in CAUSES.iter().zip(&self.causes) {
            page.sample(&[("cause", cause)], read(counter));
        }
        let help = "Until the answer's head.";
        page.family("umbra_gateway_request_duration_seconds", "histogram", help);
        let mut so_far = 0;
        for (bound, counter) in BOUNDS_US.iter().zip(&self.times) {
            so_far += read(counter);
            let bound = (*bound as f64 / 1e6).to_string();
            page.part("_bucket", &[("le", &bound)], so_far);
        }
        so_far += self.times.last().map_or(0, read);
        page.part("_bucket", &[("le", "+Inf")], so_far);
        page.part("_sum", &[], read(&self.times_us) as f64 / 1e6);
        page.part("_count", &[], so_far);
        page.family("umbra_gateway_connections_total", "counter", "Connections of clients.");
        page.sample(&[], read(&self.connections));
        page.family("umbra_gateway_connections", "gauge", "Connections of clients that are open.");
        page.sample(&[], read(&self.open));
        of_targets(&mut page, routes);
        of_mirrors(&mut page, mirrors);
        if let Some(comparison) = mirrors.comparison() {
            of_comparison(&mut page, comparison);
        }
        page.into_text()
    }
}

/// An open connection.
pub(crate) struct Open<'a>(&'a AtomicU64);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn of_targets(page: &mut Page, routes: &Routes) {
    let mut family = |name, kind, help, value: &dyn Fn(&Backend) -> u64| {
        page.family(name, kind, help);
        for route in routes.all() {
            for (backend, _) in route.targets() {
                let target = backend.upstream().target().to_string();
                page.sample(&[("route", route.name()), ("target", &target)], value(backend));
            }
        }
    };
    let help = "Requests a target was asked.";
    family("umbra_target_requests_total", "counter", help, &|one| one.asked().0);
    let help = "Those it did not answer, or answered with a server error.";
    family("umbra_target_failures_total", "counter", help, &|one| one.asked().1);
    let help = "Requests asked again, since a connection that was kept broke.";
    family("umbra_target_retries_total", "counter", help, &|one| one.upstream().asked_again());
    let help = "Whether a target is asked: it is well and not ejected.";
    family("umbra_target_up", "gauge", help, &|one| u64::from(one.is_usable()));
}

fn of_mirrors(page: &mut Page, mirrors: &Mirrors) {
    let all: Vec<_> =
        mirrors.iter().map(|mirror| (mirror.name(), mirror.seen(), mirror.counted())).collect();
    page.family("umbra_mirror_seen_total", "counter", "Requests the filter let through.");
    for (name, seen, _) in &all {
        page.sample(&[("mirror", name)], *seen);
    }
    page.family(
        "umbra_mirror_no_session_total",
        "counter",
        "Requests that could not be chosen by their session, since they are of none.",
    );
    for mirror in mirrors.iter() {
        page.sample(&[("mirror", mirror.name())], mirror.no_session());
    }
    page.family("umbra_mirror_eligible_total", "counter", "Requests chosen to be mirrored.");
    for (name, _, counted) in &all {
        page.sample(&[("mirror", name)], counted.eligible);
    }
    page.family("umbra_mirror_mirrored_total", "counter", "Requests mirrored.");
    for (name, _, counted) in &all {
        page.sample(&[("mirror", name)], counted.mirrored);
    }
    page.family("umbra_mirror_dropped_total", "counter", "Requests chosen and not mirrored.");
    for (name, _, counted) in &all {
        let causes = [("in_flight", counted.dropped_in_flight), ("memory", counted.dropped_memory)];
        for (cause, count) in causes {
            page.sample(&[("mirror", name), ("cause", cause)], count);
        }
    }
    page.family("umbra_mirror_ended_total", "counter", "How mirrored requests ended.");
    for (name, _, counted) in &all {
        let ends = [
            ("answered", counted.answered),
            ("unreachable", counted.unreachable),
            ("broken", counted.broken),
            ("timed_out", counted.timed_out),
            ("too_long", counted.too_long),
            ("truncated", counted.cut_off),
            ("unfinished", counted.unfinished),
        ];
        for (how, count) in ends {
            page.sample(&[("mirror", name), ("how", how)], count);
        }
    }
}

/// Of the last one; it counts from its beginning.
fn of_comparison(page: &mut Page, comparison: &Comparison) {
    let counted = comparison.counted();
    page.family("umbra_compare_compared_total", "counter", "Requests whose answers were compared.");
    page.sample(&[], counted.compared);
    page.family("umbra_compare_left_out_total", "counter", "Requests whose answers were not.");
    for one in &counted.left_out {
        page.sample(&[("cause", one.cause.word())], one.count);
    }
    let help = "Fields in which the candidate differs more than production from itself.";
    page.family("umbra_compare_fields_flagged", "gauge", help);
    page.sample(&[], counted.flagged);
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::RoutesSetup;
    use crate::upstream::Trust;

    #[tokio::test]
    async fn a_page_has_every_request_once() {
        let metrics = Metrics::default();
        metrics.answered(StatusCode::OK, Duration::from_micros(250));
        metrics.answered(StatusCode::BAD_GATEWAY, Duration::from_secs(60));
        metrics.caused(Cause::Broken);
        let setup = RoutesSetup::all_to(&"127.0.0.1:9".parse().unwrap());
        let routes = Routes::new(setup, &Trust::default()).expect("routes");
        let page = metrics.exposed(&routes, &Mirrors::default());
        for line in [
            "umbra_gateway_requests_total{code=\"2xx\"} 1",
            "umbra_gateway_requests_total{code=\"5xx\"} 1",
            "umbra_gateway_failures_total{cause=\"broken\"} 1",
            "umbra_gateway_request_duration_seconds_bucket{le=\"0.00025\"} 1",
            "umbra_gateway_request_duration_seconds_bucket{le=\"10\"} 1",
            "umbra_gateway_request_duration_seconds_bucket{le=\"+Inf\"} 2",
            "umbra_gateway_request_duration_seconds_count 2",
            "umbra_target_up{route=\"all\",target=\"127.0.0.1:9\"} 1",
        ] {
            assert!(page.lines().any(|one| one == line), "{line} is not in\n{page}");
        }
    }
}
