//! Rollouts that the goldens show. Names are hostile on purpose.

use umbra_api::rollout::{
    AnalysisCounts, AnalysisStatus, ArmStatus, Happened, InstancePhase, InstanceStatus,
    JudgedStatus, MetricStatus, Quantiles, Range, RolledBack, RolloutEvent, RolloutPhase,
    RolloutStatus, StageStatus, StepProgress, StepStatus,
};
use umbra_state::{Digest, StateId};

/// 2026-01-01.
pub(super) const BEGAN_MS: i64 = 1_767_225_600_000;

/// When the screens are looked at.
pub(super) const NOW_MS: i64 = BEGAN_MS + 123_456;

fn steps(current: usize) -> Vec<StepStatus> {
    let words = [
        "mirror 100 %",
        "pause 30 s",
        "weight 1 %",
        "weight 5 %",
        "weight 25 %",
        "weight 50 %",
        "weight 100 %",
    ];
    let step = |(place, words): (usize, &str)| StepStatus {
        words: words.to_owned(),
        progress: match place.cmp(&current) {
            std::cmp::Ordering::Less => StepProgress::Done,
            std::cmp::Ordering::Equal => StepProgress::Current,
            std::cmp::Ordering::Greater => StepProgress::Ahead,
        },
        began_at_ms: (place <= current).then_some(BEGAN_MS + 4_000 + 31_400 * place as i64),
    };
    words.into_iter().enumerate().map(step).collect()
}

pub(super) fn instance(name: &str, to: &str, phase: InstancePhase) -> InstanceStatus {
    InstanceStatus { name: Some(name.to_owned()), to: to.to_owned(), phase }
}

fn arm(requests: u64, errors: u64, latency: [u64; 4], instances: Vec<InstanceStatus>) -> ArmStatus {
    let [p50_us, p90_us, p99_us, p999_us] = latency;
    let latency = Some(Quantiles { p50_us, p90_us, p99_us, p999_us });
    ArmStatus { instances, requests, errors, in_flight: requests / 900, latency }
}

fn metric(name: &str, share: f64, e: f64, evidence: &str) -> MetricStatus {
    MetricStatus { metric: name.to_owned(), share, log_e: e.ln(), evidence: evidence.to_owned() }
}

fn judged() -> JudgedStatus {
    JudgedStatus {
        log_e: f64::ln(2.0),
        log_e_peak: f64::ln(3.4),
        log_limit: f64::ln(100.0),
        metrics: vec![
            metric("errors", 0.4, 5.0, "9 of 142 errors are the candidate's; 7.1 were expected"),
            metric("latency", 0.4, 1.2, "1,312 answers against the baseline's histogram"),
            metric("differences", 0.1, 0.9, "no field\u{202e} differs"),
            metric("weight", 0.1, 0.3, "4.97 % of the requests, 5 % meant"),
        ],
        error_ratio: Some(Range { seen: Some(1.29), least: 0.55, most: Some(3.4) }),
        slower: vec![
            ("p50".to_owned(), Range { seen: Some(1.01), least: 0.97, most: Some(1.06) }),
            ("p99".to_owned(), Range { seen: Some(1.04), least: 0.7, most: None }),
        ],
        worse_by: None,
        proved: false,
        requests_needed: Some(6_400),
        units: [25_102, 1_312],
        errors: [133, 9],
        stages: vec![
            StageStatus { weight_percent: 1.0, units: [10_100, 103], errors: [52, 1] },
            StageStatus { weight_percent: 5.0, units: [15_002, 1_209], errors: [81, 8] },
        ],
        left_out: vec![
            ("clients that went away".to_owned(), 12),
            ("no room in the queue".to_owned(), 0),
        ],
    }
}

/// At 5 %, nothing wrong.
pub(super) fn running() -> RolloutStatus {
    RolloutStatus {
        id: 7,
        service: "web".to_owned(),
        candidate: "web@2\x1b[2J".to_owned(),
        state: Some(StateId(Digest::new([0xb2; 32]))),
        baseline: "web@1".to_owned(),
        phase: RolloutPhase::Running,
        reason: "weight 5 % is held for at least 10 s and 100 requests".to_owned(),
        steps: steps(3),
        weight_percent: 5.0,
        mirror_percent: 0.0,
        began_at_ms: BEGAN_MS,
        ended_at_ms: None,
        arms: [
            arm(
                25_102,
                133,
                [1_200, 2_900, 12_400, 48_000],
                vec![instance("web-1", "10.213.0.2:8080", InstancePhase::Ready)],
            ),
            arm(
                1_312,
                9,
                [1_210, 2_950, 12_900, 51_000],
                vec![
                    instance("web-2\n", "10.213.0.3:8080", InstancePhase::Ready),
                    instance("web-3", "10.213.0.4:8080", InstancePhase::Unwell),
                ],
            ),
        ],
        judged: Some(judged()),
        analyses: vec![AnalysisStatus {
            name: "success-rate".to_owned(),
            phase: "running".to_owned(),
            value: Some("0.993".to_owned()),
            counts: AnalysisCounts { successful: 3, failed: 1, inconclusive: 0, error: 0 },
            message: String::new(),
        }],
        held_by: Vec::new(),
        journal: Some("/var/lib/umbra/rollouts/7/my journal".into()),
        rolled_back: None,
        topped_up: 0,
    }
}

/// Everybody gets the old one, the new one is mirrored to.
pub(super) fn shadow_stage() -> RolloutStatus {
    let mut status = running();
    status.steps = steps(0);
    status.reason = "mirror 100 %: until 500 requests or 30 s".to_owned();
    (status.weight_percent, status.mirror_percent) = (0.0, 100.0);
    status.arms[1] =
        ArmStatus { instances: status.arms[1].instances.clone(), ..ArmStatus::default() };
    status.analyses.clear();
    status.judged = Some(JudgedStatus {
        log_e: 0.0,
        log_e_peak: 0.0,
        metrics: vec![metric("differences", 0.25, 1.0, "311 answers compared")],
        error_ratio: None,
        slower: Vec::new(),
        requests_needed: None,
        units: [311, 0],
        errors: [0, 0],
        stages: Vec::new(),
        ..judged()
    });
    status
}

/// Nearly nobody asks.
pub(super) fn low_traffic() -> RolloutStatus {
    let mut status = running();
    status.phase = RolloutPhase::Paused;
    status.reason = "weight 5 % has 7 of the 100 requests it needs".to_owned();
    status.arms[0] = ArmStatus { requests: 141, errors: 0, ..status.arms[0].clone() };
    status.arms[1] = ArmStatus { requests: 7, errors: 0, ..status.arms[1].clone() };
    status.judged = Some(JudgedStatus {
        error_ratio: Some(Range { seen: None, least: 0.0, most: None }),
        requests_needed: None,
        units: [141, 7],
        errors: [0, 0],
        ..judged()
    });
    status
}

/// A person has to say yes.
pub(super) fn gated() -> RolloutStatus {
    let mut status = running();
    status.phase = RolloutPhase::Paused;
    status.reason = "gate approve says: wait\nfor bob".to_owned();
    status.held_by = vec!["approve".to_owned(), "load\x07".to_owned()];
    status
}

fn over(phase: RolloutPhase, reason: &str) -> RolloutStatus {
    let mut status = running();
    status.phase = phase;
    status.reason = reason.to_owned();
    status.ended_at_ms = Some(BEGAN_MS + 130_250);
    status
}

fn back(reason: &str, took_us: u64, judged: bool) -> RolloutStatus {
    let mut status = over(RolloutPhase::Failed, reason);
    status.weight_percent = 0.0;
    for step in &mut status.steps {
        step.progress = match step.progress {
            StepProgress::Ahead => StepProgress::Skipped,
            _ => StepProgress::Done,
        };
    }
    status.rolled_back =
        Some(RolledBack { at_ms: BEGAN_MS + 128_012, took_us, from_percent: 5.0, judged });
    status
}

fn worse(first: MetricStatus) -> RolloutStatus {
    let mut status = back("the candidate was found worse", 3_100, true);
    let mut metrics = judged().metrics;
    metrics.retain(|one| one.metric != first.metric);
    metrics.insert(0, first);
    status.judged = Some(JudgedStatus {
        log_e: f64::ln(103.6),
        log_e_peak: f64::ln(103.6),
        worse_by: metrics.first().map(|metric| metric.metric.clone()),
        metrics,
        requests_needed: None,
        ..judged()
    });
    status
}

/// Three times the errors.
pub(super) fn errors() -> RolloutStatus {
    let mut status = worse(metric(
        "errors",
        0.4,
        259.0,
        "41 of 174 errors are the candidate's; 8.7 were expected",
    ));
    status.arms[1].errors = 41;
    if let Some(judged) = &mut status.judged {
        judged.error_ratio = Some(Range { seen: Some(5.9), least: 1.9, most: Some(11.2) });
        judged.errors[1] = 41;
        judged.stages[1].errors[1] = 40;
    }
    status
}

/// One of a hundred takes ten times as long.
pub(super) fn slow_tail() -> RolloutStatus {
    let mut status = worse(metric("latency", 0.4, 258.0, "tail bets above p99"));
    status.arms[1].latency =
        Some(Quantiles { p50_us: 1_210, p90_us: 2_960, p99_us: 118_000, p999_us: 411_000 });
    if let Some(judged) = &mut status.judged {
        judged.slower[1].1 = Range { seen: Some(9.5), least: 1.4, most: Some(31.0) };
    }
    status
}

/// Other answers, before anybody got one.
pub(super) fn differences() -> RolloutStatus {
    let mut status = worse(metric(
        "differences",
        0.1,
        1_030.0,
        "body.items[].price differs in 30 of 600 answers",
    ));
    status.mirror_percent = 100.0;
    status.rolled_back = None;
    status
}

/// An absolute guard, beside the judge.
pub(super) fn guarded() -> RolloutStatus {
    back("guard errors: 7.1 % of both arms failed, at most 5 % may", 250_000, false)
}

/// Gone well.
pub(super) fn promoted(proved: bool) -> RolloutStatus {
    let mut status = over(RolloutPhase::Successful, "all steps are done");
    status.weight_percent = 100.0;
    if let Some(judged) = &mut status.judged {
        judged.proved = proved;
    }
    for step in &mut status.steps {
        step.progress = StepProgress::Done;
    }
    status
}

/// The image never answers.
pub(super) fn never_healthy() -> RolloutStatus {
    let mut status =
        over(RolloutPhase::Error, "web-2 was not healthy within 60 s: connection refused\x1b[31m");
    status.weight_percent = 0.0;
    status.steps = steps(0);
    status.judged = None;
    status.journal = None;
    status.analyses.clear();
    status.arms[1] = ArmStatus {
        instances: vec![instance("web-2", "10.213.0.3:8080", InstancePhase::Unwell)],
        ..ArmStatus::default()
    };
    status
}

/// Measurements that nobody could make sense of.
pub(super) fn inconclusive() -> RolloutStatus {
    over(RolloutPhase::Inconclusive, "analysis success-rate: neither good nor bad 3 times")
}

/// All kinds of events.
pub(super) fn events() -> Vec<RolloutEvent> {
    let phase = |phase, reason: &str| Happened::Phase { phase, reason: reason.to_owned() };
    let step = |step, words: &str| Happened::Step { step, words: words.to_owned() };
    let weight = |from_percent, to_percent| Happened::Weight { from_percent, to_percent };
    let hook =
        |outcome: &str| Happened::Hook { name: "approve".to_owned(), outcome: outcome.to_owned() };
    let candidate = |phase, why: Option<&str>| Happened::Instance {
        arm: "candidate".to_owned(),
        instance: instance("web-2", "10.213.0.3:8080", phase),
        why: why.map(str::to_owned),
    };
    let standing = |status: RolloutStatus| Happened::Standing { status: Box::new(status) };
    let all = [
        (0, phase(RolloutPhase::Starting, "instances of web@2 are started")),
        (900, candidate(InstancePhase::Starting, None)),
        (3_900, candidate(InstancePhase::Ready, Some("2 checks answered\x1b[2J"))),
        (4_000, phase(RolloutPhase::Running, "mirror 100 %")),
        (4_000, step(0, "mirror 100 %")),
        (5_000, standing(shadow_stage())),
        (35_400, step(1, "pause 30 s")),
        (66_800, hook("held: not yet")),
        (66_800, step(2, "weight 1 %")),
        (66_801, weight(0.0, 1.0)),
        (98_100, hook("go")),
        (98_200, step(3, "weight 5 %")),
        (98_201, weight(1.0, 5.0)),
        (100_000, standing(running())),
        (101_000, standing(running())),
        (110_000, Happened::Analysis { analysis: running().analyses.remove(0) }),
        (112_000, Happened::Warning { sentence: "the clock went back by 2 s".to_owned() }),
        (128_012, weight(5.0, 0.0)),
        (128_020, phase(RolloutPhase::RollingBack, "the candidate was found worse")),
        (130_000, standing(errors())),
        (130_250, phase(RolloutPhase::Failed, "the candidate was found worse")),
    ];
    let event = |(seq, (at, what))| RolloutEvent { seq, at_ms: BEGAN_MS + at, what };
    (1..).zip(all).map(event).collect()
}
