//! What requests said, told to the judge in order.

use std::sync::atomic::Ordering;
use std::time::Instant;

use umbra_judge::arm::Arm;
use umbra_judge::outcome::{Kind, Outcome, Record};
use umbra_judge::trial::Trial;

use super::turn::Turn;
use super::{HEARD_MAX, Judge};
use crate::split::flight::Flights;
use crate::split::gate::Assigned;
use crate::split::journal::Journal;
use crate::split::watch::{Ended, Said};
use crate::split::wire::SplitArm;
use crate::split::{Split, lock};

impl Judge {
    /// Hears what was said since; how much that was.
    pub(super) fn turn(&mut self, split: &Split, journal: &mut Journal) -> usize {
        self.heard.clear();
        self.heard.extend(self.said.try_iter().take(HEARD_MAX));
        let now_us = split.at_us(Instant::now());
        let heard = std::mem::take(&mut self.heard);
        let mut judged = lock(&split.judged);
        let mut turn = Turn { split, judged: &mut judged, journal };
        // Whoever was assigned by a weight was assigned after that was declared.
        self.declare(&mut turn);
        self.brief.look(&heard);
        for said in &heard {
            self.hear(said, &mut turn);
        }
        self.look_for_late(now_us, &mut turn);
        self.ask_shadows(&mut turn);
        self.look_for_proof(&mut turn);
        turn.judged.lag_us = lag_us(&heard, now_us);
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
                if !self.brief.began(number)
                    && let Some(arm) = self.compared(assigned)
                    && at_us > self.unknown_until_us
                {
                    self.flights[arm as usize].began(number, assigned, at_us);
                }
            }
            Said::Answered { number } => {
                if !self.brief.is(number) {
                    self.flights.iter_mut().for_each(|flights| flights.answered(number));
                }
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
        let is_brief = self.brief.is(ended.number);
        let hung = if is_brief { 0 } else { self.flights[arm as usize].ended(ended.number) };
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
            turn.judged.compared = self.differences.comparison().cloned();
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
    pub(super) fn look(&mut self, at_us: u64, turn: &mut Turn<'_>) {
        if self.is_worse || !turn.judged.trial.as_ref().is_some_and(Trial::is_worse) {
            return;
        }
        self.is_worse = true;
        turn.worse(at_us);
        self.declare(turn);
        self.is_unkept = true;
    }
}

/// How long the first waited that ended.
fn lag_us(heard: &[Said], now_us: u64) -> u64 {
    let ended = heard.iter().find_map(|said| match said {
        Said::Ended(ended) => Some(ended.at_us),
        Said::Began { .. } | Said::Answered { .. } => None,
    });
    ended.map_or(0, |at_us| now_us.saturating_sub(at_us))
}
