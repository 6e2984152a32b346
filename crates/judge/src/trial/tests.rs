use proptest::prelude::*;

use super::*;
use crate::settings::{Control, Metrics};

fn trial(change: impl FnOnce(&mut Settings)) -> Trial {
    let mut settings = Settings::default();
    change(&mut settings);
    Trial::new(settings).unwrap()
}

fn only(metric: Metric) -> Metrics {
    Metrics {
        errors: metric == Metric::Errors,
        latency: metric == Metric::Latency,
        differences: metric == Metric::Differences,
        weight: metric == Metric::Weight,
    }
}

fn of(unit: u64, arm: Arm, stage: u16, latency_us: u32, failed: bool) -> Record {
    let (hung, kind) = (0, Kind::Ended);
    Record::Outcome(Outcome { unit, arm, stage, latency_us, failed, hung, kind })
}

/// After a stage without a candidate, at this weight.
fn begun(weight: f64, change: impl FnOnce(&mut Settings)) -> Trial {
    let mut trial = trial(change);
    trial.on(&Record::Stage { weight: 0.0 });
    for n in 0..2_000 {
        trial.on(&of(n, Arm::Baseline, 0, 1_000 + n as u32, false));
    }
    trial.on(&Record::Stage { weight });
    trial
}

/// The baseline's and the candidate's latency and whether it fails, for a number from 0 to 1.
type World = fn(f64) -> [(u32, bool); 2];

/// Units until it is found worse, of at most so many, a tenth of which is the candidate's.
fn found(trial: &mut Trial, world: World, units: u64) -> Option<u64> {
    let mut rng = fastrand::Rng::with_seed(9);
    (0..units).find(|n| {
        let [baseline, candidate] = world(rng.f64());
        let (arm, (us, failed)) = match rng.f64() < 0.1 {
            true => (Arm::Candidate, candidate),
            false => (Arm::Baseline, baseline),
        };
        trial.on(&of(*n, arm, 1, us, failed));
        trial.is_worse()
    })
}

fn us(x: f64) -> u32 {
    1_000 + (2_000.0 * x) as u32
}

#[test]
fn what_is_worse_is_found_by_what_it_is_worse_in() {
    #[track_caller]
    fn check(by: Option<Metric>, units: u64, world: World) {
        let mut trial = begun(0.1, |_| {});
        let after = found(&mut trial, world, units);
        assert_eq!(trial.worse_by(), by, "after {after:?}: {:#?}", trial.standing());
        let standing = trial.standing();
        assert_eq!(standing.worse, by);
        assert_eq!(standing.log_e_peak >= standing.log_limit, by.is_some());
        assert_eq!(standing.units_needed == Some(0), by.is_some() || trial.proved());
        if let Some(by) = by {
            assert_eq!(standing.metrics[0].metric, by);
        }
    }
    check(None, 30_000, |x| [(us(x), x < 0.01), (us(x), x < 0.01)]);
    check(Some(Metric::Errors), 10_000, |x| [(us(x), x < 0.01), (us(x), x < 0.05)]);
    check(Some(Metric::Latency), 20_000, |x| [(us(x), false), (us(x) + us(x) / 5, false)]);
    check(Some(Metric::Latency), 20_000, |x| {
        [(us(x), false), (us(x) * if x < 0.03 { 10 } else { 1 }, false)]
    });
    // Better in everything.
    check(None, 30_000, |x| [(us(x), x < 0.05), (us(x) / 2, x < 0.01)]);
}

#[test]
fn a_hang_is_found_before_it_is_over() {
    let mut trial = begun(0.05, |_| {});
    let thresholds = trial.hang_thresholds_us(Arm::Candidate).to_vec();
    assert_eq!(thresholds.len(), 2);
    let hang = |unit, hung| {
        let kind = Kind::Hung;
        let latency_us = thresholds[usize::from(hung)];
        let (arm, stage, failed) = (Arm::Candidate, 1, false);
        Record::Outcome(Outcome { unit, arm, stage, latency_us, failed, hung, kind })
    };
    let requests = (1..20).find(|n| {
        trial.on(&hang(*n, 0));
        trial.on(&hang(*n, 1));
        trial.is_worse()
    });
    assert!(requests.is_some_and(|requests| requests <= 5), "{requests:?}");
    assert_eq!(trial.standing().units, [0, 0], "none is over");
}

#[test]
fn errors_of_one_session_or_too_few_are_not_enough() {
    let failing = |trial: &mut Trial, unit: u64| trial.on(&of(unit, Arm::Candidate, 1, 1, true));
    let mut one = begun(0.05, |is| is.metrics = only(Metric::Errors));
    (0..20).for_each(|_| failing(&mut one, 7));
    assert!(!one.is_worse() && one.log_e() > one.log_limit());
    assert!(one.standing().metrics[0].evidence.ends_with("too few to matter"));
    failing(&mut one, 8);
    assert!(one.is_worse());
    // Ten of a million, which is ten times as often.
    let mut few = begun(0.5, |is| is.metrics = only(Metric::Errors));
    for n in 0..200_000 {
        few.on(&of(n, Arm::Candidate, 1, 1, n % 10_000 == 0));
        few.on(&of(n, Arm::Baseline, 1, 1, n == 5));
    }
    assert!(few.log_peak() > few.log_limit() && !few.is_worse());
}

#[test]
fn differences_and_a_broken_split_are_metrics() {
    let mut trial = begun(0.1, |_| {});
    trial.on(&Record::Differences { log_e: 7.0 });
    assert!(!trial.is_worse());
    trial.on(&Record::Differences { log_e: 9.0 });
    assert_eq!(trial.worse_by(), Some(Metric::Differences));
    let mut trial = begun(0.1, |is| is.metrics = only(Metric::Weight));
    for n in 0..8_192 {
        assert!(!trial.is_worse());
        trial.on(&of(n, Arm::Baseline, 1, 1_500, false));
    }
    assert_eq!(trial.worse_by(), Some(Metric::Weight));
    // What is not judged finds nothing.
    let mut trial = begun(0.1, |is| is.metrics = only(Metric::Latency));
    trial.on(&Record::Differences { log_e: 99.0 });
    (0..50).for_each(|n| trial.on(&of(n, Arm::Candidate, 1, 1_000, true)));
    assert!(!trial.is_worse());
}

#[test]
fn it_is_frozen_when_there_is_enough() {
    let frozen = |trial: &Trial| !trial.hang_thresholds_us(Arm::Baseline).is_empty();
    let told = |trial: &mut Trial, stage: u16, count: u64| {
        (0..count).for_each(|n| trial.on(&of(n, Arm::Baseline, stage, n as u32, false)));
    };
    let mut long = trial(|_| {});
    long.on(&Record::Stage { weight: 0.0 });
    told(&mut long, 0, 19_999);
    assert!(!frozen(&long));
    told(&mut long, 0, 1);
    assert!(frozen(&long));
    let mut at_once = trial(|_| {});
    at_once.on(&Record::Stage { weight: 0.1 });
    told(&mut at_once, 0, 999);
    at_once.on(&of(0, Arm::Candidate, 0, 1, false));
    assert!(!frozen(&at_once));
    told(&mut at_once, 0, 1);
    assert!(frozen(&at_once));
    let mut off = trial(|is| is.metrics = only(Metric::Errors));
    off.on(&Record::Stage { weight: 0.0 });
    told(&mut off, 0, 30_000);
    assert!(!frozen(&off));
}

#[test]
fn a_good_candidate_is_proved() {
    #[track_caller]
    fn check(world: World, proved: bool) {
        let mut trial = begun(0.1, |_| {});
        found(&mut trial, world, 60_000);
        assert_eq!(trial.proved(), proved, "{:#?}", trial.standing());
    }
    check(|x| [(us(x), x < 0.01), (us(x), x < 0.01)], true);
    check(|x| [(us(x), false), (us(x), false)], true);
    check(|x| [(us(x), x < 0.01), (us(x) + us(x) / 9, x < 0.01)], false);
    let mut split = trial(|is| is.metrics = only(Metric::Weight));
    split.on(&Record::Stage { weight: 0.5 });
    assert!(!split.proved(), "by nothing");
}

/// As many errors as there are on average, evenly.
#[test]
fn how_many_more_are_needed_is_about_right() {
    let mut trial = begun(0.1, |is| is.metrics = only(Metric::Errors));
    assert_eq!(trial.standing().units_needed, None);
    let mut told = Vec::new();
    for n in 0..20_000 {
        match n % 10 {
            0 => trial.on(&of(n, Arm::Candidate, 1, 1, n / 10 % 20 == 19)),
            _ => trial.on(&of(n, Arm::Baseline, 1, 1, n % 100 == 5)),
        }
        if n % 200 == 0 {
            told.push(trial.standing().units_needed);
        }
        if trial.is_worse() {
            break;
        }
    }
    assert_eq!(trial.standing().units_needed, Some(0));
    let all = told.len() * 20;
    for (at, needed) in told.iter().enumerate().skip(told.len() / 3) {
        let (needed, left) = (needed.unwrap() as usize, all - at * 20);
        assert!(needed <= 2 * left + 40 && left <= 2 * needed + 40, "{needed}, in fact {left}");
    }
}

/// A whole ladder in which nothing is worse, looked at after every outcome, in weather that both
/// arms share: a wrong baseline, bursts of errors and of slowness.
#[test]
fn a_healthy_rollout_is_seldom_called_worse() {
    let alpha = 0.1;
    let wrong = (0..200).filter(|seed| {
        let mut trial = begun(0.01, |is| is.alpha = alpha);
        let mut rng = fastrand::Rng::with_seed(*seed);
        let (mut stage, mut bad) = (1, false);
        for (weight, units) in [(0.01, 1_000), (0.1, 1_000), (0.5, 1_000)] {
            if stage > 1 {
                trial.on(&Record::Stage { weight });
            }
            for n in 0..units {
                bad ^= rng.f64() < 0.01;
                let arm = if rng.f64() < weight { Arm::Candidate } else { Arm::Baseline };
                let slow = if bad { 3 } else { 1 };
                let failed = rng.f64() < if bad { 0.5 } else { 0.02 };
                trial.on(&of(n, arm, stage, us(rng.f64()) * slow + 300, failed));
            }
            stage += 1;
        }
        trial.is_worse()
    });
    let wrong = wrong.count() as f64 / 200.0;
    assert!(wrong <= alpha, "{wrong}");
}

#[test]
fn a_standing_is_written_and_read() {
    let mut trial = begun(0.1, |_| {});
    found(&mut trial, |x| [(us(x), x < 0.01), (us(x), x < 0.01)], 3_000);
    trial.on(&of(1, Arm::Baseline, 9, 1, false));
    let standing = trial.standing();
    assert_eq!(standing.left_out.len(), 1);
    let ratio = standing.error_ratio.unwrap();
    assert!(
        ratio.least <= ratio.seen.unwrap()
            && ratio.most.is_some_and(|most| most >= ratio.seen.unwrap())
    );
    assert_eq!(standing.slower.len(), 2);
    let written = serde_json::to_string(&standing).unwrap();
    assert_eq!(serde_json::from_str::<crate::standing::Standing>(&written).unwrap(), standing);
}

#[test]
fn stages_end_somewhere() {
    let mut trial = trial(|_| {});
    (0..STAGES_MAX + 5).for_each(|_| trial.on(&Record::Stage { weight: 0.5 }));
    trial.on(&of(1, Arm::Candidate, STAGES_MAX as u16, 1, false));
    assert_eq!(trial.standing().left_out[0].1, 1);
    trial.on(&of(1, Arm::Candidate, STAGES_MAX as u16 - 1, 1, false));
    assert_eq!(trial.standing().units, [0, 1]);
}

proptest! {
    /// Whatever it is told it goes on, once it is worse it stays so, the most is never less than
    /// what is, and the same again gives the same bits.
    #[test]
    fn it_takes_anything(records in prop::collection::vec(crate::journal::record::tests::records(), 0..300),
        sticky in any::<bool>(), fresh in any::<bool>()) {
        let control = if fresh { Control::Fresh } else { Control::Production };
        let mut trial = trial(|is| (is.sticky, is.control) = (sticky, control));
        let mut again = trial.clone();
        for record in &records {
            let worse = trial.worse_by();
            trial.on(record);
            prop_assert!(worse.is_none() || trial.worse_by() == worse);
            prop_assert!(trial.log_e().is_finite() && trial.log_peak() >= trial.log_e());
            prop_assert!(!trial.is_worse() || trial.log_peak() >= trial.log_limit() - 1e-9);
            again.on(record);
            prop_assert!(trial.decision().is_exactly(&again.decision()));
        }
        trial.standing();
    }
}
