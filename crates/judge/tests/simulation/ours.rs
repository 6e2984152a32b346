//! The judge as a gateway uses it, in worlds where the truth is known.

use fastrand::Rng;
use umbra_judge::arm::Arm;
use umbra_judge::outcome::{Kind, Outcome, Record};
use umbra_judge::settings::{Metrics, Settings};
use umbra_judge::trial::Trial;

use crate::traffic::{Answer, Change, Route, Traffic};

/// What is seen of production before a rollout.
const BEFORE: u64 = 30_000;

/// Weights of a rollout, one after another.
pub(crate) const LADDER: [f64; 5] = [0.01, 0.05, 0.1, 0.25, 0.5];

pub(crate) const ERRORS: Metrics = Metrics { errors: true, ..Metrics::NONE };
pub(crate) const LATENCY: Metrics = Metrics { latency: true, ..Metrics::NONE };

/// Everything else as it is where nobody says anything.
pub(crate) fn settings(alpha: f64, metrics: Metrics) -> Settings {
    Settings { alpha, metrics, ..Settings::default() }
}

/// A judge, and what it was told of assignments.
#[derive(Clone)]
pub(crate) struct Ours {
    pub(crate) trial: Trial,
    pub(crate) weight: f64,
    stages: u16,
    units: u64,
}

impl Ours {
    /// One that saw production as this route is before the rollout; what it saw need not be what
    /// it will see.
    pub(crate) fn new(rng: &mut Rng, settings: Settings, before: Route) -> Self {
        let trial = Trial::new(settings).expect("settings");
        let mut ours = Self { trial, weight: 0.0, stages: 0, units: 0 };
        ours.stage(0.0);
        if settings.metrics.latency {
            let mut traffic = Traffic::new(rng, before, Change::NONE);
            for _ in 0..BEFORE {
                let answer = traffic.answer(rng, Arm::Baseline);
                ours.request(Arm::Baseline, answer);
            }
        }
        ours
    }

    pub(crate) fn stage(&mut self, weight: f64) {
        self.trial.on(&Record::Stage { weight });
        (self.weight, self.stages) = (weight, self.stages + 1);
    }

    pub(crate) fn arm(&self, rng: &mut Rng) -> Arm {
        if rng.f64() < self.weight { Arm::Candidate } else { Arm::Baseline }
    }

    /// A request that is a unit of its own.
    pub(crate) fn request(&mut self, arm: Arm, answer: Answer) {
        self.units += 1;
        self.of_unit(self.units, arm, answer);
    }

    /// A request of this unit.
    pub(crate) fn of_unit(&mut self, unit: u64, arm: Arm, answer: Answer) {
        let Answer { failed, latency_us } = answer;
        self.outcome(Outcome {
            unit,
            arm,
            stage: 0,
            latency_us,
            failed,
            hung: 0,
            kind: Kind::Ended,
        });
    }

    /// An outcome of the stage that is now.
    pub(crate) fn outcome(&mut self, outcome: Outcome) {
        let stage = self.stages - 1;
        self.trial.on(&Record::Outcome(Outcome { stage, ..outcome }));
    }
}

/// A rollout over these weights, each for an equal part of so many requests, looked at after each:
/// how many of the candidate's it took until it was called worse.
pub(crate) fn rollout(
    rng: &mut Rng,
    ours: &Ours,
    (route, change): (Route, Change),
    weights: &[f64],
    requests: u64,
) -> Option<u64> {
    let mut ours = ours.clone();
    let mut traffic = Traffic::new(rng, route, change);
    let mut of_candidate = 0;
    for weight in weights {
        ours.stage(*weight);
        for _ in 0..requests / weights.len() as u64 {
            let arm = ours.arm(rng);
            let answer = traffic.answer(rng, arm);
            ours.request(arm, answer);
            of_candidate += u64::from(arm == Arm::Candidate);
            if ours.trial.is_worse() {
                return Some(of_candidate);
            }
        }
    }
    None
}

/// Errors of a rollout whose candidate fails `ratio` times as often, and nothing but errors: how
/// many of the candidate's it took until it was called worse, of at most `events` of both arms.
pub(crate) fn errors(
    rng: &mut Rng,
    alpha: f64,
    weights: &[f64],
    events: u64,
    ratio: f64,
) -> Option<u64> {
    // Of errors alone the candidate's are no more than its part of all.
    let settings = Settings { excess_min: 0.0, ..settings(alpha, ERRORS) };
    let mut ours = Ours::new(rng, settings, Route::calm(1.0, 0.0));
    let mut of_candidate = 0;
    for weight in weights {
        ours.stage(*weight);
        for _ in 0..events / weights.len() as u64 {
            let candidate = rng.f64() < weight * ratio / (1.0 + weight * (ratio - 1.0));
            let arm = if candidate { Arm::Candidate } else { Arm::Baseline };
            ours.request(arm, Answer { failed: true, latency_us: 0 });
            of_candidate += u64::from(candidate);
            if ours.trial.is_worse() {
                return Some(of_candidate);
            }
        }
    }
    None
}

/// Requests of a harmless rollout at this weight until it is proved not to be bad.
pub(crate) fn until_proved(
    rng: &mut Rng,
    ours: &Ours,
    route: Route,
    weight: f64,
    most: u64,
) -> Option<u64> {
    let mut ours = ours.clone();
    let mut traffic = Traffic::new(rng, route, Change::NONE);
    ours.stage(weight);
    (1..=most).find(|_| {
        let arm = ours.arm(rng);
        let answer = traffic.answer(rng, arm);
        ours.request(arm, answer);
        answer.failed && ours.trial.proved()
    })
}
