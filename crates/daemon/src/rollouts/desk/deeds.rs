//! What a rollout asks for, handed to whoever does it.
//!
//! The desk itself waits for nobody: what the gateway is told is done in its order by one thread,
//! what is done with instances by another, and all else by some at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use umbra_rollout::controller::{Effect, Role};

use super::{Desk, Target};
use crate::courier::Courier;
use crate::rollouts::inbox::{Input, Lane, News};
use crate::rollouts::tools::{Kind, Tools};
use crate::rollouts::{others, staff, steer};

impl Desk {
    /// Has it done.
    pub(super) fn do_(&mut self, effect: Effect) {
        match effect {
            Effect::StartInstances { role, count } => self.start(role, count),
            Effect::StopInstances { role } => self.stop(role),
            Effect::BeginSplit => {
                let turn = self.tools.turn(Kind::Split);
                let (candidate, control) = self.targets();
                match self.tools.plan.baseline.targets.is_empty() {
                    true => self.at_gate(move |tools| steer::assign(tools, turn, &candidate)),
                    false => {
                        self.at_gate(move |tools| steer::begin(tools, turn, &candidate, &control))
                    }
                }
            }
            Effect::SetWeight { weight } => {
                let turn = self.tools.turn(Kind::Weight);
                self.at_gate(move |tools| steer::weigh(tools, turn, weight));
            }
            Effect::EndSplit { to } => {
                let turn = self.tools.turn(Kind::Split);
                self.at_gate(move |tools| steer::end(tools, turn, to));
            }
            Effect::SetMirrors { percent } => {
                let turn = self.tools.turn(Kind::Mirrors);
                let (candidate, control) = self.targets();
                self.at_gate(move |tools| {
                    steer::mirror(tools, turn, percent, &candidate, &control)
                });
            }
            Effect::StopMirrors => {
                let turn = self.tools.turn(Kind::Mirrors);
                self.at_gate(move |tools| steer::stop_mirrors(tools, turn));
            }
            Effect::Replace => {
                let all = self.made.previous.clone();
                self.with_instances(move |tools| staff::replace(tools, all));
            }
            Effect::Measure { analysis, number } => {
                let status = self.current();
                self.beside(move |tools| others::measure(tools, &status, &analysis, number));
            }
            Effect::Call { hook, number } => {
                let status = self.current();
                self.beside(move |tools| others::call(tools, &status, &hook, number));
            }
            Effect::TopUp { requests } => {
                self.beside(move |tools| others::top_up(tools, requests));
            }
            // They were committed before.
            Effect::Alert(_) | Effect::Record(_) => {}
        }
    }

    fn targets(&self) -> (Vec<Target>, Vec<Target>) {
        (self.made.targets(Role::Candidate), self.made.targets(Role::Control))
    }

    fn start(&mut self, role: Role, count: u32) {
        let unwanted = Arc::<AtomicBool>::default();
        self.unwanted.insert(role, Arc::clone(&unwanted));
        self.with_instances(move |tools| staff::start(tools, role, count, &unwanted));
    }

    fn stop(&mut self, role: Role) {
        if let Some(unwanted) = self.unwanted.get(&role) {
            unwanted.store(true, Ordering::Relaxed);
        }
        self.stopping.push(role);
        let all = self.made.of(role).to_vec();
        self.with_instances(move |tools| staff::stop(tools, role, all));
    }

    /// In order with everything else the gateway is told.
    pub(super) fn at_gate(&mut self, job: impl FnOnce(&Tools) -> Vec<News> + Send + 'static) {
        hand(&mut self.gate, Lane::Gate, &self.tools, job);
    }

    /// In order with everything else that is done with instances.
    fn with_instances(&mut self, job: impl FnOnce(&Tools) -> Vec<News> + Send + 'static) {
        hand(&mut self.hands, Lane::Instances, &self.tools, job);
    }

    /// At once.
    pub(super) fn beside(&mut self, job: impl FnOnce(&Tools) -> Vec<News> + Send + 'static) {
        hand(&mut self.others, Lane::Rest, &self.tools, job);
    }
}

fn hand(
    courier: &mut Courier<Input>,
    lane: Lane,
    tools: &Tools,
    job: impl FnOnce(&Tools) -> Vec<News> + Send + 'static,
) {
    let at_hand = tools.clone();
    let handed = courier.hand(move || Input::Did { lane, news: job(&at_hand) });
    if let Err(error) = handed {
        // The controller asks again for what is not done in its time.
        tracing::error!(rollout = tools.id, %error, "no thread works for a rollout");
    }
}
