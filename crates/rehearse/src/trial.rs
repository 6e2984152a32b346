//! Decides what to try, in which order, and what it comes to.
//!
//! ```text
//! baseline ── does not start ──────────────────────────────▶ inconclusive
//!    │ what does not pass here counts no more
//!    ▼
//! each combination ── something fails ──▶ because of what: changed paths, then keys in them
//!    │                                       │ all of it, tried again, passes: inconclusive
//!    ▼                                       ▼
//! verdict: the worst                       failure
//! ```

use std::time::{Duration, Instant};

use umbra_drift::reading::Reading;
use umbra_state::Verdict;
use umbra_suite::report::sentence;

use crate::atoms::{Atom, Divided};
use crate::edit::{Edit, together};
use crate::error::RehearsalError;
use crate::minimal::{Answer, Outcome, minimal};
use crate::report::{Changed, Failure, Level, Part, Report, Risk, Run, Seen, Untried};
use crate::stage::{Check, Sight, Stage};
use crate::subject::Bounds;
use crate::what::{Combination, What};

/// What a trial is of.
pub(crate) struct Trial<'a> {
    pub(crate) what: &'a What,
    /// What is made before any of it.
    pub(crate) good: &'a [Edit],
    pub(crate) bounds: Bounds,
    /// The level if more than validators were asked.
    pub(crate) level: Level,
    pub(crate) began: Instant,
}

/// A trial under way.
struct Progress<'a> {
    trial: &'a Trial<'a>,
    stage: &'a mut dyn Stage,
    /// What passes on the baseline.
    checks: Vec<Check>,
    report: Report,
}

impl Trial<'_> {
    pub(crate) fn run(&self, stage: &mut dyn Stage) -> Result<Report, RehearsalError> {
        let kind = self.what.kind();
        let report = Report {
            what: kind,
            level: self.level,
            higher: None,
            verdict: Verdict::Inconclusive,
            risk: Risk::Unknown,
            why: None,
            runs: Vec::new(),
            failures: Vec::new(),
            untried: Vec::new(),
            unseen: Vec::new(),
            took_us: 0,
        };
        let mut progress = Progress { trial: self, stage, checks: Vec::new(), report };
        if progress.baseline()? {
            for (combination, lists) in self.what.combinations() {
                progress.combination(combination, &lists)?;
            }
        }
        Ok(progress.finish())
    }

    fn is_late(&self) -> bool {
        self.began.elapsed() >= self.bounds.time_max
    }
}

impl Progress<'_> {
    /// Whether it is worth going on.
    fn baseline(&mut self) -> Result<bool, RehearsalError> {
        let checks = self.stage.checks();
        let only_validators = checks.iter().all(|check| matches!(check, Check::Validator { .. }));
        if only_validators && self.trial.level == Level::Sandbox {
            self.report.level = Level::Validators;
        }
        let (began, changes) = (Instant::now(), together([self.trial.good]));
        let mut sight = self.stage.look(&changes, &checks)?;
        let mut reasons = Vec::new();
        let mut starts = true;
        self.checks = checks;
        for (check, seen) in &mut sight.seen {
            if seen.verdict == Verdict::Pass {
                continue;
            }
            self.checks.retain(|other| other != check);
            if seen.counts {
                seen.counts = false;
                // What needs it cannot pass either.
                if starts {
                    reasons.push(fails_anyway(seen));
                }
                starts &= *check != Check::Startup;
            }
        }
        if self.checks.is_empty() && reasons.is_empty() {
            reasons.push("no validator, service or test looks at this machine".to_owned());
        }
        let verdict = if reasons.is_empty() { Verdict::Pass } else { Verdict::Inconclusive };
        self.report.why = (!reasons.is_empty()).then(|| reasons.join("; "));
        let goes_on = starts && !self.checks.is_empty();
        self.add(Combination::Baseline, verdict, sight, began);
        Ok(goes_on)
    }

    fn combination(
        &mut self,
        combination: Combination,
        lists: &[&[Edit]],
    ) -> Result<(), RehearsalError> {
        if self.trial.is_late() {
            self.doubt(format!("there was no time left to try it {}", combination.words()));
            return Ok(());
        }
        let began = Instant::now();
        let changes = together(std::iter::once(self.trial.good).chain(lists.iter().copied()));
        let sight = self.stage.look(&changes, &self.checks)?;
        let counted = || sight.seen.iter().filter(|(_, seen)| seen.counts);
        let mut verdict = Verdict::combine(counted().map(|(_, seen)| seen.verdict));
        let failed = counted().filter(|(_, seen)| seen.verdict == Verdict::Fail);
        let failed: Vec<(Check, Seen)> = failed.cloned().collect();
        let blind = counted().find(|(_, seen)| seen.verdict == Verdict::Inconclusive);
        let blind = blind.map(|(_, seen)| seen.name.clone());
        let blind = blind.or_else(|| counted().next().is_none().then(|| "anything".to_owned()));
        let mut is_believed = false;
        // The first that fails again explains the combination.
        for (check, seen) in &failed {
            if let Some(failure) = self.explain(combination, lists, check, seen)? {
                self.report.failures.push(failure);
                is_believed = true;
                break;
            }
            let words = combination.words();
            self.doubt(format!("{} failed once {words}, and then passed", seen.name));
        }
        if !failed.is_empty() && !is_believed {
            verdict = Verdict::Inconclusive;
        }
        if failed.is_empty()
            && let Some(name) = blind
        {
            self.doubt(format!("nobody could look at {name} {}", combination.words()));
        }
        self.add(combination, verdict, sight, began);
        Ok(())
    }

    /// What makes a check fail; `None` if it passes when it is tried again.
    fn explain(
        &mut self,
        combination: Combination,
        lists: &[&[Edit]],
        check: &Check,
        seen: &Seen,
    ) -> Result<Option<Failure>, RehearsalError> {
        let began = Instant::now();
        let (items, before) = lists.split_last().map_or((&[][..], lists), |(l, b)| (*l, b));
        let mut fixed = vec![self.trial.good];
        fixed.extend(before);
        let mut hunt = Hunt {
            trial: self.trial,
            stage: &mut *self.stage,
            fixed,
            check,
            probes: 0,
            broken: None,
        };
        let outcome = hunt.paths(items);
        let (mut changes, mut is_minimal, mut why) = (Vec::new(), false, None);
        match outcome {
            Outcome::NotAgain if hunt.broken.is_none() => return Ok(None),
            Outcome::Smallest { places, minimal } => {
                let smallest: Vec<&Edit> = places.iter().map(|place| &items[*place]).collect();
                let inside = if minimal { hunt.keys(&smallest) } else { None };
                (changes, is_minimal) = inside.unwrap_or_else(|| {
                    let whole = |edit: &&Edit| Changed {
                        path: edit.path.clone(),
                        keys: Vec::new(),
                        attributes: Vec::new(),
                    };
                    (smallest.iter().map(whole).collect(), minimal)
                });
            }
            Outcome::Without => {
                why = Some("it fails without these changes too, by those made before".to_owned());
            }
            Outcome::NotAgain | Outcome::Untried => {
                let words = if self.trial.is_late() {
                    "there was no time to find out because of what"
                } else {
                    "nobody could look at it a second time"
                };
                why = Some(words.to_owned());
            }
        }
        let probes = hunt.probes as u64;
        if let Some(error) = hunt.broken {
            return Err(error);
        }
        Ok(Some(Failure {
            combination,
            check: seen.name.clone(),
            part: seen.part,
            evidence: against(seen),
            changes,
            of: items.len() as u64,
            minimal: is_minimal,
            why,
            probes,
            took_us: micros(began.elapsed()),
        }))
    }

    fn doubt(&mut self, why: String) {
        let why = match self.report.why.take() {
            Some(before) => format!("{before}; {why}"),
            None => why,
        };
        self.report.why = Some(why);
    }

    fn add(&mut self, combination: Combination, verdict: Verdict, sight: Sight, began: Instant) {
        let Sight { seen, untried, unseen, setup } = sight;
        extend_new(&mut self.report.untried, untried);
        extend_new(&mut self.report.unseen, unseen);
        let seen = seen.into_iter().map(|(_, seen)| seen).collect();
        let (setup_us, took_us) = (micros(setup), micros(began.elapsed()));
        self.report.runs.push(Run { combination, verdict, seen, setup_us, took_us });
    }

    fn finish(mut self) -> Report {
        let report = &mut self.report;
        if !report.untried.is_empty() {
            let count = report.untried.len();
            let changes = if count == 1 { "change" } else { "changes" };
            let why = format!("{count} {changes} could not be tried");
            report.why = Some(report.why.take().map_or(why.clone(), |b| format!("{b}; {why}")));
        }
        let doubts = report.why.iter().map(|_| Verdict::Inconclusive);
        let runs = report.runs.iter().map(|run| run.verdict);
        report.verdict = Verdict::combine(runs.chain(doubts));
        report.risk = Risk::of(report.verdict);
        report.higher = report.level.higher(report.what);
        report.took_us = micros(self.trial.began.elapsed());
        self.report
    }
}

/// The search for what makes one check fail.
struct Hunt<'a> {
    trial: &'a Trial<'a>,
    stage: &'a mut dyn Stage,
    /// What is made whichever changes are tried.
    fixed: Vec<&'a [Edit]>,
    check: &'a Check,
    probes: usize,
    broken: Option<RehearsalError>,
}

impl Hunt<'_> {
    fn paths(&mut self, items: &[Edit]) -> Outcome {
        minimal(items.len(), self.trial.bounds.probes_max, |places| {
            let chosen: Vec<Edit> = places.iter().map(|place| items[*place].clone()).collect();
            self.probe(&chosen)
        })
    }

    /// What of some edits is enough, and whether all of that is needed; `None` where they
    /// cannot be divided, or fail only as a whole.
    fn keys(&mut self, edits: &[&Edit]) -> Option<(Vec<Changed>, bool)> {
        let before: Vec<Option<Reading>> = edits.iter().map(|edit| self.before(edit)).collect();
        let divided = edits.iter().zip(&before);
        let divided: Vec<Divided<'_>> =
            divided.map(|(edit, before)| Divided::new(edit, before.as_ref())).collect();
        let atoms: Vec<(usize, &Atom)> = divided
            .iter()
            .enumerate()
            .flat_map(|(at, divided)| divided.atoms.iter().map(move |atom| (at, atom)))
            .collect();
        if atoms.len() == edits.len() {
            return None;
        }
        let of = |places: &[usize], at: usize| -> Vec<&Atom> {
            let chosen = places.iter().map(|place| atoms[*place]);
            chosen.filter(|(owner, _)| *owner == at).map(|(_, atom)| atom).collect()
        };
        let left = self.trial.bounds.probes_max.saturating_sub(self.probes);
        let outcome = minimal(atoms.len(), left, |places| {
            let mut chosen = Vec::new();
            for (at, divided) in divided.iter().enumerate() {
                let atoms = of(places, at);
                if atoms.is_empty() {
                    continue;
                }
                match divided.with(&atoms) {
                    Some(edit) => chosen.push(edit),
                    None => return Answer::Unknown,
                }
            }
            self.probe(&chosen)
        });
        let Outcome::Smallest { places, minimal } = outcome else { return None };
        let changed = divided.iter().enumerate().filter_map(|(at, divided)| {
            let atoms = of(&places, at);
            (!atoms.is_empty()).then(|| divided.changed(&atoms))
        });
        Some((changed.collect(), minimal))
    }

    /// What an edit's path says before it.
    fn before(&self, edit: &Edit) -> Option<Reading> {
        let found = self.stage.found(edit);
        let made = together(self.fixed.iter().copied()).get(edit.path.0.as_slice()).copied();
        match (made, found) {
            // What the edit leaves open stays as it was found.
            (Some(Reading::Present(made)), Some(Reading::Present(found)))
                if made.attributes.is_empty() =>
            {
                let mut value = made.clone();
                value.attributes.clone_from(&found.attributes);
                Some(Reading::Present(value))
            }
            (Some(made), _) => Some(made.clone()),
            (None, found) => found.cloned(),
        }
    }

    fn probe(&mut self, chosen: &[Edit]) -> Answer {
        if self.trial.is_late() || self.broken.is_some() {
            return Answer::Stop;
        }
        self.probes += 1;
        let changes = together(self.fixed.iter().copied().chain([chosen]));
        match self.stage.look(&changes, std::slice::from_ref(self.check)) {
            Ok(sight) => match sight.seen.first().map(|(_, seen)| seen.verdict) {
                Some(Verdict::Fail) => Answer::Fails,
                Some(Verdict::Pass) => Answer::Passes,
                Some(Verdict::Inconclusive) => Answer::Unknown,
                // A validator is not asked about what is not there.
                None => Answer::Passes,
            },
            Err(error) => {
                self.broken = Some(error);
                Answer::Stop
            }
        }
    }
}

fn fails_anyway(seen: &Seen) -> String {
    let shown = seen.evidence.iter().find(|shown| shown.verdict != Verdict::Pass);
    let shown = shown.map(sentence).or_else(|| seen.why.clone());
    let shown = shown.map(|words| format!(" ({words})")).unwrap_or_default();
    format!("{} does not pass without any change either{shown}", seen.name)
}

fn against(seen: &Seen) -> Vec<umbra_state::Evidence> {
    seen.evidence.iter().filter(|seen| seen.verdict != Verdict::Pass).cloned().collect()
}

fn extend_new<T: PartialEq>(all: &mut Vec<T>, new: Vec<T>) {
    for one in new {
        if !all.contains(&one) {
            all.push(one);
        }
    }
}

pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// A change that could not be made.
pub(crate) fn untried(path: &[u8], why: String) -> Untried {
    Untried { path: umbra_api::blob::Blob(path.to_vec()), why }
}

/// A thing seen, not yet judged.
pub(crate) fn seen(name: String, part: Part) -> Seen {
    Seen {
        name,
        part,
        verdict: Verdict::Inconclusive,
        counts: true,
        evidence: Vec::new(),
        why: None,
        output: String::new(),
        took_us: 0,
    }
}
