//! Do the candidate's answers take longer than they may?
//!
//! Before anything is bet a number of the baseline's latencies is counted and frozen (`frozen`);
//! bets are on where an outcome stands among those. A candidate that may be slower by a part `d`
//! is compared by its latencies over `1 + d`.
//!
//! A hang is not waited for: a request that is still under way when its age passes a threshold is
//! known to be beyond some tails, and bets on those are decided then. Bets that are decided at the
//! same moment are a group. Each group has its own e-process and its part of the metric's share,
//! and the metric is as strong as the strongest of them: a sum over groups would be no e-value,
//! because what one group knows of a request the next only gets to know later.

mod bands;
mod buckets;
mod frozen;

use buckets::Histogram;
use frozen::{BODY, BODY_PART, Class, Frozen, PROOF, TAIL, TAIL_PART, body_prior};

use crate::arm::{Arm, Weight};
use crate::capital::Capital;
use crate::settings::Settings;
use crate::standing::Slower;
use crate::strata::place;
use crate::units::{ALL_THRESHOLDS, THRESHOLDS};

/// With so many latencies of the baseline it is frozen.
pub const FROZEN_AT: u64 = 20_000;
/// With so many if units go to the candidate already.
pub const FROZEN_AT_LEAST: u64 = 1_000;

/// Quantiles that are shown.
const SHOWN: [f64; 2] = [0.5, 0.99];

/// The e-processes of "its answers take longer", and of the proof that they do not.
#[derive(Debug, Clone)]
pub struct Latency {
    tolerated: Scale,
    refuted: Scale,
    against: Against,
    body: Capital<BODY>,
    tail: Capital<TAIL>,
    proof: Capital<PROOF>,
    /// Baseline, candidate: what was judged.
    seen: [Histogram; 2],
}

/// What outcomes are compared with.
#[derive(Debug, Clone)]
enum Against {
    /// Not yet: these are there so far.
    Gathered(Box<Histogram>),
    Frozen {
        frozen: Box<Frozen>,
        outcomes: u64,
        hangs_us: [[u32; THRESHOLDS as usize]; 2],
    },
}

/// What is known of a request's latency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Took {
    /// All of it.
    Us(u32),
    /// It is longer than the thresholds that are asked about.
    Longer,
}

/// Candidates are compared after their latencies were divided by this.
#[derive(Debug, Clone, Copy)]
struct Scale(f64);

impl Scale {
    fn down(self, us: u32) -> u32 {
        // Rounds towards 0, and is not above what it was made from.
        if self.0 == 1.0 { us } else { (f64::from(us) / self.0) as u32 }
    }

    fn up(self, us: u32) -> u32 {
        // A number that is too large becomes the largest.
        (f64::from(us) * self.0).ceil() as u32
    }
}

impl Latency {
    /// By the parts of `settings` that say how slow is too slow.
    pub fn new(settings: &Settings) -> Self {
        Self {
            tolerated: Scale(1.0 + settings.slower_tolerated),
            refuted: Scale(1.0 + settings.slower_refuted),
            against: Against::Gathered(Box::default()),
            body: Capital::new(body_prior()),
            tail: Capital::even(),
            proof: Capital::even(),
            seen: Default::default(),
        }
    }

    /// One of the baseline's, before anything is frozen. At [`FROZEN_AT`] it is.
    pub fn gather(&mut self, us: u32) {
        if let Against::Gathered(gathered) = &mut self.against {
            gathered.add(us);
            self.freeze_at(FROZEN_AT);
        }
    }

    /// From now on outcomes are judged, if there are so many to compare with.
    pub fn freeze_at(&mut self, outcomes: u64) {
        let Against::Gathered(gathered) = &self.against else { return };
        if gathered.all() < outcomes.max(1) {
            return;
        }
        let frozen = Box::new(Frozen::new(gathered));
        let baseline = frozen.thresholds_us();
        let hangs_us = [baseline, baseline.map(|us| self.tolerated.up(us))];
        self.against = Against::Frozen { frozen, outcomes: gathered.all(), hangs_us };
    }

    /// How many there are to compare with, and whether they are frozen.
    pub fn baseline(&self) -> (u64, bool) {
        match &self.against {
            Against::Gathered(gathered) => (gathered.all(), false),
            Against::Frozen { outcomes, .. } => (*outcomes, true),
        }
    }

    /// Ages at which a request of this arm hangs: beyond 95 and 99.9 % of the baseline's, and
    /// what the candidate may be slower. None before it is frozen.
    pub fn hang_thresholds_us(&self, arm: Arm) -> &[u32] {
        match &self.against {
            Against::Gathered(_) => &[],
            Against::Frozen { hangs_us, .. } => &hangs_us[place(arm)],
        }
    }

    /// One request as a whole, which had this probability to be the candidate's.
    pub fn ended(&mut self, weight: Weight, arm: Arm, us: u32) {
        self.play(weight, arm, ALL_THRESHOLDS, Took::Us(us));
        self.saw(arm, us);
    }

    /// How one stands to these hang thresholds, as bits, the first being the least. Each of a
    /// request's is told once.
    pub fn play(&mut self, weight: Weight, arm: Arm, thresholds: u8, took: Took) {
        let Against::Frozen { frozen, .. } = &self.against else { return };
        let scaled = |scale: Scale| match (took, arm) {
            (Took::Longer, _) => frozen.longest(),
            (Took::Us(us), Arm::Baseline) => frozen.class(us),
            (Took::Us(us), Arm::Candidate) => frozen.class(scale.down(us)),
        };
        let class: &Class = scaled(self.tolerated);
        let asked = |threshold: u8| thresholds & 1 << threshold != 0;
        if asked(0) {
            self.body.play(weight, arm, &class.body);
            self.proof.play(weight, arm, &scaled(self.refuted).proof);
        }
        if asked(1) {
            self.tail.play(weight, arm, &class.tail);
        }
    }

    /// One that is over and was judged, to be shown.
    pub(crate) fn saw(&mut self, arm: Arm, us: u32) {
        self.seen[place(arm)].add(us);
    }

    /// What is in reserve is bet too, in part: something changed.
    pub fn renew(&mut self) {
        self.body.renew();
        self.tail.renew();
        self.proof.renew();
    }

    /// The natural logarithm of the e-value: the strongest group's, by its part.
    pub fn log_e(&self) -> f64 {
        strongest(self.body.log_e(), self.tail.log_e())
    }

    /// The most it ever was.
    pub fn log_peak(&self) -> f64 {
        strongest(self.body.log_peak(), self.tail.log_peak())
    }

    /// Whether it ever was that much.
    pub fn reached(&self, e: f64) -> bool {
        self.body.reached(e / BODY_PART) || self.tail.reached(e / TAIL_PART)
    }

    /// The natural logarithm of the e-value of "it is slower by what is to be refuted", and the
    /// most it ever was.
    pub fn log_proof(&self) -> (f64, f64) {
        (self.proof.log_e(), self.proof.log_peak())
    }

    /// How many times as long the candidate's take, where there are enough to say.
    pub(crate) fn slower(&self) -> Vec<Slower> {
        let [baseline, candidate] = &self.seen;
        SHOWN.iter().filter_map(|part| bands::slower(baseline, candidate, *part)).collect()
    }

    /// What it rests on, in words.
    pub(crate) fn evidence(&self) -> String {
        match &self.against {
            Against::Gathered(gathered) => format!(
                "nothing is judged yet: {} of at least {FROZEN_AT_LEAST} of the baseline's to compare with",
                gathered.all()
            ),
            Against::Frozen { frozen, .. } => {
                let [beyond, _] = frozen.thresholds_us();
                let [baseline, candidate] =
                    self.seen.each_ref().map(|seen| 100.0 * seen.part_from(beyond));
                format!(
                    "{candidate:.1} % of the candidate's and {baseline:.1} % of the baseline's took longer than 95 % did before"
                )
            }
        }
    }
}

fn strongest(body: f64, tail: f64) -> f64 {
    (body + libm::log(BODY_PART)).max(tail + libm::log(TAIL_PART))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frozen(settings: &Settings) -> Latency {
        let mut latency = Latency::new(settings);
        (1..=1_000).for_each(|us| latency.gather(us * 100));
        assert_eq!(latency.baseline(), (1_000, false));
        latency.freeze_at(1_001);
        assert_eq!(latency.hang_thresholds_us(Arm::Candidate), [] as [u32; 0]);
        latency.freeze_at(FROZEN_AT_LEAST);
        assert_eq!(latency.baseline(), (1_000, true));
        latency
    }

    #[test]
    fn nothing_is_judged_before_it_is_frozen() {
        let mut latency = Latency::new(&Settings::default());
        latency.ended(Weight::HALF, Arm::Candidate, u32::MAX);
        assert!((latency.body.log_e() - 0.0).abs() < 1e-12);
        (0..FROZEN_AT + 5).for_each(|n| latency.gather(n as u32));
        assert_eq!(latency.baseline(), (FROZEN_AT, true));
    }

    #[test]
    fn a_candidate_that_may_be_slower_is_hung_later() {
        let latency =
            frozen(&Settings { slower_tolerated: 0.5, slower_refuted: 1.0, ..Settings::default() });
        let of = |arm| latency.hang_thresholds_us(arm);
        let (baseline, candidate) = (of(Arm::Baseline), of(Arm::Candidate));
        assert_eq!(baseline.len(), usize::from(THRESHOLDS));
        for (before, now) in baseline.iter().zip(candidate) {
            assert!((f64::from(*now) / f64::from(*before) - 1.5).abs() < 1e-3);
        }
    }

    #[test]
    fn a_hang_that_is_told_in_parts_is_one_that_took_long() {
        let (mut told, mut waited) = (frozen(&Settings::default()), frozen(&Settings::default()));
        let weight = Weight::new(0.1).unwrap();
        for arm in [Arm::Candidate, Arm::Baseline, Arm::Candidate] {
            waited.ended(weight, arm, u32::MAX);
            for threshold in 0..THRESHOLDS {
                told.play(weight, arm, 1 << threshold, Took::Longer);
            }
        }
        assert_eq!(told.log_e().to_bits(), waited.log_e().to_bits());
        assert!(told.log_e() > 0.0, "{}", told.log_e());
    }

    #[test]
    fn a_hang_is_found_after_a_few_requests() {
        let mut latency = frozen(&Settings::default());
        let weight = Weight::new(0.05).unwrap();
        let requests = (1..20).find(|_| {
            latency.play(weight, Arm::Candidate, 1, Took::Longer);
            latency.reached(100.0 / 0.44)
        });
        assert!(requests.is_some_and(|requests| requests <= 7), "{requests:?}");
    }

    proptest! {
        /// A candidate's outcome that took longer never leaves less capital, nor more of a proof's.
        #[test]
        fn it_grows_with_the_latency(us in 0_u32..200_000, longer in 0_u32..200_000, tolerated in 0.0_f64..2.0) {
            let settings = Settings { slower_tolerated: tolerated, slower_refuted: 3.0, ..Settings::default() };
            let latency = frozen(&settings);
            let after = |us| {
                let mut latency = latency.clone();
                latency.ended(Weight::HALF, Arm::Candidate, us);
                latency
            };
            let (short, long) = (after(us), after(us.saturating_add(longer)));
            for (a, b) in [(short.body.log_e(), long.body.log_e()),
                (short.tail.log_e(), long.tail.log_e()),
                (long.log_proof().0, short.log_proof().0)] {
                prop_assert!(a <= b + 1e-12, "{a} {b}");
            }
        }

        /// Where the candidate is no slower than it may be no group gains on average, whatever the
        /// outcomes are and whatever they are compared with; and no proof where it is slower than
        /// is to be refuted.
        #[test]
        fn nothing_is_gained_by_chance(all in prop::collection::vec(1_u32..200_000, 1..40),
            weight in 0.01_f64..0.99, tolerated in 0.0_f64..0.5, other in 0.3_f64..=1.0) {
            let settings = Settings { slower_tolerated: tolerated, slower_refuted: 0.6, ..Settings::default() };
            let latency = frozen(&settings);
            let weight = Weight::new(weight).unwrap();
            let e = |latency: &Latency| [latency.body.log_e(), latency.tail.log_e(), latency.log_proof().0].map(f64::exp);
            let after = |arm, us: u32| {
                let mut latency = latency.clone();
                latency.ended(weight, arm, us);
                e(&latency)
            };
            // The candidate's is the baseline's, so many times.
            let mean = |times: f64| {
                let mut sums = [0.0; 3];
                for &us in &all {
                    let candidate = after(Arm::Candidate, (f64::from(us) * times).floor() as u32);
                    let baseline = after(Arm::Baseline, us);
                    for (sum, (candidate, baseline)) in sums.iter_mut().zip(candidate.iter().zip(baseline)) {
                        *sum += weight.get() * candidate + (1.0 - weight.get()) * baseline;
                    }
                }
                sums.map(|sum| sum / all.len() as f64)
            };
            let healthy = mean((1.0 + tolerated) * other);
            prop_assert!(healthy[..2].iter().all(|mean| *mean <= 1.0 + 1e-9), "{healthy:?}");
            let slow = mean(1.6 / other + 0.01);
            prop_assert!(slow[2] <= 1.0 + 1e-9, "{slow:?}");
        }
    }
}
