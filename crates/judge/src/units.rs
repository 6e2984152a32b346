//! What counts: one outcome for each unit that was given to an arm by chance.
//!
//! Where the route is not sticky each request is a unit. Where it is, a session is one: its
//! requests share its fate, and evidence that took each for itself would be wrong more often than
//! it says, by far. A session's *place* is a number that is drawn once, and it is the candidate's
//! where that is below the weight. So
//!
//! * in each stage a session counts once: what is known first decides about its latency, its first
//!   error counts as an error;
//! * one that was the baseline's at the weight `v` and is seen again at a greater weight `w` was
//!   given to the candidate with probability `(w - v)/(1 - v)`: its place is known to be above `v`;
//! * one that is the candidate's already, or that is seen again at no greater weight, was not given
//!   to an arm by chance again and adds nothing.
//!
//! With a fresh baseline both arms take as many places, and a session stays where it came first.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::num::NonZeroU16;

use crate::arm::{Arm, Weight};
use crate::outcome::{Kind, Outcome};
use crate::settings::Control;
use crate::strata::Strata;

/// Questions about a unit that are answered at the same moment, as bits: how its latency stands to
/// each hang threshold.
pub(crate) const THRESHOLDS: u8 = 2;
pub(crate) const ALL_THRESHOLDS: u8 = (1 << THRESHOLDS) - 1;
const ERROR: u8 = 1 << THRESHOLDS;
const COUNTED: u8 = 1 << (THRESHOLDS + 1);
const CLOSED: u8 = 1 << (THRESHOLDS + 2);

/// Sessions that are known at the same time; one takes 16 bytes of a table that is half full.
const SESSIONS_MAX: usize = 1 << 20;

/// Why an outcome says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LeftOut {
    /// Its session counted before: a later request, or in an earlier stage.
    Counted,
    /// Its session has gone on to a later stage.
    Late,
    /// There are too many sessions to know this one.
    Sessions,
    /// Its session is with the other arm.
    Moved,
    /// There is no such stage, or no such hang threshold.
    Unknown,
    /// There are too many different probabilities.
    Strata,
}

impl LeftOut {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Counted, Self::Late, Self::Sessions, Self::Moved, Self::Unknown, Self::Strata];

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Counted => "of a session that counted before",
            Self::Late => "of an earlier stage than its session's last",
            Self::Sessions => "of a session beyond those that are known",
            Self::Moved => "of a session that is with the other arm",
            Self::Unknown => "of a stage or a threshold that was not declared",
            Self::Strata => "of a weight beyond those that are told apart",
        }
    }
}

/// What an outcome says about its unit that was not known before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Admitted {
    /// Those of its probability; `None` where it was not given to an arm by chance.
    pub(crate) stratum: Option<usize>,
    /// Whether it is over now, and was not before.
    pub(crate) first: bool,
    /// Hang thresholds to which it is known to stand somehow, as bits.
    pub(crate) thresholds: u8,
    /// Whether it failed, and had not before.
    pub(crate) error: bool,
}

/// The units of a rollout.
#[derive(Debug, Clone)]
pub(crate) struct Units {
    control: Control,
    sessions: Option<HashMap<u64, Session>>,
}

/// What is known of a session.
#[derive(Debug, Clone, Copy)]
struct Session {
    arm: Arm,
    /// The last in which it was seen.
    stage: u16,
    /// That with the greatest weight in which it was the baseline's.
    above: u16,
    /// Of the last unit it was: its number from 1, which takes two bytes with none.
    stratum: Option<NonZeroU16>,
    /// What is known of that.
    known: u8,
}

impl Units {
    pub(crate) fn new(sticky: bool, control: Control) -> Self {
        Self { control, sessions: sticky.then(HashMap::new) }
    }

    /// What this outcome says, where `weights` are those of the stages.
    pub(crate) fn admit(
        &mut self,
        outcome: &Outcome,
        weights: &[f64],
        strata: &mut Strata,
    ) -> Result<Admitted, LeftOut> {
        let weight = *weights.get(usize::from(outcome.stage)).ok_or(LeftOut::Unknown)?;
        if outcome.kind == Kind::Hung && outcome.hung >= THRESHOLDS {
            return Err(LeftOut::Unknown);
        }
        let control = self.control;
        let Some(sessions) = &mut self.sessions else {
            let stratum = stratum(assigned(control, weight), strata)?;
            return Ok(request(outcome, stratum));
        };
        let full = sessions.len() >= SESSIONS_MAX;
        match sessions.entry(outcome.unit) {
            Entry::Vacant(_) if full => Err(LeftOut::Sessions),
            Entry::Vacant(vacant) => {
                let stratum = stratum(assigned(control, weight), strata)?;
                vacant.insert(Session::new(outcome, stratum)).learn(outcome)
            }
            Entry::Occupied(entry) => {
                let session = entry.into_mut();
                session.go_on(outcome, weights, control, strata)?;
                session.learn(outcome)
            }
        }
    }
}

/// The probability with which a unit that nothing is known of is the candidate's.
fn assigned(control: Control, weight: f64) -> Option<Weight> {
    match control {
        Control::Production => Weight::new(weight),
        Control::Fresh => (weight > 0.0 && weight <= 0.5).then_some(Weight::HALF),
    }
}

fn stratum(weight: Option<Weight>, strata: &mut Strata) -> Result<Option<usize>, LeftOut> {
    weight.map(|weight| strata.find(weight).ok_or(LeftOut::Strata)).transpose()
}

fn number(stratum: Option<usize>) -> Option<NonZeroU16> {
    stratum.and_then(|place| NonZeroU16::new(u16::try_from(place + 1).ok()?))
}

/// Where each request is a unit what was told of it before is in the outcome.
fn request(outcome: &Outcome, stratum: Option<usize>) -> Admitted {
    let ended = outcome.kind == Kind::Ended;
    let told = outcome.hung.min(THRESHOLDS);
    let thresholds = if ended { ALL_THRESHOLDS & !((1 << told) - 1) } else { 1 << told };
    Admitted { stratum, first: ended, thresholds, error: ended && outcome.failed }
}

impl Session {
    fn new(outcome: &Outcome, stratum: Option<usize>) -> Self {
        let (arm, stage) = (outcome.arm, outcome.stage);
        Self { arm, stage, above: stage, stratum: number(stratum), known: 0 }
    }

    /// Whether it is the unit it was, a new one, or none.
    fn go_on(
        &mut self,
        outcome: &Outcome,
        weights: &[f64],
        control: Control,
        strata: &mut Strata,
    ) -> Result<(), LeftOut> {
        if outcome.stage < self.stage {
            return Err(LeftOut::Late);
        }
        if outcome.stage == self.stage {
            return Ok(());
        }
        self.stage = outcome.stage;
        let (now, above) = (weights[usize::from(outcome.stage)], weights[usize::from(self.above)]);
        let again = match control {
            _ if self.arm == Arm::Candidate => false,
            Control::Production => now > above,
            // While nothing went to the candidate nothing was drawn.
            Control::Fresh => above == 0.0,
        };
        self.known = CLOSED;
        if !again {
            return Ok(());
        }
        let weight = match control {
            Control::Production => Weight::new((now - above) / (1.0 - above)),
            Control::Fresh => assigned(control, now),
        };
        let stratum = stratum(weight, strata)?;
        (self.arm, self.above, self.stratum, self.known) =
            (outcome.arm, outcome.stage, number(stratum), 0);
        Ok(())
    }

    fn learn(&mut self, outcome: &Outcome) -> Result<Admitted, LeftOut> {
        if self.known & CLOSED != 0 {
            return Err(LeftOut::Counted);
        }
        if outcome.arm != self.arm {
            return Err(LeftOut::Moved);
        }
        let ended = outcome.kind == Kind::Ended;
        let mut says = if ended { ALL_THRESHOLDS | COUNTED } else { 1 << outcome.hung };
        if ended && outcome.failed {
            says |= ERROR;
        }
        let new = says & !self.known;
        self.known |= says;
        if new == 0 {
            return Err(LeftOut::Counted);
        }
        Ok(Admitted {
            stratum: self.stratum.map(|number| usize::from(number.get()) - 1),
            first: new & COUNTED != 0,
            thresholds: new & ALL_THRESHOLDS,
            error: new & ERROR != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stages of these weights, and what each outcome says: its probability, and whether it counts
    /// and fails for the first time; or why it says nothing.
    struct Course {
        units: Units,
        strata: Strata,
        weights: Vec<f64>,
    }

    impl Course {
        fn new(sticky: bool, control: Control, weights: &[f64]) -> Self {
            let (units, strata) = (Units::new(sticky, control), Strata::default());
            Self { units, strata, weights: weights.to_vec() }
        }

        fn admit(&mut self, outcome: &Outcome) -> Result<Admitted, LeftOut> {
            self.units.admit(outcome, &self.weights, &mut self.strata)
        }

        #[track_caller]
        fn says(&mut self, outcome: &Outcome, weight: Option<f64>, first: bool, error: bool) {
            let admitted = self.admit(outcome).unwrap();
            let is = admitted.stratum.map(|place| self.strata.at(place).weight.get());
            let near = match (is, weight) {
                (Some(is), Some(weight)) => (is - weight).abs() < 1e-12,
                (is, weight) => is == weight,
            };
            assert!(near, "{is:?} is not {weight:?}");
            assert_eq!((admitted.first, admitted.error), (first, error));
        }

        #[track_caller]
        fn says_nothing(&mut self, outcome: &Outcome, cause: LeftOut) {
            assert_eq!(self.admit(outcome), Err(cause));
        }
    }

    fn of(unit: u64, arm: Arm, stage: u16) -> Outcome {
        let (latency_us, failed, hung, kind) = (1, false, 0, Kind::Ended);
        Outcome { unit, arm, stage, latency_us, failed, hung, kind }
    }

    fn failed(outcome: Outcome) -> Outcome {
        Outcome { failed: true, ..outcome }
    }

    fn hung(outcome: Outcome, hung: u8) -> Outcome {
        Outcome { kind: Kind::Hung, hung, ..outcome }
    }

    use Arm::{Baseline, Candidate};

    #[test]
    fn each_request_is_one() {
        let mut course = Course::new(false, Control::Production, &[0.0, 0.05, 1.0]);
        course.says(&of(1, Baseline, 0), None, true, false);
        course.says(&of(1, Candidate, 1), Some(0.05), true, false);
        course.says(&failed(of(1, Candidate, 1)), Some(0.05), true, true);
        course.says(&of(2, Candidate, 2), None, true, false);
        course.says_nothing(&of(2, Candidate, 3), LeftOut::Unknown);
        course.says(&hung(failed(of(3, Baseline, 1)), 0), Some(0.05), false, false);
        course.says_nothing(&hung(of(3, Baseline, 1), THRESHOLDS), LeftOut::Unknown);
    }

    /// However many hangs a request was told of, each threshold is asked about once.
    #[test]
    fn a_threshold_of_a_unit_is_counted_once() {
        for sticky in [false, true] {
            for told in 0..=THRESHOLDS {
                let mut course = Course::new(sticky, Control::Production, &[0.1]);
                let mut asked = vec![];
                for number in 0..told {
                    asked.push(course.admit(&hung(of(1, Candidate, 0), number)).unwrap());
                }
                asked.push(course.admit(&Outcome { hung: told, ..of(1, Candidate, 0) }).unwrap());
                for threshold in 0..THRESHOLDS {
                    let count =
                        asked.iter().filter(|one| one.thresholds & 1 << threshold != 0).count();
                    assert_eq!(count, 1, "threshold {threshold} of {told} told");
                }
                assert_eq!(asked.iter().filter(|one| one.first).count(), 1);
            }
        }
    }

    #[test]
    fn a_session_counts_once_in_a_stage() {
        let mut course = Course::new(true, Control::Production, &[0.1]);
        course.says(&of(1, Candidate, 0), Some(0.1), true, false);
        course.says_nothing(&of(1, Candidate, 0), LeftOut::Counted);
        course.says(&failed(of(1, Candidate, 0)), Some(0.1), false, true);
        course.says_nothing(&failed(of(1, Candidate, 0)), LeftOut::Counted);
        course.says_nothing(&of(1, Baseline, 0), LeftOut::Moved);
    }

    #[test]
    fn a_baseline_session_is_drawn_again_where_the_weight_grows() {
        let mut course = Course::new(true, Control::Production, &[0.0, 0.1, 0.5, 0.2, 0.75]);
        course.says(&of(1, Baseline, 0), None, true, false);
        course.says(&of(1, Baseline, 1), Some(0.1), true, false);
        course.says(&of(1, Baseline, 2), Some(0.4 / 0.9), true, false);
        course.says_nothing(&failed(of(1, Baseline, 1)), LeftOut::Late);
        // The weight is less: it is the baseline's for certain.
        course.says_nothing(&failed(of(1, Baseline, 3)), LeftOut::Counted);
        course.says(&of(1, Candidate, 4), Some(0.5), true, false);
        // Seen first at a weight, whatever was before.
        course.says(&of(2, Candidate, 3), Some(0.2), true, false);
        course.says_nothing(&failed(of(2, Candidate, 4)), LeftOut::Counted);
        course.says_nothing(&failed(of(2, Candidate, 3)), LeftOut::Late);
    }

    #[test]
    fn a_fresh_baseline_has_as_many_sessions() {
        let mut course = Course::new(true, Control::Fresh, &[0.0, 0.05, 0.5, 1.0]);
        course.says(&of(1, Baseline, 0), None, true, false);
        course.says(&of(1, Baseline, 1), Some(0.5), true, false);
        course.says_nothing(&failed(of(1, Baseline, 2)), LeftOut::Counted);
        course.says(&of(2, Candidate, 2), Some(0.5), true, false);
        course.says(&of(3, Candidate, 3), None, true, false);
    }

    /// Sessions whose places are drawn are the candidate's as often as their probability says,
    /// whenever they are seen.
    #[test]
    fn the_probability_is_the_right_one() {
        let weights = [0.0, 0.05, 0.3, 0.1, 0.6];
        let mut course = Course::new(true, Control::Production, &weights);
        let mut rng = fastrand::Rng::with_seed(3);
        let mut counts: HashMap<usize, [f64; 2]> = HashMap::new();
        for unit in 0..60_000 {
            let drawn = rng.f64();
            for (stage, weight) in weights.iter().enumerate() {
                if rng.f64() < 0.5 {
                    continue;
                }
                let arm = if drawn < *weight { Candidate } else { Baseline };
                let admitted = course.admit(&of(unit, arm, stage as u16));
                if let Ok(Admitted { stratum: Some(stratum), .. }) = admitted {
                    let [all, candidate] = counts.entry(stratum).or_default();
                    *all += 1.0;
                    *candidate += f64::from(u8::from(arm == Candidate));
                }
            }
        }
        assert!(counts.len() >= 5, "{counts:?}");
        for (stratum, [all, candidate]) in counts {
            let weight = course.strata.at(stratum).weight.get();
            let off = (candidate / all - weight).abs() / (weight * (1.0 - weight) / all).sqrt();
            assert!(off < 4.0, "{} of {all} at {weight}", candidate);
        }
    }
}
