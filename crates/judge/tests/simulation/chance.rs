//! What is drawn by chance.

use fastrand::Rng;

/// A number of the standard normal distribution (Box & Muller 1958).
pub(crate) fn normal(rng: &mut Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.f64()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.f64()).cos()
}

/// How many of `tries` succeed, by the gaps between those that do.
pub(crate) fn successes(rng: &mut Rng, tries: u64, probability: f64) -> u64 {
    let (mut place, mut found) = (gap(rng, probability), 0);
    while place <= tries {
        found += 1;
        place += gap(rng, probability);
    }
    found
}

/// The number of the try that succeeds first.
pub(crate) fn gap(rng: &mut Rng, probability: f64) -> u64 {
    let failed = (1.0 - rng.f64()).ln() / (-probability).ln_1p();
    // More than any world lasts, where it never succeeds.
    if failed.is_finite() { failed as u64 + 1 } else { u64::MAX / 2 }
}

/// A series each of whose numbers hangs together with the one before it by `phi`: stationary,
/// standard normal.
pub(crate) struct Autoregressive {
    phi: f64,
    now: f64,
}

impl Autoregressive {
    pub(crate) fn new(rng: &mut Rng, phi: f64) -> Self {
        Self { phi, now: normal(rng) }
    }

    pub(crate) fn next(&mut self, rng: &mut Rng) -> f64 {
        self.now = self.phi * self.now + (1.0 - self.phi * self.phi).sqrt() * normal(rng);
        self.now
    }
}
