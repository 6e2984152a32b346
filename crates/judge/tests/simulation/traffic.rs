//! A route's requests and how either arm answers them.

use fastrand::Rng;
use umbra_judge::arm::Arm;

use crate::chance::{Autoregressive, normal};

/// The median of what production takes.
const MEDIAN_US: f64 = 100_000.0;

/// How production answers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Route {
    /// The part that fails.
    pub(crate) errors: f64,
    /// The standard deviation of the logarithm of what an answer takes.
    pub(crate) sigma: f64,
    /// Over so many requests three days pass, with ten outages that both arms share and a load
    /// that hangs together from request to request; none: every request is like another.
    pub(crate) unrest: Option<u64>,
}

impl Route {
    pub(crate) fn calm(errors: f64, sigma: f64) -> Self {
        Self { errors, sigma, unrest: None }
    }
}

/// What the candidate does else.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change {
    /// It fails so many times as often.
    pub(crate) errors: f64,
    /// All takes it so many times as long.
    pub(crate) latency: f64,
    /// This part takes it ten times as long.
    pub(crate) slow: f64,
}

impl Change {
    /// A candidate that changes nothing.
    pub(crate) const NONE: Self = Self { errors: 1.0, latency: 1.0, slow: 0.0 };

    pub(crate) fn errors(times: f64) -> Self {
        Self { errors: times, ..Self::NONE }
    }

    pub(crate) fn latency(times: f64) -> Self {
        Self { latency: times, ..Self::NONE }
    }

    pub(crate) fn slow(part: f64) -> Self {
        Self { slow: part, ..Self::NONE }
    }
}

/// An answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) failed: bool,
    pub(crate) latency_us: u32,
}

/// Requests, one after another.
pub(crate) struct Traffic {
    route: Route,
    change: Change,
    place: u64,
    load: Autoregressive,
}

impl Traffic {
    pub(crate) fn new(rng: &mut Rng, route: Route, change: Change) -> Self {
        Self { route, change, place: 0, load: Autoregressive::new(rng, 0.98) }
    }

    /// How this arm answers the next request.
    pub(crate) fn answer(&mut self, rng: &mut Rng, arm: Arm) -> Answer {
        let change = if arm == Arm::Candidate { self.change } else { Change::NONE };
        let (worse, slower) = self.weather(rng);
        let slow = if change.slow > 0.0 && rng.f64() < change.slow { 10.0 } else { 1.0 };
        let latency =
            MEDIAN_US * change.latency * slow * slower * (self.route.sigma * normal(rng)).exp();
        let failed = rng.f64() < (self.route.errors * change.errors * worse).min(0.9);
        Answer { failed, latency_us: latency as u32 }
    }

    /// How many times as often all fails now, and how many times as long it takes.
    fn weather(&mut self, rng: &mut Rng) -> (f64, f64) {
        let Some(whole) = self.route.unrest else { return (1.0, 1.0) };
        self.place += 1;
        let day = (std::f64::consts::TAU * 3.0 * self.place as f64 / whole as f64).sin();
        let load = (0.5 * day + 0.5 * self.load.next(rng)).exp();
        // Each outage is a fiftieth of its tenth.
        let within = (self.place * 10 % whole) as f64 / whole as f64;
        if (0.50..0.52).contains(&within) {
            return (0.6 / self.route.errors, 5.0 * load);
        }
        (load, load.sqrt())
    }
}
