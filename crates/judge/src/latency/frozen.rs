//! What latencies are compared with, and what is bet on each.
//!
//! The baseline's latencies from before are counted and then never change: `u` is the part of them
//! that are shorter. Whatever they were, the bets stay fair; if they no longer tell how the
//! baseline is, bets only win less.
//!
//! | bets | guess | on |
//! |---|---|---|
//! | rank | `l e^(l u) / (e^l - 1)` for `l` of 0.25, 0.5, 1, 2, 4 | all of them being longer |
//! | tail | `c` beyond the quantile `q`, else 1; over `1 + (c - 1)(1 - q)`; for `c` of 1.5, 2, 4, 8 | more of them being beyond 50, 75, 90, 95, 99, 99.9 % |
//!
//! All grow with the latency, so that a candidate that is nowhere slower gains by none.

use super::buckets::{BUCKETS, Histogram, bucket, shortest_us};

const RANKS: [f64; 5] = [0.25, 0.5, 1.0, 2.0, 4.0];
const TAILS: [f64; 6] = [0.5, 0.75, 0.9, 0.95, 0.99, 0.999];
const TIMES: [f64; 4] = [1.5, 2.0, 4.0, 8.0];

/// Parts of the ranks that are told apart.
const BINS: f64 = 256.0;
/// That of all beyond 95 %.
const BODY_BIN: f64 = 249.0;

/// Bets that are decided at each hang threshold: on ranks and the tails up to 95 %; on 99 and
/// 99.9 %.
pub(crate) const BODY: usize = BODY_TAILS * TIMES.len() + RANKS.len();
pub(crate) const TAIL: usize = (TAILS.len() - BODY_TAILS) * TIMES.len();
const BODY_TAILS: usize = 4;
/// Those of a proof: on ranks, the other way round.
pub(crate) const PROOF: usize = RANKS.len();

/// Each group's part of what is bet on latency: half of it goes on ranks, half on tails, there
/// and among themselves alike.
pub(crate) const BODY_PART: f64 = 1.0 - TAIL_PART;
pub(crate) const TAIL_PART: f64 = 0.5 * (TAILS.len() - BODY_TAILS) as f64 / TAILS.len() as f64;

/// How [`BODY`] is spread: tails, then ranks.
pub(crate) fn body_prior() -> [f64; BODY] {
    let part = |at: usize| match at < BODY - RANKS.len() {
        true => 0.5 / (TAILS.len() * TIMES.len()) as f64,
        false => 0.5 / RANKS.len() as f64,
    };
    std::array::from_fn(|at| part(at) / BODY_PART)
}

/// What is bet on latencies that are not told apart; each guess less 1.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Class {
    pub(crate) body: [f64; BODY],
    pub(crate) tail: [f64; TAIL],
    pub(crate) proof: [f64; PROOF],
}

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Frozen {
    /// By bucket.
    class_of: Vec<u16>,
    /// From the shortest to the longest.
    classes: Vec<Class>,
    /// Beyond them are 5 % and 0.1 % of the baseline.
    thresholds_us: [u32; 2],
}

/// What a latency is compared by: its part of ranks and how many of [`TAILS`] it is beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    bin: u32,
    beyond: usize,
}

impl Frozen {
    pub(crate) fn new(baseline: &Histogram) -> Self {
        let places = places(baseline);
        let mut class_of = Vec::with_capacity(BUCKETS);
        let mut classes = Vec::new();
        let mut last = None;
        for place in &places {
            if last != Some(*place) {
                classes.push(Class::new(*place));
                last = Some(*place);
            }
            // At most one for each bin and each tail.
            class_of.push((classes.len() - 1) as u16);
        }
        debug_assert!(rising(&classes), "bets do not grow with the latency");
        let threshold = |beyond: usize| {
            let first = places.iter().position(|place| place.beyond >= beyond);
            first.map_or(u32::MAX, shortest_us)
        };
        Self { class_of, classes, thresholds_us: [BODY_TAILS, TAILS.len()].map(threshold) }
    }

    /// Of one that took so long.
    pub(crate) fn class(&self, us: u32) -> &Class {
        &self.classes[usize::from(self.class_of[bucket(us)])]
    }

    /// Of one that takes longer than all thresholds.
    pub(crate) fn longest(&self) -> &Class {
        &self.classes[self.classes.len() - 1]
    }

    /// Those of hangs: what is as old is beyond 95 and 99.9 % of the baseline's.
    pub(crate) fn thresholds_us(&self) -> [u32; 2] {
        self.thresholds_us
    }
}

/// By bucket. A longer one has no smaller rank, and is beyond no fewer tails.
fn places(baseline: &Histogram) -> Vec<Place> {
    let all = baseline.all().max(1) as f64;
    let mut shorter = 0_u64;
    let place = |count: &u64| {
        let beyond = TAILS.iter().filter(|tail| shorter as f64 >= **tail * all).count();
        let rank = (shorter as f64 + *count as f64 / 2.0) / all;
        shorter += count;
        // All that is beyond has one rank: a hang is known to be there, and not where.
        let bin = if beyond >= BODY_TAILS { BODY_BIN } else { (rank * BINS).floor().min(BODY_BIN) };
        Place { bin: bin as u32, beyond }
    };
    baseline.counts().iter().map(place).collect()
}

impl Class {
    fn new(place: Place) -> Self {
        let rank = (f64::from(place.bin) + 0.5) / BINS;
        let tail = |at: usize| {
            let (tail, times) = (at / TIMES.len(), TIMES[at % TIMES.len()]);
            let guess = if place.beyond > tail { times } else { 1.0 };
            guess / (1.0 + (times - 1.0) * (1.0 - TAILS[tail])) - 1.0
        };
        let tails = BODY - RANKS.len();
        Self {
            body: std::array::from_fn(|at| match at.checked_sub(tails) {
                None => tail(at),
                Some(at) => longer(RANKS[at], rank),
            }),
            tail: std::array::from_fn(|at| tail(tails + at)),
            proof: RANKS.map(|part| longer(part, 1.0 - rank)),
        }
    }
}

/// The guess on ranks, less 1.
fn longer(part: f64, rank: f64) -> f64 {
    part * libm::exp(part * rank) / libm::expm1(part) - 1.0
}

/// Whether no guess falls as latencies grow, and none of a proof rises: what one-sided bounds
/// rest on.
fn rising(classes: &[Class]) -> bool {
    let up = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| a <= b);
    classes.windows(2).all(|two| {
        up(&two[0].body, &two[1].body)
            && up(&two[0].tail, &two[1].tail)
            && up(&two[1].proof, &two[0].proof)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frozen(all: impl IntoIterator<Item = u32>) -> Frozen {
        let mut histogram = Histogram::default();
        all.into_iter().for_each(|us| histogram.add(us));
        Frozen::new(&histogram)
    }

    #[test]
    fn guesses_are_the_known_ones() {
        let class = Class::new(Place { bin: 128, beyond: 6 });
        let near = |is: f64, known: f64| assert!((is + 1.0 - known).abs() < 1e-3, "{is} {known}");
        // On 50 %, eight times: 8 / 4.5; on 99.9 %: 8 / 1.007.
        near(class.body[3], 8.0 / 4.5);
        near(class.tail[7], 8.0 / 1.007);
        near(class.body[16 + 4], 4.0 * (4.0 * 128.5 / 256.0_f64).exp() / (4.0_f64.exp() - 1.0));
        assert!((BODY_PART - 5.0 / 6.0).abs() < 1e-12);
        assert!((body_prior().iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn thresholds_are_the_baseline_s_quantiles() {
        assert_eq!(frozen(0..200).thresholds_us(), [190, 200]);
        // All the same: whatever is longer is beyond everything.
        assert_eq!(frozen([100; 1_000]).thresholds_us(), [101; 2]);
        assert_eq!(frozen([u32::MAX; 1_000]).thresholds_us(), [u32::MAX; 2]);
    }

    proptest! {
        /// Whatever the baseline, guesses grow with the latency; what is as old as a threshold is
        /// beyond its tails, and there are not too many classes.
        #[test]
        fn bets_are_one_sided(all in prop::collection::vec(any::<u32>(), 1..400), narrow in 0_u32..28) {
            let frozen = frozen(all.iter().map(|us| us >> narrow));
            prop_assert!(rising(&frozen.classes));
            prop_assert!(frozen.classes.len() <= BINS as usize + TAILS.len() + 1);
            let longest = frozen.longest();
            let [body, tail] = frozen.thresholds_us();
            prop_assert!(body <= tail);
            if tail < u32::MAX {
                prop_assert_eq!(&frozen.class(body).body, &longest.body);
                prop_assert_eq!(&frozen.class(body).proof, &longest.proof);
                prop_assert_eq!(frozen.class(tail), longest);
            }
        }

        /// Guesses are densities: on the baseline itself they are 1 on average, or less.
        #[test]
        fn guesses_are_fair(seed in any::<u64>()) {
            let mut rng = fastrand::Rng::with_seed(seed);
            let all: Vec<u32> = (0..5_000).map(|_| rng.u32(0..1_000_000)).collect();
            let frozen = frozen(all.iter().copied());
            let mut sums = [0.0; BODY + TAIL];
            for us in &all {
                let class = frozen.class(*us);
                let guesses = class.body.iter().chain(&class.tail);
                sums.iter_mut().zip(guesses).for_each(|(sum, more)| *sum += more);
            }
            for sum in sums {
                prop_assert!(sum / 5_000.0 < 0.02, "{}", sum / 5_000.0);
            }
        }
    }
}
