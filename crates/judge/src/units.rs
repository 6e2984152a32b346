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

use crate::arm::{Arm, Weight};
use crate::outcome::{Kind, Outcome};
use crate::settings::Control;
use crate::strata::Strata;

/// Questions about a unit that are answered at the same moment, as bits: how its latency stands to
/// each hang threshold.
pub(crate) const THRESHOLDS: u8 = 3;
const ALL_THRESHOLDS: u8 = (1 << THRESHOLDS) - 1;
const ERROR: u8 = 1 << THRESHOLDS;
const COUNTED: u8 = 1 << (THRESHOLDS + 1);
const CLOSED: u8 = 1 << (THRESHOLDS + 2);

/// Sessions that are known at the same time; one takes about 20 bytes.
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
    /// Of the last unit it was.
    stratum: Option<u16>,
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

fn stratum(weight: Option<Weight>, strata: &mut Strata) -> Result<Option<u16>, LeftOut> {
    let mut find = |weight: Weight| strata.find(weight).and_then(|place| u16::try_from(place).ok());
    weight.map(|weight| find(weight).ok_or(LeftOut::Strata)).transpose()
}

/// Where each request is a unit what was told of it before is in the outcome.
fn request(outcome: &Outcome, stratum: Option<u16>) -> Admitted {
    let ended = outcome.kind == Kind::Ended;
    let told = outcome.hung.min(THRESHOLDS);
    let thresholds = if ended { ALL_THRESHOLDS & !((1 << told) - 1) } else { 1 << told };
    let stratum = stratum.map(usize::from);
    Admitted { stratum, first: ended, thresholds, error: ended && outcome.failed }
}

impl Session {
    fn new(outcome: &Outcome, stratum: Option<u16>) -> Self {
        let stage = outcome.stage;
        Self { arm: outcome.arm, stage, above: stage, stratum, known: 0 }
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
        (self.arm, self.above, self.stratum, self.known) = (outcome.arm, outcome.stage, stratum, 0);
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
            stratum: self.stratum.map(usize::from),
            first: new & COUNTED != 0,
            thresholds: new & ALL_THRESHOLDS,
            error: new & ERROR != 0,
        })
    }
}
