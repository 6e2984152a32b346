//! What holds whatever happens.

use proptest::prelude::*;
use umbra_api::rollout::{RolloutPhase, Told};

use super::super::{Answer, Controller, Effect, Event, Measurement, Outcome, Role, Seen, Winner};
use super::spec;
use super::world::{Fate, World};
use crate::spec::Spec;

/// Documents that use all there is.
const DOCUMENTS: [&str; 6] = [
    "hold: { for: 3s, requests: 20 }",
    "on_worse: pause\nsteps: [{ setWeight: 5 }, { pause: { duration: 5s } }, { setWeight: 50 }, { pause: {} }, { setWeight: 100 }]\nhold: { for: 2s, requests: 20 }",
    "on_worse: notify\ndeadline: 30s\nsteps: [{ setMirror: { percent: 10 } }, { setWeight: 20 }]\nhold: { for: 3s, requests: 50, within: 20s }\ntop_up: { requests: 500 }\nguards: [{ errors: { max: 5% }, over: 5s }]",
    "control: fresh\nsteps: [{ setWeight: 5 }, { setWeight: 50 }, { setWeight: 100 }]\nhold: { for: 3s, requests: 20, proved: true }\nguards: [{ errors: { max: 5% }, over: 5s }, { p99: { max: 1s } }]",
    "steps: [{ setWeight: 5 }, { analysis: { templates: [rate] } }, { setWeight: 100 }]\nhold: { for: 1s, requests: 5 }\nanalysis:\n  prometheus: { address: 'http://127.0.0.1:9' }\n  templates:\n  - { name: rate, interval: 2s, count: 3, successCondition: 'result[0] > 0', provider: { prometheus: { query: up } } }\n  - { name: beside, interval: 3s, inconclusiveLimit: 2, successCondition: 'result[0] > 0', provider: { prometheus: { query: up } } }\n  background: { templates: [beside], startingStep: 1 }",
    "steps: [{ setWeight: 5 }, { setWeight: 100 }]\nhold: { for: 1s, requests: 5 }\ndeadline: 1m\nwebhooks:\n- { name: a, type: confirm-rollout, url: 'http://a' }\n- { name: b, type: pre-rollout, url: 'http://a' }\n- { name: c, type: rollout, url: 'http://a' }\n- { name: d, type: confirm-traffic-increase, url: 'http://a' }\n- { name: e, type: confirm-promotion, url: 'http://a' }\n- { name: f, type: post-rollout, url: 'http://a' }\n- { name: g, type: rollback, url: 'http://a' }\n- { name: h, type: event, url: 'http://a' }",
];

fn document() -> impl Strategy<Value = Spec> {
    prop::sample::select(&DOCUMENTS[..]).prop_map(spec)
}

fn told() -> impl Strategy<Value = Told> {
    prop::sample::select(
        &[
            Told::Promote,
            Told::PromoteFull,
            Told::Pause,
            Told::Resume,
            Told::Abort,
            Told::Retry,
            Told::Undo,
        ][..],
    )
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        50 => Just(Fate::Quiet),
        150 => any::<u16>().prop_map(Fate::Requests),
        1 => Just(Fate::Worse),
        1 => Just(Fate::Errors),
        1 => Just(Fate::Proved),
        4 => any::<bool>().prop_map(Fate::Gateway),
        4 => any::<u8>().prop_map(|done| Fate::Killed(done % 8)),
        2 => any::<i64>().prop_map(Fate::Clock),
        4 => prop::bool::weighted(0.3).prop_map(Fate::Failing),
        3 => told().prop_map(Fate::Told),
        1 => Just(Fate::Gone),
        1 => any::<u8>().prop_map(Fate::ByHand),
    ]
}

/// Whatever comes, in any order, sense or none.
fn event() -> impl Strategy<Value = Event> {
    let why = || Just("why".to_owned());
    let number = || 0_u32..8;
    let role = || prop::sample::select(&[Role::Candidate, Role::Control][..]);
    let winner = || prop::sample::select(&[Winner::Baseline, Winner::Candidate][..]);
    let weight = || prop::sample::select(&[0.0, 0.01, 0.05, 0.2, 0.5, 1.0, f64::NAN, -1.0][..]);
    let outcome = prop::sample::select(
        &[Outcome::Successful, Outcome::Failed, Outcome::Inconclusive, Outcome::Error][..],
    );
    let answer = prop_oneof![
        Just(Answer::Go),
        why().prop_map(|why| Answer::Hold { why }),
        why().prop_map(|why| Answer::Failed { why }),
    ];
    let effect = prop_oneof![
        Just(Effect::BeginSplit),
        Just(Effect::Replace),
        Just(Effect::StopMirrors),
        weight().prop_map(|weight| Effect::SetWeight { weight }),
        winner().prop_map(|to| Effect::EndSplit { to }),
        role().prop_map(|role| Effect::StopInstances { role }),
        number().prop_map(|number| Effect::Call { hook: "c".to_owned(), number }),
    ];
    prop_oneof![
        2 => Just(Event::Begin),
        10 => Just(Event::Tick),
        2 => told().prop_map(Event::Told),
        1 => Just(Event::Resumed),
        4 => role().prop_map(|role| Event::InstancesReady { role }),
        1 => (role(), why()).prop_map(|(role, why)| Event::InstancesFailed { role, why }),
        2 => role().prop_map(|role| Event::Stopped { role }),
        4 => Just(Event::SplitBegun),
        10 => (weight(), any::<[u32; 4]>(), 0_u8..20).prop_map(|(weight, counts, luck)| {
            let [a, b, c, d] = counts.map(u64::from);
            let bad = |is: bool| is.then(|| "bad".to_owned());
            Event::SplitSeen(Seen {
                weight,
                rolled_back: bad(luck == 0),
                worse: bad(luck <= 1),
                proved: luck == 2,
                requests: [a, b],
                errors: [c, d],
                p99_us: [Some(c), (luck > 3).then_some(d)],
                compared: a,
                left_out: 0,
                requests_needed: Some(b),
                unjudged: bad(luck == 4),
            })
        }),
        1 => why().prop_map(|why| Event::SplitLost { why }),
        1 => winner().prop_map(|serves| Event::SplitGone { serves }),
        2 => Just(Event::SplitEnded),
        8 => weight().prop_map(|weight| Event::WeightSet { weight }),
        1 => why().prop_map(|why| Event::WeightRefused { why }),
        2 => prop::sample::select(&[0.0, 10.0, 100.0][..])
            .prop_map(|percent| Event::MirrorsSet { percent }),
        1 => why().prop_map(|why| Event::MirrorsFailed { why }),
        2 => (number(), outcome).prop_map(|(number, outcome)| Event::Measured {
            analysis: "rate".to_owned(),
            number,
            measurement: Measurement { outcome, value: None, message: String::new() },
        }),
        2 => (prop::sample::select(&["a", "b", "c", "d", "e"][..]), number(), answer)
            .prop_map(|(name, number, answer)| Event::Hook { name: name.to_owned(), number, answer }),
        2 => (0_u32..3).prop_map(|left| Event::Replaced { left }),
        1 => any::<u64>().prop_map(|requests| Event::ToppedUp { requests }),
        1 => (effect, why()).prop_map(|(effect, why)| Event::Failed { effect, why }),
    ]
}

/// A world in which all works again, and a person ends what waits for one.
fn comes_to_an_end(world: &mut World) {
    world.second(Fate::Gateway(false));
    world.second(Fate::Failing(false));
    for second in 0..4_000 {
        if world.phase().is_over() {
            return;
        }
        let waits = world.phase() == RolloutPhase::Paused || second == 2_000;
        world.second(if waits { Fate::Told(Told::Abort) } else { Fate::Requests(1_000) });
    }
    panic!("it does not end: {} {:?}", world.controller.reason(), world.controller);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// With all that can go wrong in a world: what serves is never taken away, weights do not rise
    /// while it is worse, and it ends (see [`World`]); without a person nothing passes that was
    /// not looked at.
    #[test]
    fn whatever_happens_it_ends_well_or_at_the_baseline(
        spec in document(),
        fates in prop::collection::vec(fate(), 0..150),
    ) {
        let hold = spec.hold;
        let mut world = World::new(spec);
        fates.into_iter().for_each(|fate| world.second(fate));
        comes_to_an_end(&mut world);
        let looked_at = world.evidence.iter().all(|(_, requests)| *requests >= hold.requests);
        let successful = world.phase() == RolloutPhase::Successful;
        prop_assert!(!successful || world.led || hold.proved || looked_at, "{:?}", world.evidence);
    }

    /// Any events in any order: no panic, no endless turn, the same again from what was kept, and
    /// once it is over nothing more is done.
    #[test]
    fn any_events_are_taken(spec in document(), events in prop::collection::vec((event(), any::<i64>()), 0..60)) {
        let mut controller = Controller::new(spec, 0);
        for (event, now_ms) in events {
            let kept = serde_json::to_string(&controller).expect("it is written");
            let read: Controller = serde_json::from_str(&kept).expect("and read");
            let worse = |controller: &Controller| {
                controller.seen().is_some_and(|seen| seen.worse.is_some())
            };
            let (next, effects) = controller.clone().on(event.clone(), now_ms);
            prop_assert_eq!(&(next.clone(), effects.clone()), &read.on(event, now_ms));
            let over = controller.is_over();
            prop_assert!(!over || effects.is_empty(), "{effects:?}");
            let set = effects.iter().filter_map(|effect| match effect {
                Effect::SetWeight { weight } => Some(*weight),
                _ => None,
            });
            let set: Vec<f64> = set.collect();
            prop_assert!(set.len() <= 1, "{set:?}");
            prop_assert!(!worse(&next) || set.iter().all(|weight| *weight <= controller.weight()));
            prop_assert!(set.iter().all(|weight| (0.0..=1.0).contains(weight)), "{set:?}");
            let failed = next.is_over() && next.phase() != RolloutPhase::Successful;
            prop_assert!(!failed || next.weight() <= 0.0);
            controller = next;
            prop_assert!(!controller.reason().is_empty());
        }
    }

    /// Restarts in a row ask for the same, wherever it is: all there is to know after them is that
    /// what the first asked for may have been done.
    #[test]
    fn restarts_ask_for_the_same(spec in document(), events in prop::collection::vec(event(), 0..60)) {
        let mut controller = Controller::new(spec, 0);
        for event in events {
            controller = controller.on(event, 0).0;
        }
        let (once, first) = controller.on(Event::Resumed, 0);
        let (twice, second) = once.on(Event::Resumed, 0);
        let (thrice, third) = twice.clone().on(Event::Resumed, 0);
        prop_assert_eq!(twice, thrice);
        prop_assert_eq!(&first, &second);
        prop_assert_eq!(second, third);
    }
}
