//! What is counted of connections: those that were closed or whose bodies were broken off, by
//! cause, and those with TLS.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use umbra_api::exposition::Page;

/// Why a connection was closed, or a request was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closed {
    /// It did not begin with a PROXY header.
    ProxyHeader,
    /// No TLS was agreed on.
    Handshake,
    /// It did not say in time what it is.
    Opening,
    /// Its client has as many as it may have.
    PerClient,
    /// A head did not come in time.
    Head,
    /// Nothing was asked for long.
    Idle,
    /// The client took nothing for long.
    Stalled,
    /// A request's body paused for too long.
    SlowBody,
    /// A request's body was too long.
    LongBody,
}

const ALL: [(Closed, &str); 9] = [
    (Closed::ProxyHeader, "proxy_header"),
    (Closed::Handshake, "handshake"),
    (Closed::Opening, "opening"),
    (Closed::PerClient, "per_client"),
    (Closed::Head, "head"),
    (Closed::Idle, "idle"),
    (Closed::Stalled, "stalled"),
    (Closed::SlowBody, "slow_body"),
    (Closed::LongBody, "long_body"),
];

/// Counters of the listening side.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// By place in [`ALL`].
    closed: [AtomicU64; ALL.len()],
    /// Connections with TLS.
    tls: AtomicU64,
}

/// The counters, to be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedStatus {
    /// Why.
    pub cause: String,
    /// How often.
    pub count: u64,
}

impl Counts {
    pub(crate) fn closed(&self, why: Closed) {
        let place = ALL.iter().position(|(one, _)| *one == why);
        if let Some(counter) = place.and_then(|place| self.closed.get(place)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn tls(&self) {
        self.tls.fetch_add(1, Ordering::Relaxed);
    }

    /// Those that are not 0.
    pub(crate) fn status(&self) -> Vec<ClosedStatus> {
        let all = self.each().filter(|(_, count)| *count > 0);
        all.map(|(cause, count)| ClosedStatus { cause: cause.to_owned(), count }).collect()
    }

    pub(crate) fn expose(&self, page: &mut Page) {
        let help = "Connections closed, and bodies broken off, by the gateway.";
        page.family("umbra_gateway_closed_total", "counter", help);
        for (cause, count) in self.each() {
            page.sample(&[("cause", cause)], count);
        }
        page.family("umbra_gateway_tls_connections_total", "counter", "Connections with TLS.");
        page.sample(&[], self.tls.load(Ordering::Relaxed));
    }

    fn each(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = ALL.iter().zip(&self.closed);
        counts.map(|((_, cause), counter)| (*cause, counter.load(Ordering::Relaxed)))
    }
}
