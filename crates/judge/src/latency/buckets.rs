//! Latencies counted by size, to a part in 256.

/// Buckets of one doubling.
const PER_DOUBLING: usize = 256;
const BITS: u32 = PER_DOUBLING.trailing_zeros();
/// Of all that a `u32` holds.
pub(crate) const BUCKETS: usize = PER_DOUBLING * (u32::BITS - BITS + 1) as usize;

/// The bucket of this one. A longer one never has a smaller bucket.
pub(crate) fn bucket(us: u32) -> usize {
    let shift = (u32::BITS - us.leading_zeros()).saturating_sub(BITS + 1);
    PER_DOUBLING * shift as usize + (us >> shift) as usize
}

/// The shortest of a bucket.
pub(crate) fn shortest_us(bucket: usize) -> u32 {
    let shift = (bucket / PER_DOUBLING).saturating_sub(1);
    let is = ((bucket - PER_DOUBLING * shift) as u64) << shift;
    u32::try_from(is).unwrap_or(u32::MAX)
}

/// How many there were in each.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    all: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], all: 0 }
    }
}

impl Histogram {
    pub(crate) fn add(&mut self, us: u32) {
        self.counts[bucket(us)] += 1;
        self.all += 1;
    }

    pub(crate) fn all(&self) -> u64 {
        self.all
    }

    /// By bucket.
    pub(crate) fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// The shortest that is not shorter than this part of all; `None` where nothing was, or the
    /// part is not one from 0 to 1.
    pub(crate) fn quantile_us(&self, part: f64) -> Option<u32> {
        if self.all == 0 || !(0.0..=1.0).contains(&part) {
            return None;
        }
        let rank = (part * self.all as f64).max(1.0);
        let mut sum = 0;
        let found = self.counts.iter().position(|count| {
            sum += count;
            sum as f64 >= rank
        });
        found.map(shortest_us)
    }

    /// The part of all that took at least this long, to the width of a bucket.
    pub(crate) fn part_from(&self, us: u32) -> f64 {
        let longer: u64 = self.counts[bucket(us)..].iter().sum();
        longer as f64 / self.all.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn all_have_one() {
        assert_eq!((bucket(0), bucket(255), bucket(256), bucket(511)), (0, 255, 256, 511));
        assert_eq!((bucket(512), bucket(513), bucket(514)), (512, 512, 513));
        assert_eq!(bucket(u32::MAX), BUCKETS - 1);
        for at in 0..BUCKETS {
            assert_eq!(bucket(shortest_us(at)), at);
        }
    }

    #[test]
    fn quantiles_are_those_of_what_was_counted() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile_us(0.5), None);
        (1..=100).for_each(|us| histogram.add(us));
        for (part, us) in [(0.0, 1), (0.5, 50), (0.99, 99), (1.0, 100)] {
            assert_eq!(histogram.quantile_us(part), Some(us), "{part}");
        }
        assert_eq!(histogram.quantile_us(1.1), None);
        assert!((histogram.part_from(91) - 0.1).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn it_is_known_to_a_part_in_256(us in any::<u32>(), other in any::<u32>()) {
            let shortest = shortest_us(bucket(us));
            prop_assert!(shortest <= us && u64::from(us - shortest) * 256 <= u64::from(us));
            prop_assert!((us <= other) <= (bucket(us) <= bucket(other)));
        }
    }
}
