//! The rules by which others roll a candidate back, as their documents describe them, and a test
//! that many write themselves. They are looked at once a minute.

use fastrand::Rng;
use umbra_judge::classic::series::Series;
use umbra_judge::classic::{Config, Grade, Thresholds, judge};

use crate::chance::successes;
use crate::traffic::Answer;

/// What came of one minute, of the baseline and of the candidate.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Minute {
    pub(crate) arms: [ArmMinute; 2],
}

/// Of one arm.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ArmMinute {
    pub(crate) requests: u64,
    pub(crate) errors: u64,
    pub(crate) p99_ms: f64,
}

impl Minute {
    /// Of these answers, of the baseline and of the candidate.
    pub(crate) fn new(answers: &[Vec<Answer>; 2]) -> Self {
        Self { arms: [ArmMinute::new(&answers[0]), ArmMinute::new(&answers[1])] }
    }
}

impl ArmMinute {
    fn new(answers: &[Answer]) -> Self {
        let errors = answers.iter().filter(|answer| answer.failed).count() as u64;
        let mut latencies: Vec<u32> = answers.iter().map(|answer| answer.latency_us).collect();
        latencies.sort_unstable();
        let p99_us = latencies.get(latencies.len() * 99 / 100).copied();
        let p99_ms = p99_us.map_or(f64::NAN, |us| f64::from(us) / 1_000.0);
        Self { requests: answers.len() as u64, errors, p99_ms }
    }

    /// The part that was answered well; `None` where nothing was asked.
    fn success(&self) -> Option<f64> {
        (self.requests > 0).then(|| 1.0 - self.errors as f64 / self.requests as f64)
    }
}

/// How it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    RolledBack,
    Promoted,
}

/// A rule that is told of every minute.
pub(crate) trait Rule {
    fn minute(&mut self, minute: &Minute) -> Option<End>;
}

/// How a rule ends where each arm gets so many requests a minute and fails in this part of them.
pub(crate) fn ends(rng: &mut Rng, mut rule: impl Rule, requests: [u64; 2], rates: [f64; 2]) -> End {
    loop {
        let mut arms = [ArmMinute::default(); 2];
        for ((arm, requests), rate) in arms.iter_mut().zip(requests).zip(rates) {
            let errors = successes(rng, requests, rate);
            *arm = ArmMinute { requests, errors, p99_ms: 0.0 };
        }
        if let Some(end) = rule.minute(&Minute { arms }) {
            return end;
        }
    }
}

/// Flagger: a check fails where the candidate's success rate or duration is out of its range; a
/// failed check holds the weight, `threshold` of them roll back, the last of `steps` promotes.
/// No data is a failed check.
#[derive(Clone)]
pub(crate) struct Flagger {
    pub(crate) success_min: f64,
    pub(crate) p99_max_ms: f64,
    pub(crate) threshold: u32,
    pub(crate) steps: u32,
    failed: u32,
    good: u32,
}

impl Flagger {
    pub(crate) fn new(success_min: f64, threshold: u32) -> Self {
        Self { success_min, p99_max_ms: 500.0, threshold, steps: 10, failed: 0, good: 0 }
    }
}

impl Rule for Flagger {
    fn minute(&mut self, minute: &Minute) -> Option<End> {
        let candidate = minute.arms[1];
        let good = candidate.success().is_some_and(|rate| rate >= self.success_min)
            && candidate.p99_ms <= self.p99_max_ms;
        *(if good { &mut self.good } else { &mut self.failed }) += 1;
        match (self.failed >= self.threshold, self.good >= self.steps) {
            (true, _) => Some(End::RolledBack),
            (_, true) => Some(End::Promoted),
            (false, false) => None,
        }
    }
}

/// Argo Rollouts: `count` measurements of `successCondition: result >= success_min`, of which more
/// than `failure_limit` failed ones abort.
#[derive(Clone)]
pub(crate) struct Argo {
    pub(crate) success_min: f64,
    pub(crate) failure_limit: u32,
    pub(crate) count: u32,
    failed: u32,
    measured: u32,
}

impl Argo {
    pub(crate) fn new(success_min: f64) -> Self {
        Self { success_min, failure_limit: 0, count: 20, failed: 0, measured: 0 }
    }
}

impl Rule for Argo {
    fn minute(&mut self, minute: &Minute) -> Option<End> {
        let rate = minute.arms[1].success()?;
        self.measured += 1;
        self.failed += u32::from(rate < self.success_min);
        match (self.failed > self.failure_limit, self.measured >= self.count) {
            (true, _) => Some(End::RolledBack),
            (_, true) => Some(End::Promoted),
            (false, false) => None,
        }
    }
}

/// A test of two proportions that is looked at again every minute: rolls back where the candidate
/// fails more often with a one-sided p-value below 1 %.
#[derive(Clone, Default)]
pub(crate) struct Peeked {
    requests: [u64; 2],
    errors: [u64; 2],
    looks: u32,
    pub(crate) looks_max: u32,
}

/// The standard normal's 99th percentile.
const Z99: f64 = 2.326_347_874_040_841;

impl Peeked {
    pub(crate) fn new(looks_max: u32) -> Self {
        Self { looks_max, ..Self::default() }
    }

    fn z(&self) -> f64 {
        let [n, m] = self.requests.map(|requests| requests as f64);
        let [rate, other] = [self.errors[1] as f64 / m, self.errors[0] as f64 / n];
        let all = (self.errors[0] + self.errors[1]) as f64 / (n + m);
        (rate - other) / (all * (1.0 - all) * (1.0 / n + 1.0 / m)).sqrt()
    }
}

impl Rule for Peeked {
    fn minute(&mut self, minute: &Minute) -> Option<End> {
        for (place, arm) in minute.arms.iter().enumerate() {
            self.requests[place] += arm.requests;
            self.errors[place] += arm.errors;
        }
        self.looks += 1;
        match (self.z() > Z99, self.looks >= self.looks_max) {
            (true, _) => Some(End::RolledBack),
            (_, true) => Some(End::Promoted),
            (false, false) => None,
        }
    }
}

/// Kayenta's judge over a window that grows, asked every few minutes: fails below its marginal
/// score.
#[derive(Clone)]
pub(crate) struct Kayenta {
    config: Config,
    every: usize,
    minutes: usize,
    /// By metric, the baseline's and the candidate's.
    points: Vec<[Vec<f64>; 2]>,
}

impl Kayenta {
    /// Of so many metrics of one group, the first of them critical.
    pub(crate) fn new(metrics: usize, critical: usize, every: usize) -> Self {
        Self {
            config: config(metrics, critical),
            every,
            minutes: 60,
            points: vec![Default::default(); metrics],
        }
    }

    pub(crate) fn metrics(&self) -> usize {
        self.points.len()
    }

    /// One more point of each metric and arm.
    pub(crate) fn points(&mut self, points: impl Iterator<Item = [f64; 2]>) -> Option<End> {
        for (kept, new) in self.points.iter_mut().zip(points) {
            kept[0].push(new[0]);
            kept[1].push(new[1]);
        }
        let minutes = self.points[0][0].len();
        if !minutes.is_multiple_of(self.every) {
            return None;
        }
        let failed = self.judged() == Grade::Fail;
        match (failed, minutes >= self.minutes) {
            (true, _) => Some(End::RolledBack),
            (_, true) => Some(End::Promoted),
            (false, false) => None,
        }
    }

    fn judged(&self) -> Grade {
        let series = |name: &str| {
            let [control, experiment] = &self.points[name.parse::<usize>().ok()?];
            Some(Series { control, experiment })
        };
        judge(&self.config, Thresholds::default(), series).classification
    }
}

impl Rule for Kayenta {
    /// Its metrics are the error rate and the 99th percentile.
    fn minute(&mut self, minute: &Minute) -> Option<End> {
        let rates = minute.arms.map(|arm| arm.success().map_or(f64::NAN, |rate| 1.0 - rate));
        self.points([rates, minute.arms.map(|arm| arm.p99_ms)].into_iter())
    }
}

fn config(metrics: usize, critical: usize) -> Config {
    let metric = |place: usize| {
        format!(
            r#"{{"name": "{place}", "groups": ["all"],
                 "analysisConfigurations": {{"canary": {{"direction": "increase", "critical": {}}}}}}}"#,
            place < critical
        )
    };
    let metrics: Vec<String> = (0..metrics).map(metric).collect();
    let json = format!(r#"{{"metrics": [{}]}}"#, metrics.join(","));
    serde_json::from_str(&json).expect("a configuration")
}
