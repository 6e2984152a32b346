//! What is counted of production's own requests, and all of it as Prometheus reads it.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::StatusCode;

use crate::mirror::Mirror;

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
    /// No connection to production was made.
    Unreachable,
    /// Its connection broke, or what came was no answer.
    Broken,
    /// It did not answer in time.
    TimedOut,
    /// The client did not finish its request.
    Unfinished,
}

const CAUSES: [(Cause, &str); 5] = [
    (Cause::Refused, "refused"),
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
    causes: [AtomicU64; 5],
    /// Until the answer's head; the last is of what took longer than any bound.
    times: [AtomicU64; BOUNDS_US.len() + 1],
    times_us: AtomicU64,
    retried: AtomicU64,
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

    pub(crate) fn retried(&self) {
        add(&self.retried);
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

    /// In Prometheus's text format.
    pub fn exposed<'a>(&self, mirrors: impl Iterator<Item = &'a Mirror>) -> String {
        let mut page = Page::default();
        page.family("umbra_gateway_requests_total", "counter", "Requests answered.");
        for (class, counter) in self.answers.iter().enumerate().skip(1) {
            page.sample(
                "umbra_gateway_requests_total",
                &[("code", &format!("{class}xx"))],
                read(counter),
            );
        }
        page.family("umbra_gateway_failures_total", "counter", "Answered instead of the primary.");
        for ((_, cause), counter) in CAUSES.iter().zip(&self.causes) {
            page.sample("umbra_gateway_failures_total", &[("cause", cause)], read(counter));
        }
        let name = "umbra_gateway_request_duration_seconds";
        page.family(name, "histogram", "Until the answer's head.");
        let mut so_far = 0;
        for (bound, counter) in BOUNDS_US.iter().zip(&self.times) {
            so_far += read(counter);
            let bound = (*bound as f64 / 1e6).to_string();
            page.sample(&format!("{name}_bucket"), &[("le", &bound)], so_far);
        }
        so_far += self.times.last().map_or(0, read);
        page.sample(&format!("{name}_bucket"), &[("le", "+Inf")], so_far);
        page.line(&format!("{name}_sum"), &(read(&self.times_us) as f64 / 1e6).to_string());
        page.line(&format!("{name}_count"), &so_far.to_string());
        page.family(
            "umbra_gateway_retries_total",
            "counter",
            "Requests sent to the primary again.",
        );
        page.sample("umbra_gateway_retries_total", &[], read(&self.retried));
        page.family("umbra_gateway_connections_total", "counter", "Connections of clients.");
        page.sample("umbra_gateway_connections_total", &[], read(&self.connections));
        page.family("umbra_gateway_connections", "gauge", "Connections of clients that are open.");
        page.sample("umbra_gateway_connections", &[], read(&self.open));
        page.mirrors(mirrors);
        page.0
    }
}

/// An open connection.
pub(crate) struct Open<'a>(&'a AtomicU64);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // A string takes everything.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        let labels: Vec<String> =
            labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        let labels =
            if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        self.line(&format!("{name}{labels}"), &value.to_string());
    }

    fn line(&mut self, name: &str, value: &str) {
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn mirrors<'a>(&mut self, mirrors: impl Iterator<Item = &'a Mirror>) {
        let all: Vec<_> =
            mirrors.map(|mirror| (mirror.name(), mirror.seen(), mirror.counted())).collect();
        type Read = fn(&(&str, u64, crate::mirror::Counted)) -> Vec<(&'static str, u64)>;
        let families: [(&str, &str, &str, Read); 5] = [
            ("seen", "", "Requests the filter let through.", |one| vec![("", one.1)]),
            ("eligible", "", "Requests chosen to be mirrored.", |one| vec![("", one.2.eligible)]),
            ("mirrored", "", "Requests mirrored.", |one| vec![("", one.2.mirrored)]),
            ("dropped", "cause", "Requests chosen and not mirrored.", |one| {
                vec![("in_flight", one.2.dropped_in_flight), ("memory", one.2.dropped_memory)]
            }),
            ("ended", "how", "How mirrored requests ended.", |one| {
                vec![
                    ("answered", one.2.answered),
                    ("unreachable", one.2.unreachable),
                    ("broken", one.2.broken),
                    ("timed_out", one.2.timed_out),
                    ("too_long", one.2.too_long),
                    ("truncated", one.2.cut_off),
                    ("unfinished", one.2.unfinished),
                ]
            }),
        ];
        for (family, label, help, read) in families {
            let name = format!("umbra_mirror_{family}_total");
            self.family(&name, "counter", help);
            for one in &all {
                for (value, count) in read(one) {
                    let labels = [("mirror", one.0), (label, value)];
                    let labels = if label.is_empty() { &labels[..1] } else { &labels[..] };
                    self.sample(&name, labels, count);
                }
            }
        }
    }
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

    #[test]
    fn a_page_has_every_request_once() {
        let metrics = Metrics::default();
        metrics.answered(StatusCode::OK, Duration::from_micros(250));
        metrics.answered(StatusCode::BAD_GATEWAY, Duration::from_secs(60));
        metrics.caused(Cause::Broken);
        let page = metrics.exposed(std::iter::empty());
        for line in [
            "umbra_gateway_requests_total{code=\"2xx\"} 1",
            "umbra_gateway_requests_total{code=\"5xx\"} 1",
            "umbra_gateway_failures_total{cause=\"broken\"} 1",
            "umbra_gateway_request_duration_seconds_bucket{le=\"0.00025\"} 1",
            "umbra_gateway_request_duration_seconds_bucket{le=\"10\"} 1",
            "umbra_gateway_request_duration_seconds_bucket{le=\"+Inf\"} 2",
            "umbra_gateway_request_duration_seconds_count 2",
        ] {
            assert!(page.lines().any(|one| one == line), "{line} is not in\n{page}");
        }
    }
}
