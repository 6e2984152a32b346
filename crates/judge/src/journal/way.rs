//! How the e-value got where it is, as far as a picture shows it.

/// Points at most.
pub const POINTS_MAX: usize = 512;

/// Natural logarithms of the e-value at every so many records: at each one at first, and half as
/// often each time there would be too many. However long the journal, that is bounded.
#[derive(Debug, Clone, PartialEq)]
pub struct Way {
    points: Vec<(u64, f64)>,
    every: u64,
}

impl Default for Way {
    fn default() -> Self {
        Self { points: Vec::new(), every: 1 }
    }
}

impl Way {
    /// After so many records, which only grow; `log_e` is asked where a point is due.
    pub(super) fn on(&mut self, records: u64, log_e: impl FnOnce() -> f64) {
        if !records.is_multiple_of(self.every) {
            return;
        }
        if self.points.len() == POINTS_MAX {
            self.every = self.every.saturating_mul(2);
            let every = self.every;
            self.points.retain(|(at, _)| at.is_multiple_of(every));
            return self.on(records, log_e);
        }
        self.points.push((records, log_e()));
    }

    /// The points, and the last one of all.
    pub(super) fn end(mut self, records: u64, log_e: f64) -> Vec<(u64, f64)> {
        if self.points.last().is_none_or(|(at, _)| *at < records) {
            self.points.push((records, log_e));
        }
        self.points
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_is_bounded_and_has_its_end() {
        for length in [0, 1, 511, 512, 513, 1_024, 1_025, 100_000] {
            let mut way = Way::default();
            (1..=length).for_each(|at| way.on(at, || at as f64));
            let points = way.end(length, length as f64);
            assert!(points.len() <= POINTS_MAX + 1, "{length}: {}", points.len());
            assert!(points.len() as u64 >= length.min(POINTS_MAX as u64 / 2), "{length}");
            assert_eq!(points.last(), Some(&(length, length as f64)));
            assert!(
                points.is_sorted_by(|a, b| a.0 < b.0) && points.iter().all(|p| p.0 as f64 == p.1)
            );
        }
    }
}
