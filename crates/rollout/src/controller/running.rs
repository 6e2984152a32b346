//! The steps, one after the other.

use serde::{Deserialize, Serialize};
use umbra_api::rollout::{Happened, RolloutPhase, Told};

use super::calls::Calls;
use super::effect::{Alert, Effect, Role, Winner};
use super::event::Event;
use super::phase::{End, Pause, Phase};
use super::promoting::Promoting;
use super::rolling_back::RollingBack;
use super::run::{Run, Said};
use super::split::Life;
use super::stage::{Stage, State};
use super::turn::{Facts, Turn};
use super::watch::Watch;
use crate::spec::{Control, OnWorse};

/// The steps, one after the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Running {
    /// Its place, from 0; behind the last, what promotion needs.
    step: usize,
    stage: Stage,
    /// A person said that it shall not wait.
    skip: bool,
    /// Measurements beside the steps.
    background: Vec<Run>,
    background_began: bool,
    guards: Vec<Watch>,
    /// People know that it was found worse, or that a guard was passed.
    told: Option<String>,
    /// People know that the gateway is lost, or does not judge.
    told_lost: bool,
    /// Instances that are needed, and are gone for good.
    gone: Option<(Role, String)>,
}

/// What the evidence asks for.
enum Verdict {
    RollBack(End, String),
    Pause(Pause),
}

impl Running {
    pub(super) fn new(facts: &Facts) -> Self {
        Self {
            step: 0,
            stage: Stage::Fresh,
            skip: false,
            background: Vec::new(),
            background_began: false,
            guards: facts.spec.guards.iter().map(Watch::new).collect(),
            told: None,
            told_lost: false,
            gone: None,
        }
    }

    pub(super) fn hear(mut self, event: &Event, turn: &mut Turn<'_>) -> Phase {
        if let Event::Told(told) = event {
            return self.obey(*told, turn);
        }
        self.take_note(event, turn);
        Phase::Running(self)
    }

    fn obey(mut self, told: Told, turn: &mut Turn<'_>) -> Phase {
        match told {
            Told::Abort => {
                return RollingBack::begin(End::Failed, "aborted by a person".to_owned(), turn);
            }
            Told::Pause => return Phase::Paused(self, Pause::Asked),
            Told::Promote if is_refused(turn) => {}
            Told::Promote => self.skip = true,
            Told::PromoteFull if is_refused(turn) => {}
            Told::PromoteFull => return self.promote("promoted by a person", turn),
            Told::Resume => turn.warn("it is not paused"),
            Told::Retry | Told::Undo => turn.warn("it is not over"),
        }
        Phase::Running(self)
    }

    /// What a person may say to one that waits for one.
    pub(super) fn hear_paused(mut self, why: Pause, event: &Event, turn: &mut Turn<'_>) -> Phase {
        let Event::Told(told) = event else {
            self.take_note(event, turn);
            return Phase::Paused(self, why);
        };
        match told {
            Told::Abort => {
                let end = match why {
                    Pause::Unclear(_) => End::Inconclusive,
                    _ => End::Failed,
                };
                RollingBack::begin(end, format!("aborted by a person; {}", why.words()), turn)
            }
            Told::Promote | Told::Resume | Told::PromoteFull if is_refused(turn) => {
                Phase::Paused(self, why)
            }
            Told::PromoteFull => self.promote("promoted by a person", turn),
            Told::Promote => self.resume(true, turn),
            Told::Resume => self.resume(why == Pause::Step, turn),
            Told::Pause => {
                turn.warn("it is paused already");
                Phase::Paused(self, why)
            }
            Told::Retry | Told::Undo => {
                turn.warn("it is not over");
                Phase::Paused(self, why)
            }
        }
    }

    fn resume(mut self, skip: bool, turn: &Turn<'_>) -> Phase {
        self.skip |= skip;
        self.told = None;
        self.guards = turn.facts.spec.guards.iter().map(Watch::new).collect();
        self.background.iter_mut().for_each(Run::begin_anew);
        self.stage.runs_mut().iter_mut().for_each(Run::begin_anew);
        Phase::Running(self)
    }

    fn take_note(&mut self, event: &Event, turn: &mut Turn<'_>) {
        match event {
            Event::Tick => {
                self.guards.iter_mut().for_each(|guard| guard.tick(turn.passed_ms));
                turn.facts.split.correct(&mut turn.effects);
            }
            Event::SplitSeen(seen) => {
                self.guards.iter_mut().for_each(|guard| guard.see(seen));
                self.told_lost &= seen.unjudged.is_some();
            }
            Event::ToppedUp { requests } => {
                turn.facts.topped_up = turn.facts.topped_up.saturating_add(*requests);
            }
            _ => {}
        }
        self.background.iter_mut().for_each(|run| run.hear(event, turn));
        self.stage.hear(event, turn);
        if let Event::InstancesFailed { role, why } = event {
            let why = format!("{}: {why}", role.words());
            let needed = *role == Role::Candidate
                || turn.facts.spec.control == Control::Fresh
                || turn.facts.split.mirrored > 0.0;
            if needed {
                self.gone.get_or_insert((*role, why));
            } else {
                turn.warn(why);
            }
        }
    }

    /// What is next, and whether something still is.
    pub(super) fn go_on(mut self, turn: &mut Turn<'_>) -> (Phase, bool) {
        if let Some(phase) = ended_elsewhere(turn) {
            return (phase, true);
        }
        self.begin_background(turn);
        match self.verdict(turn) {
            Some(Verdict::RollBack(end, why)) => return (self.roll_back(end, why, turn), true),
            Some(Verdict::Pause(why)) => return (Phase::Paused(self, why), true),
            None => {}
        }
        self.tell_lost(turn);
        self.background.iter_mut().for_each(|run| run.measure(turn));
        let may_rise = self.told.is_none();
        match self.stage.go_on(self.step, may_rise, self.skip, turn) {
            State::Waits => (Phase::Running(self), false),
            State::GoesOn { skipped } => {
                self.skip &= !skipped;
                (Phase::Running(self), true)
            }
            State::WaitsForAPerson => (Phase::Paused(self, Pause::Step), true),
            State::Through if self.step < turn.facts.spec.steps.len() => {
                self.keep_runs(turn);
                (self.step, self.stage, self.skip) = (self.step + 1, Stage::Fresh, false);
                (Phase::Running(self), true)
            }
            State::Through => self.end(turn),
            State::Failed(end, why) => (self.roll_back(end, why, turn), true),
        }
    }

    /// The same for one that waits for a person: what goes on goes on, and nothing new begins.
    pub(super) fn wait(mut self, why: Pause, turn: &mut Turn<'_>) -> (Phase, bool) {
        if let Some(phase) = ended_elsewhere(turn) {
            return (phase, true);
        }
        match self.verdict(turn) {
            Some(Verdict::RollBack(end, why)) => return (self.roll_back(end, why, turn), true),
            Some(Verdict::Pause(now)) if now.is_graver_than(&why) => {
                let reason = now.words();
                turn.emit(Effect::Alert(Alert::Paused { why: reason.clone() }));
                turn.record(Happened::Phase { phase: RolloutPhase::Paused, reason });
                return (Phase::Paused(self, now), true);
            }
            _ => {}
        }
        self.tell_lost(turn);
        self.background.iter_mut().for_each(|run| run.measure(turn));
        self.stage.tend(turn);
        (Phase::Paused(self, why), false)
    }

    /// After the last step: what goes on beside them must have said something.
    fn end(self, turn: &mut Turn<'_>) -> (Phase, bool) {
        if self.skip || self.without_evidence().is_none() {
            return (self.promote("all steps are through", turn), true);
        }
        (Phase::Running(self), false)
    }

    fn without_evidence(&self) -> Option<&Run> {
        self.background.iter().find(|run| !run.has_evidence())
    }

    fn promote(mut self, why: &str, turn: &mut Turn<'_>) -> Phase {
        self.end_runs(turn);
        Promoting::begin(why.to_owned())
    }

    fn roll_back(mut self, end: End, why: String, turn: &mut Turn<'_>) -> Phase {
        self.end_runs(turn);
        RollingBack::begin(end, why, turn)
    }

    /// Nothing more is measured.
    fn end_runs(&mut self, turn: &mut Turn<'_>) {
        for run in self.background.iter_mut().chain(self.stage.runs_mut()) {
            run.end();
            turn.facts.keep(run.status());
        }
    }

    fn keep_runs(&mut self, turn: &mut Turn<'_>) {
        self.stage.runs_mut().iter().for_each(|run| turn.facts.keep(run.status()));
    }

    fn begin_background(&mut self, turn: &Turn<'_>) {
        let spec = &turn.facts.spec;
        let Some(background) = &spec.background else { return };
        if !self.background_began && self.step >= background.starting_step {
            let of = |name: &String| spec.analyses.iter().find(|one| one.name == *name);
            self.background = background.templates.iter().filter_map(of).map(Run::new).collect();
            self.background_began = true;
        }
    }

    /// What the evidence asks for; the judge's before everything else.
    fn verdict(&mut self, turn: &mut Turn<'_>) -> Option<Verdict> {
        let split = &turn.facts.split;
        if let Some(why) = split.rolled_back() {
            return Some(Verdict::RollBack(End::Failed, why.to_owned()));
        }
        let worse = split.worse().map(|why| Pause::Worse(why.to_owned()));
        let breach = || self.guards.iter().find_map(Watch::breach).map(str::to_owned);
        match worse.or_else(|| breach().map(Pause::Guard)) {
            // Where people are only told, all else that ends a rollout does so as ever.
            Some(bad) => {
                if let Some(verdict) = self.bad(bad, turn) {
                    return Some(verdict);
                }
            }
            None => self.told = None,
        }
        if let Some((role, why)) = self.gone.clone() {
            // One that ends by itself is the candidate's own fault.
            let end = if role == Role::Candidate { End::Failed } else { End::Error };
            return Some(Verdict::RollBack(end, why));
        }
        let runs = self.background.iter().chain(self.stage.runs());
        runs.filter_map(Run::said).next().map(|said| match said {
            Said::Failed(why) => Verdict::RollBack(End::Failed, why),
            Said::Error(why) => Verdict::RollBack(End::Error, why),
            Said::Unclear(why) => Verdict::Pause(Pause::Unclear(why)),
        })
    }

    /// What becomes of what is bad.
    fn bad(&mut self, bad: Pause, turn: &mut Turn<'_>) -> Option<Verdict> {
        let (Pause::Worse(why) | Pause::Guard(why)) = &bad else { return None };
        let first = self.told.replace(why.clone()).is_none();
        match turn.facts.spec.on_worse {
            OnWorse::Rollback => Some(Verdict::RollBack(End::Failed, why.clone())),
            OnWorse::Pause => Some(Verdict::Pause(bad)),
            OnWorse::Notify => {
                if first {
                    turn.alert(format!("{}; its weight rises no more", bad.words()));
                }
                None
            }
        }
    }

    fn tell_lost(&mut self, turn: &mut Turn<'_>) {
        let blind = turn.facts.split.blind_for_long();
        if let Some(sentence) = blind.filter(|_| !self.told_lost) {
            self.told_lost = true;
            turn.alert(sentence);
        }
    }

    pub(super) fn step(&self) -> usize {
        self.step
    }

    pub(super) fn calls(&self) -> Option<&Calls> {
        self.stage.calls()
    }

    /// Measurements that go on.
    pub(super) fn runs(&self) -> impl Iterator<Item = &Run> {
        self.background.iter().chain(self.stage.runs())
    }

    pub(super) fn words(&self, facts: &Facts) -> String {
        if let Some(why) = &self.told {
            let what = if facts.split.worse().is_some() { "found worse: " } else { "" };
            return format!("{what}{why}; the weight rises no more");
        }
        if let Some(why) = facts.split.blind() {
            return format!("holds: {why}");
        }
        match self.without_evidence() {
            Some(run) if self.step == facts.spec.steps.len() => {
                format!("waits for a good measurement of {}", run.name())
            }
            _ => self.stage.words(self.step, facts),
        }
    }
}

/// What it is instead where the split is gone, though nobody here ended it.
fn ended_elsewhere(turn: &mut Turn<'_>) -> Option<Phase> {
    match turn.facts.split.life {
        Life::Ended(Winner::Candidate) => {
            let why = "all requests go to the candidate already".to_owned();
            Some(Promoting::begin_replacing(why, turn))
        }
        Life::Ended(Winner::Baseline) => {
            let why = "the gateway's split was ended by somebody else".to_owned();
            Some(RollingBack::begin(End::Error, why, turn))
        }
        _ => None,
    }
}

/// A person cannot lead past what was found worse, and is told so.
fn is_refused(turn: &mut Turn<'_>) -> bool {
    let worse = turn.facts.split.worse().map(|why| format!("found worse: {why}"));
    let refused = worse.is_some();
    if let Some(why) = worse {
        turn.warn(format!("not promoted: the candidate was {why}"));
    }
    refused
}
