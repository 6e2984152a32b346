//! Baseline and candidate, and how many bad outcomes each had.

use serde::{Deserialize, Serialize};

/// Which of two a unit was given to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arm {
    /// What is in production.
    Baseline,
    /// What is to replace it.
    Candidate,
}

/// The probability with which a unit is given to the candidate, strictly between 0 and 1: where
/// all go to one arm there is nothing to compare.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Weight(f64);

impl Weight {
    /// Each arm as often as the other.
    pub const HALF: Self = Self(0.5);

    /// `None` where it is no probability between 0 and 1.
    pub fn new(probability: f64) -> Option<Self> {
        (probability > 0.0 && probability < 1.0).then_some(Self(probability))
    }

    /// The probability.
    pub fn get(self) -> f64 {
        self.0
    }

    /// The probability that a bad outcome is the candidate's where that one is bad `ratio` times
    /// as often.
    pub fn of_bad(self, ratio: f64) -> Self {
        let odds = self.0 * ratio;
        let is = odds / (odds + (1.0 - self.0));
        Self(is.clamp(f64::MIN_POSITIVE, 1.0 - f64::EPSILON))
    }

    /// That of the other arm.
    pub fn other(self) -> Self {
        Self(1.0 - self.0)
    }
}

/// Bad outcomes of each arm by the weight in force when their units were assigned. All that any
/// evidence of [`crate::ratio`] rests on, and so all that has to be kept of a rollout.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tally {
    rows: Vec<Row>,
}

/// Bad outcomes at one weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// The weight.
    pub weight: Weight,
    /// The candidate's.
    pub candidate: u64,
    /// The baseline's.
    pub baseline: u64,
}

impl Row {
    /// Those of both arms.
    pub fn all(&self) -> u64 {
        self.candidate + self.baseline
    }
}

impl Tally {
    /// One more, and the place of its row.
    pub fn add(&mut self, weight: Weight, arm: Arm) -> usize {
        let place = self.rows.iter().position(|row| row.weight == weight);
        let place = place.unwrap_or_else(|| {
            self.rows.push(Row { weight, candidate: 0, baseline: 0 });
            self.rows.len() - 1
        });
        match arm {
            Arm::Candidate => self.rows[place].candidate += 1,
            Arm::Baseline => self.rows[place].baseline += 1,
        }
        place
    }

    /// By weight, in the order in which weights were first seen.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The candidate's, at all weights.
    pub fn candidate(&self) -> u64 {
        self.rows.iter().map(|row| row.candidate).sum()
    }

    /// The baseline's, at all weights.
    pub fn baseline(&self) -> u64 {
        self.rows.iter().map(|row| row.baseline).sum()
    }

    /// The same outcomes with the arms' names exchanged.
    pub fn exchanged(&self) -> Self {
        let exchange = |row: &Row| Row {
            weight: row.weight.other(),
            candidate: row.baseline,
            baseline: row.candidate,
        };
        Self { rows: self.rows.iter().map(exchange).collect() }
    }
}

impl FromIterator<Row> for Tally {
    fn from_iter<I: IntoIterator<Item = Row>>(rows: I) -> Self {
        Self { rows: rows.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_leaves_something_to_both_arms() {
        for bad in [0.0, 1.0, -0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert_eq!(Weight::new(bad), None, "{bad}");
        }
        assert_eq!(Weight::new(0.5), Some(Weight::HALF));
        assert_eq!(Weight::new(0.05).unwrap().other(), Weight::new(0.95).unwrap());
        assert_eq!(Weight::HALF.of_bad(3.0), Weight::new(0.75).unwrap());
        assert_eq!(Weight::new(0.1).unwrap().of_bad(1.0), Weight::new(0.1).unwrap());
    }

    #[test]
    fn outcomes_are_counted_by_weight_and_arm() {
        let mut tally = Tally::default();
        let small = Weight::new(0.25).unwrap();
        for (weight, arm) in
            [(small, Arm::Baseline), (Weight::HALF, Arm::Candidate), (small, Arm::Candidate)]
        {
            tally.add(weight, arm);
        }
        let row = |weight, candidate, baseline| Row { weight, candidate, baseline };
        assert_eq!(tally.rows(), [row(small, 1, 1), row(Weight::HALF, 1, 0)]);
        assert_eq!((tally.candidate(), tally.baseline()), (2, 1));
        assert_eq!(tally.exchanged().exchanged(), tally);
    }
}
