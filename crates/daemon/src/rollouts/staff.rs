//! What is done with instances, job by job. Each does what is left of it when it is done again.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use umbra_api::rollout::{Happened, InstancePhase};
use umbra_gateway::split::wire::SplitArm;
use umbra_rollout::controller::{Effect, Event, Role};
use umbra_state::StateId;

use super::inbox::News;
use super::made::Held;
use super::plan::Serving;
use super::probe::Probe;
use super::steer;
use super::tools::Tools;
use crate::enter;

/// How often something is stopped that does not want to.
const STOPS_MAX: u32 = 3;
const STOP_WAIT: Duration = Duration::from_secs(1);

/// Has so many instances run, healthy and warm.
pub(super) fn start(tools: &Tools, role: Role, count: u32, ended: &AtomicBool) -> Vec<News> {
    let serving = match role {
        Role::Candidate => &tools.plan.candidate,
        Role::Control => &tools.plan.baseline,
    };
    let begun: Vec<Result<(), String>> = std::thread::scope(|scope| {
        let work = |to_be: ToBe| scope.spawn(move || begin(tools, role, to_be, ended));
        let threads: Vec<_> = to_be(tools, role, count, serving).into_iter().map(work).collect();
        let panicked = |_| Err("the code that starts it panicked".to_owned());
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(panicked)).collect()
    });
    if begun.is_empty() {
        let why = match role {
            Role::Candidate => "there is nothing to start",
            Role::Control => "it is not known which image is in production",
        };
        return vec![Event::InstancesFailed { role, why: why.to_owned() }.into()];
    }
    match begun.into_iter().find_map(Result::err) {
        None => vec![Event::InstancesReady { role }.into()],
        Some(why) => vec![Event::InstancesFailed { role, why }.into()],
    }
}

/// An instance that is to be.
enum ToBe {
    /// One we run.
    Ours(String, StateId),
    /// One that is there.
    There(String),
}

fn to_be(tools: &Tools, role: Role, count: u32, serving: &Serving) -> Vec<ToBe> {
    match serving.state {
        Some(state) => {
            (1..=count).map(|number| ToBe::Ours(name(tools, role, number), state)).collect()
        }
        // Those of production are nobody's to be asked more than they are.
        None if role == Role::Control => Vec::new(),
        None => serving.targets.iter().map(|target| ToBe::There(target.to.clone())).collect(),
    }
}

/// The name of an instance: of no other rollout's.
fn name(tools: &Tools, role: Role, number: u32) -> String {
    let part = match role {
        Role::Candidate => 'c',
        Role::Control => 'b',
    };
    let fits = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let service: String = tools.plan.spec.service.chars().filter(fits).take(16).collect();
    format!("i{service}-{}-{part}{number}", tools.id)
}

fn begin(tools: &Tools, role: Role, to_be: ToBe, ended: &AtomicBool) -> Result<(), String> {
    let (name, to) = match &to_be {
        ToBe::Ours(name, _) => (Some(name.clone()), String::new()),
        ToBe::There(to) => (None, to.clone()),
    };
    let starting = Held { name, to, phase: InstancePhase::Starting };
    note(tools, role, starting.clone(), None);
    let begun = ready(tools, role, to_be, ended);
    match &begun {
        Ok(to) => {
            let held = Held { to: to.clone(), phase: InstancePhase::Ready, ..starting };
            note(tools, role, held, None);
        }
        Err(why) => {
            let held = Held { phase: InstancePhase::Unwell, ..starting };
            note(tools, role, held, Some(why.clone()));
        }
    }
    begun.map(drop)
}

/// Where it is, once it is healthy and warm.
fn ready(tools: &Tools, role: Role, to_be: ToBe, ended: &AtomicBool) -> Result<String, String> {
    let to = match to_be {
        ToBe::There(to) => to,
        ToBe::Ours(name, state) => {
            let (service, port) = (tools.plan.spec.service.clone(), tools.plan.spec.instances.port);
            let spec = enter::instance_spec(&tools.db, service, name.clone(), state, port);
            let spec = tools.runtime.block_on(spec).map_err(|error| sentence(&error))?;
            let instance = tools.instances.start(&spec).map_err(|error| sentence(&error))?;
            let phase = InstancePhase::Starting;
            let held = Held { name: Some(name), to: instance.to.clone(), phase };
            note(tools, role, held, None);
            instance.to
        }
    };
    let how = &tools.plan.spec.instances;
    let probe = Probe::new(&to)?;
    probe.await_healthy(how, ended)?;
    if let Some(warm_up) = &how.warm_up {
        let answered = probe.warm_up(warm_up, ended);
        if answered < warm_up.requests {
            let asked = warm_up.requests;
            let sentence = format!("{to} answered {answered} of {asked} requests of its warm-up");
            tools.tell(News::Happened(Box::new(Happened::Warning { sentence })));
        }
    }
    Ok(to)
}

/// Stops the instances of a role, once they have ended what they had.
pub(super) fn stop(tools: &Tools, role: Role, all: Vec<Held>) -> Vec<News> {
    steer::drain(tools, |arm| match role {
        Role::Candidate => arm == SplitArm::Candidate,
        Role::Control => arm == SplitArm::Control,
    });
    for held in all.into_iter().filter(|held| held.phase != InstancePhase::Gone) {
        if let Some(name) = &held.name
            && let Err(why) = stop_one(tools, name)
        {
            let effect = Effect::StopInstances { role };
            return vec![Event::Failed { effect, why }.into()];
        }
        if held.name.is_some() {
            note(tools, role, Held { phase: InstancePhase::Gone, ..held }, None);
        }
    }
    vec![Event::Stopped { role }.into()]
}

/// Takes previous instances away, one by one.
pub(super) fn replace(tools: &Tools, all: Vec<Held>) -> Vec<News> {
    let left = all.into_iter().filter(|held| held.phase != InstancePhase::Gone);
    let left: Vec<Held> = left.collect();
    let count = u32::try_from(left.len()).unwrap_or(u32::MAX);
    for (held, left) in left.into_iter().zip((0..count).rev()) {
        if let Some(name) = &held.name
            && let Err(why) = stop_one(tools, name)
        {
            return vec![Event::Failed { effect: Effect::Replace, why }.into()];
        }
        tools.tell(News::Previous(Held { phase: InstancePhase::Gone, ..held }));
        tools.tell(Event::Replaced { left });
    }
    if count == 0 { vec![Event::Replaced { left: 0 }.into()] } else { Vec::new() }
}

fn stop_one(tools: &Tools, name: &str) -> Result<(), String> {
    let mut tries = 0;
    loop {
        tries += 1;
        match tools.instances.stop(name) {
            Ok(()) => return Ok(()),
            Err(error) if tries >= STOPS_MAX || tools.is_ended() => return Err(sentence(&error)),
            Err(_) => std::thread::sleep(STOP_WAIT),
        }
    }
}

fn note(tools: &Tools, role: Role, held: Held, why: Option<String>) {
    tools.tell(News::Instance { role, held, why });
}

/// An error in one line.
fn sentence(error: &umbra_api::error::WireError) -> String {
    let mut sentence = format!("failed to {}", error.message);
    for cause in &error.causes {
        sentence.push_str(": ");
        sentence.push_str(cause);
    }
    sentence
}
