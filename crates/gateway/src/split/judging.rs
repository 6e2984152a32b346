//! The thread that judges one split.
//!
//! It looks at the queue every few milliseconds, so that nobody has to wake it, and does everything
//! else there is to do: who is late, what shadows say, the journal, and the way back to 0.
//!
//! ```text
//!            what a gateway before this one kept is read
//!                              │
//!                              v
//!   ┌────────────────────── judging ──────────────────────┐
//!   │ ask: paused                          ask: over      │ nobody has the split any more
//!   v                                          v          v
//! paused: the journal is somebody else's ──> over: the journal is whole
//! ```

use std::io;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use umbra_judge::arm::Arm;
use umbra_judge::outcome::{Kind, Outcome, Record};
use umbra_judge::standing::Standing;
use umbra_judge::trial::Trial;

use super::counts::Tally;
use super::differences::Differences;
use super::flight::Flights;
use super::gate::Assigned;
use super::journal::Journal;
use super::watch::{Ended, Said};
use super::wire::{OnWorse, SplitArm, Worse};
use super::{Judged, Split, Weights, lock};
use crate::proxy::Proxy;

/// How long it sleeps while requests come, and while none do.
const NAP_LEAST: Duration = Duration::from_millis(2);
const NAP_MOST: Duration = Duration::from_millis(20);
/// So much is heard at once: a decision must not wait for the end of a long queue, nor whoever
/// asks how things stand.
const HEARD_MAX: usize = 4096;
/// How long whoever asks it to end waits until it has.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// What it is to do, and does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Judging,
    /// It judges no more, and the journal is somebody else's.
    Paused,
    /// It is over.
    Over,
}

/// Now, in milliseconds since 1970 UTC.
pub(super) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// Begins to judge what was never judged before.
pub(super) fn begin(
    split: &Arc<Split>,
    said: Receiver<Said>,
    proxy: Weak<Proxy>,
    (trial, journal): (Trial, Journal),
) -> io::Result<()> {
    lock(&split.judged).trial = Some(trial);
    let judge = Judge::new(split, said, proxy);
    spawn(move || judge.run(journal))
}

/// Goes on judging where the journal ends.
pub(super) fn resume(
    split: &Arc<Split>,
    said: Receiver<Said>,
    proxy: Weak<Proxy>,
) -> io::Result<()> {
    let journal = Journal::at(split.start.journal.clone());
    let judge = Judge::new(split, said, proxy);
    // So that it takes up what is kept first.
    split.mode.1.send_replace(Mode::Paused);
    spawn(move || judge.run(journal))
}

fn spawn(run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name("umbra-judge".to_owned()).spawn(run).map(drop)
}

impl Split {
    /// Has its judge do something else.
    pub(super) fn tell(&self, mode: Mode) {
        self.mode.0.send_replace(mode);
    }

    /// Has its judge do something else, and waits until it does. Not for threads that serve.
    pub(super) fn ask(&self, mode: Mode) {
        let mut done = self.mode.1.subscribe();
        self.tell(mode);
        let until = Instant::now() + ANSWER_TIME;
        while *done.borrow_and_update() != mode {
            if Instant::now() >= until {
                tracing::warn!(route = self.route, "a judge does not answer");
                return;
            }
            std::thread::sleep(NAP_LEAST);
        }
    }
}

/// Whoever judges one split.
struct Judge {
    split: Weak<Split>,
    said: Receiver<Said>,
    proxy: Weak<Proxy>,
    heard: Vec<Said>,
    /// Requests under way, of the baseline and of the candidate: they are late by different ages.
    flights: [Flights; 2],
    differences: Differences,
    has_control: bool,
    /// Weights the trial knows.
    stages: Vec<f64>,
    /// What was lost on the way here, and until when nothing is known of who began.
    lost: u64,
    unknown_until_us: u64,
    is_worse: bool,
    is_proved: bool,
    /// Whether something was decided that is not on the disk yet.
    is_unkept: bool,
}

impl Judge {
    fn new(split: &Arc<Split>, said: Receiver<Said>, proxy: Weak<Proxy>) -> Self {
        Self {
            split: Arc::downgrade(split),
            said,
            proxy,
            heard: Vec::with_capacity(HEARD_MAX),
            flights: Default::default(),
            differences: Differences::default(),
            has_control: split.has_control,
            stages: Vec::new(),
            lost: 0,
            unknown_until_us: 0,
            is_worse: false,
            is_proved: false,
            is_unkept: false,
        }
    }

    fn run(mut self, mut journal: Journal) {
        let mut nap = NAP_LEAST;
        loop {
            let Some(split) = self.split.upgrade() else { return journal.close() };
            let mode = *split.mode.0.borrow();
            let was = *split.mode.1.borrow();
            let heard = match (mode, was) {
                // A successor that came to nothing may have written meanwhile.
                (Mode::Judging, Mode::Paused) if !self.take_up(&split, &mut journal) => None,
                (Mode::Judging, _) => Some(self.turn(&split, &mut journal)),
                // What was said before it was asked counts.
                (Mode::Paused | Mode::Over, Mode::Judging) => {
                    while self.turn(&split, &mut journal) == HEARD_MAX {}
                    journal.close();
                    Some(0)
                }
                (Mode::Paused | Mode::Over, _) => Some(0),
            };
            if heard.is_some() && was != mode {
                split.mode.1.send_replace(mode);
            }
            if mode == Mode::Over {
                return;
            }
            drop(split);
            let heard = heard.unwrap_or(0);
            nap = if heard > 0 { NAP_LEAST } else { (nap * 2).min(NAP_MOST) };
            if heard < HEARD_MAX {
                std::thread::sleep(nap);
            }
        }
    }

    /// Hears what was said since; how much that was.
    fn turn(&mut self, split: &Split, journal: &mut Journal) -> usize {
        self.heard.clear();
        self.heard.extend(self.said.try_iter().take(HEARD_MAX));
        let now_us = split.at_us(Instant::now());
        let heard = std::mem::take(&mut self.heard);
        let mut judged = lock(&split.judged);
        let mut turn = Turn { split, judged: &mut judged, journal };
        // Whoever was assigned by a weight was assigned after that was declared.
        self.declare(&mut turn);
        for said in &heard {
            self.hear(said, &mut turn);
        }
        self.look_for_late(now_us, &mut turn);
        self.ask_shadows(&mut turn);
        self.look_for_proof(&mut turn);
        if let Some(Said::Ended(Ended { at_us, .. })) = heard.last() {
            turn.judged.lag_us = now_us.saturating_sub(*at_us);
        }
        turn.judged.journal = turn.journal.status();
        drop(judged);
        journal.write(Instant::now());
        if std::mem::take(&mut self.is_unkept) {
            split.keep_decision();
        }
        let count = heard.len();
        self.heard = heard;
        count
    }

    fn declare(&mut self, turn: &mut Turn<'_>) {
        let known = self.stages.len();
        let weights = lock(&turn.split.weights);
        self.stages.extend(weights.stages.get(known..).unwrap_or_default());
        drop(weights);
        for weight in &self.stages[known..] {
            turn.tell(&Record::Stage { weight: *weight });
        }
    }

    fn hear(&mut self, said: &Said, turn: &mut Turn<'_>) {
        match *said {
            Said::Began { number, assigned, at_us } => {
                if let Some(arm) = self.compared(assigned)
                    && at_us > self.unknown_until_us
                {
                    self.flights[arm as usize].began(number, assigned, at_us);
                }
            }
            Said::Answered { number } => {
                self.flights.iter_mut().for_each(|flights| flights.answered(number));
            }
            Said::Ended(ended) => self.ended(&ended, turn),
        }
    }

    fn ended(&mut self, ended: &Ended, turn: &mut Turn<'_>) {
        let Ended { assigned, latency_us, failed, .. } = *ended;
        turn.judged.tallies[assigned.arm as usize].ended(failed, latency_us);
        let Some(arm) = self.compared(assigned) else {
            turn.judged.not_compared += 1;
            return;
        };
        let hung = self.flights[arm as usize].ended(ended.number);
        let Assigned { stage, unit, .. } = assigned;
        let outcome = Outcome { unit, arm, stage, latency_us, failed, hung, kind: Kind::Ended };
        turn.tell(&Record::Outcome(outcome));
        self.look(ended.at_us, turn);
    }

    /// What the arm of a request is to the judge; nothing where it is neither candidate nor what
    /// that is compared with.
    fn compared(&self, assigned: Assigned) -> Option<Arm> {
        match assigned.arm {
            SplitArm::Candidate => Some(Arm::Candidate),
            SplitArm::Control => Some(Arm::Baseline),
            SplitArm::Baseline => {
                // While nothing goes to the candidate nothing does to the control either, and
                // production is what the candidate's latencies are held against later.
                let has_control = self.has_control
                    && self.stages.get(usize::from(assigned.stage)).is_none_or(|one| *one > 0.0);
                (!has_control).then_some(Arm::Baseline)
            }
        }
    }

    fn look_for_late(&mut self, now_us: u64, turn: &mut Turn<'_>) {
        let lost = turn.split.lost.load(Ordering::Acquire);
        if lost != self.lost {
            // Somebody may have ended whose end was not heard, and would seem to be late forever.
            self.lost = lost;
            self.unknown_until_us = now_us;
            self.flights.iter_mut().for_each(Flights::forget);
        }
        for arm in [Arm::Baseline, Arm::Candidate] {
            let flights = &mut self.flights[arm as usize];
            if let Some(trial) = &turn.judged.trial {
                flights.late_from(trial.hang_thresholds_us(arm));
            }
            for late in flights.late(now_us) {
                let Assigned { stage, unit, .. } = late.assigned;
                let (latency_us, hung) = (late.age_us, late.hung);
                let kind = Kind::Hung;
                let failed = false;
                let outcome = Outcome { unit, arm, stage, latency_us, failed, hung, kind };
                turn.tell(&Record::Outcome(outcome));
                self.look(now_us, turn);
            }
        }
    }

    fn ask_shadows(&mut self, turn: &mut Turn<'_>) {
        if !turn.split.start.settings.metrics.differences {
            return;
        }
        let Some(proxy) = self.proxy.upgrade() else { return };
        let mirrors = || proxy.mirrors();
        let now = Instant::now();
        if let Some(log_e) = self.differences.next(&turn.split.route, mirrors, now) {
            turn.tell(&Record::Differences { log_e });
            self.look(turn.split.at_us(now), turn);
        }
    }

    fn look_for_proof(&mut self, turn: &mut Turn<'_>) {
        let proved = turn.judged.trial.as_ref().is_some_and(Trial::proved);
        if proved && !self.is_proved {
            self.is_proved = true;
            turn.decide();
            turn.split.changed();
        }
    }

    /// Whether the candidate is worse now, by what came of a request at that time.
    fn look(&mut self, at_us: u64, turn: &mut Turn<'_>) {
        if self.is_worse || !turn.judged.trial.as_ref().is_some_and(Trial::is_worse) {
            return;
        }
        self.is_worse = true;
        turn.worse(at_us);
        self.declare(turn);
        self.is_unkept = true;
    }

    /// Reads what was kept, unless it is somebody else's: from then on nothing is known but what
    /// stands there.
    fn take_up(&mut self, split: &Split, journal: &mut Journal) -> bool {
        let mut read = Read::new(split);
        if !journal.take(&split.start.settings, |record| read.on(record)) {
            return false;
        }
        self.stages.clone_from(&read.stages);
        self.differences = Differences::after(read.differences);
        self.flights = Default::default();
        self.unknown_until_us = split.at_us(Instant::now());
        self.is_worse = lock(&split.weights).worse.is_some();
        self.is_proved = read.trial.as_ref().is_some_and(Trial::proved);
        let mut judged = lock(&split.judged);
        let is_first = judged.trial.is_none();
        judged.trial = read.trial;
        if is_first {
            judged.tallies = read.tallies;
        }
        let mut turn = Turn { split, judged: &mut judged, journal };
        self.look(self.unknown_until_us, &mut turn);
        drop(judged);
        split.changed();
        true
    }
}

/// What is there for one look at the queue.
struct Turn<'a> {
    split: &'a Split,
    judged: &'a mut Judged,
    journal: &'a mut Journal,
}

impl Turn<'_> {
    fn tell(&mut self, record: &Record) {
        if let Some(trial) = &mut self.judged.trial {
            trial.on(record);
        }
        self.journal.put(record);
    }

    /// Says how the judge stands where somebody acts on it.
    fn decide(&mut self) {
        if let Some(decision) = self.judged.trial.as_ref().map(Trial::decision) {
            self.tell(&Record::Decision(decision));
        }
    }

    /// First the candidate gets nothing any more; all the rest follows.
    fn worse(&mut self, at_us: u64) {
        let split = self.split;
        let rolls_back = split.start.on_worse == OnWorse::Rollback;
        let weight = if rolls_back { split.roll_back() } else { split.weight() };
        let took_us = split.at_us(Instant::now()).saturating_sub(at_us);
        self.decide();
        let Some(trial) = &self.judged.trial else { return };
        let worse = Worse {
            at_ms: now_ms(),
            weight,
            took_us,
            log_e: trial.log_peak(),
            words: words(&trial.standing()),
        };
        let (route, why) = (&split.route, &worse.words);
        tracing::warn!(route, why, took_us, rolls_back, "a candidate is worse");
        lock(&split.weights).worse = Some(worse);
        split.changed();
    }
}

/// What the metric says by which it is worse.
fn words(standing: &Standing) -> String {
    let Some(worse) = standing.worse else { return "nothing".to_owned() };
    let evidence = standing.metrics.iter().find(|one| one.metric == worse);
    let evidence = evidence.map(|one| one.evidence.as_str()).unwrap_or_default();
    format!("{}: {evidence}", worse.name())
}

impl Split {
    /// Puts on the disk what was decided.
    fn keep_decision(&self) {
        let Weights { stages, worse, rolled_back } = lock(&self.weights).clone();
        let version = *self.version.borrow();
        let kept = self.record.change_at_once(|kept| {
            if let Some(kept) = &mut kept.split {
                kept.start.weight = stages.last().copied().unwrap_or(0.0);
                (kept.stages, kept.worse, kept.rolled_back) = (stages, worse, rolled_back);
                kept.version = version;
            }
        });
        if let Err(error) = kept {
            let route = &self.route;
            tracing::error!(route, %error, "a decision is in force and in its journal only");
        }
    }
}

/// What a journal says.
struct Read {
    has_control: bool,
    trial: Option<Trial>,
    stages: Vec<f64>,
    differences: f64,
    tallies: [Tally; 3],
}

impl Read {
    fn new(split: &Split) -> Self {
        // It was made of these before.
        let trial = Trial::new(split.start.settings).ok();
        let has_control = split.has_control;
        let (stages, tallies) = (Vec::new(), Default::default());
        Self { has_control, trial, stages, differences: 0.0, tallies }
    }

    fn on(&mut self, record: &Record) {
        if let Some(trial) = &mut self.trial {
            trial.on(record);
        }
        match record {
            Record::Stage { weight } => self.stages.push(*weight),
            Record::Differences { log_e } => self.differences = *log_e,
            Record::Outcome(outcome) if outcome.kind == Kind::Ended => {
                let arm = match (outcome.arm, self.has_control) {
                    (Arm::Candidate, _) => SplitArm::Candidate,
                    (Arm::Baseline, true) => SplitArm::Control,
                    (Arm::Baseline, false) => SplitArm::Baseline,
                };
                let tally = &mut self.tallies[arm as usize];
                tally.earlier += 1;
                tally.ended(outcome.failed, outcome.latency_us);
            }
            Record::Outcome(_) | Record::Decision(_) => {}
        }
    }
}
