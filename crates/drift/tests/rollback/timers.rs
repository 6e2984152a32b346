//! The way back that nobody has to take: the timer fires.

use std::fs;

use libtest_mimic::Trial;
use umbra_drift::rollback::plan::Confirmation;
use umbra_drift::rollback::timer::Manual;
use umbra_drift::rollback::{Options, Outcome, RollbackError, Rollbacks};

use crate::crash::drift;
use crate::support::{WHOLE, World, same, until, watchdog};
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("timers::nobody_confirms", nobody_confirms),
        trial("timers::whoever_began_it_is_killed", killed),
        trial("timers::confirmed_in_time", confirmed),
        trial("timers::the_machine_was_restarted", restarted),
        trial("timers::somebody_wrote_after_the_rollback", written_after),
        trial("timers::one_after_the_other", one_after_the_other),
        trial("timers::aborted", aborted),
    ]
}

fn by_person(world: &World, timeout_ms: u64) -> Options {
    let confirm = Confirmation { timeout_ms, probes: Vec::new(), by_person: true };
    Options { confirm: Some(confirm), ..world.options() }
}

/// Until somebody else has ended it.
fn until_over(world: &World) -> Outcome {
    let timer = Manual::default();
    let rollbacks = Rollbacks::new(world.journals(), &timer);
    until(|| rollbacks.unfinished().expect("journals").is_empty());
    let mut ended = None;
    until(|| {
        ended = rollbacks.recover(&world.journal()).ok();
        ended.is_some()
    });
    ended.expect("ended").outcome
}

fn nobody_confirms() {
    let world = World::new(WHOLE);
    let (good, bad) = drift(&world);
    let waiting = world.begin_with(world.plan(&good), by_person(&world, 1500), &watchdog());
    assert!(matches!(waiting.outcome, Outcome::Waiting { .. }), "{:?}", waiting.outcome);
    let outcome = until_over(&world);
    assert!(matches!(&outcome, Outcome::Reverted { why } if why.contains("nobody confirmed")));
    assert!(!outcome.is_success());
    same(&world.snapshot(), &bad, "reverted");
}

/// At several points after the timer was armed, with nobody left but the timer.
fn killed() {
    let mut reverted = 0;
    for at in (20..).step_by(2) {
        let world = World::new(WHOLE);
        let (good, bad) = drift(&world);
        let plan = world.plan(&good);
        let mut child = world.child("as-begin-watched", &plan, &by_person(&world, 700), at);
        let ended = child.wait().expect("ended");
        if world.journal().join("watchdog").exists() {
            let timer = Manual::default();
            let rollbacks = Rollbacks::new(world.journals(), &timer);
            until(|| rollbacks.unfinished().expect("journals").is_empty());
            same(&world.snapshot(), &bad, "reverted");
            let outcome = until_over(&world);
            assert!(!outcome.is_success(), "killed at {at}: {outcome:?}");
            reverted += 1;
        }
        if ended.success() {
            break;
        }
    }
    assert!(reverted > 3, "{reverted}");
}

fn confirmed() {
    let world = World::new(WHOLE);
    let (good, _) = drift(&world);
    let timer = watchdog();
    let waiting = world.begin_with(world.plan(&good), by_person(&world, 60_000), &timer);
    assert!(matches!(waiting.outcome, Outcome::Waiting { .. }), "{:?}", waiting.outcome);
    let pid = fs::read_to_string(world.journal().join("watchdog")).expect("a watchdog");
    let pid: i32 = pid.split(' ').next().and_then(|pid| pid.parse().ok()).expect("a number");
    let rollbacks = Rollbacks::new(world.journals(), &timer);
    let recovered = rollbacks.recover(&world.journal()).expect("recovered");
    assert!(matches!(recovered.outcome, Outcome::Waiting { .. }), "there is time left");
    let done = rollbacks.confirm(&world.journal()).expect("confirmed");
    assert_eq!(done.outcome, Outcome::Done);
    same(&world.snapshot(), &good, "confirmed");
    let is_gone = || fs::read_to_string(format!("/proc/{pid}/stat")).is_err();
    until(|| is_gone() || is_dead(pid));
    let again = rollbacks.confirm(&world.journal());
    assert!(matches!(again, Err(RollbackError::NotWaiting(_))), "{again:?}");
    assert_eq!(rollbacks.expire(&world.journal()).expect("over").outcome, Outcome::Done);
    same(&world.snapshot(), &good, "the timer fires late");
}

/// Dead and not yet buried by whoever is the parent of orphans here.
fn is_dead(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'))
}

fn restarted() {
    let world = World::new(WHOLE);
    let (good, bad) = drift(&world);
    let waiting = world.begin(world.plan(&good), by_person(&world, 600_000));
    assert!(matches!(waiting.outcome, Outcome::Waiting { .. }), "{:?}", waiting.outcome);
    // The journal of another boot.
    let log = world.journal().join("log");
    let text = fs::read_to_string(&log).expect("text");
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("boot");
    let other = "11111111-2222-3333-4444-555555555555";
    let lines = text.lines().map(|line| {
        let json = line[17..].replace(boot.trim(), other);
        format!("{} {json}\n", &blake3::hash(json.as_bytes()).to_hex()[..16])
    });
    fs::write(&log, lines.collect::<String>()).expect("written");
    let timer = Manual::default();
    let rollbacks = Rollbacks::new(world.journals(), &timer);
    let recovered = rollbacks.recover(&world.journal()).expect("recovered");
    assert!(matches!(recovered.outcome, Outcome::Reverted { .. }), "{:?}", recovered.outcome);
    same(&world.snapshot(), &bad, "reverted");
}

/// Two that undo themselves at different times would undo each other.
fn one_after_the_other() {
    let world = World::new(WHOLE);
    world.write("a", "good\n");
    let good = world.snapshot();
    world.write("a", "bad\n");
    world.begin(world.plan(&good), by_person(&world, 600_000));
    world.write("a", "bad again\n");
    let timer = Manual::default();
    let rollbacks = Rollbacks::new(world.journals(), &timer);
    let options = Options { id: "second".to_owned(), ..world.options() };
    let second = rollbacks.begin(world.plan(&good), options, &mut |_| Default::default());
    assert!(matches!(second, Err(RollbackError::Unfinished(_))), "{second:?}");
}

fn written_after() {
    let world = World::new(WHOLE);
    world.write("a", "good\n");
    let good = world.snapshot();
    world.write("a", "bad\n");
    let bad = world.snapshot();
    let waiting = world.begin(world.plan(&good), by_person(&world, 600_000));
    assert!(matches!(waiting.outcome, Outcome::Waiting { .. }));
    world.write("a", "a third version\n");
    let timer = Manual::default();
    let rollbacks = Rollbacks::new(world.journals(), &timer);
    let ended = rollbacks.abort(&world.journal(), "it was a mistake").expect("aborted");
    let why = "it was a mistake".to_owned();
    assert_eq!(ended.outcome, Outcome::Reverted { why });
    same(&world.snapshot(), &bad, "aborted");
    let third = ended.report.displaced.iter().any(|displaced| {
        let content = displaced.content(&ended.journal).expect("kept").expect("content");
        std::io::read_to_string(content).expect("text") == "a third version\n"
    });
    assert!(third, "{:?}", ended.report);
}

fn aborted() {
    let world = World::new(WHOLE);
    let (good, bad) = drift(&world);
    world.begin(world.plan(&good), by_person(&world, 600_000));
    let timer = Manual::default();
    let rollbacks = Rollbacks::new(world.journals(), &timer);
    let why = "of a test".to_owned();
    let ended = rollbacks.abort(&world.journal(), &why).expect("aborted");
    assert_eq!(ended.outcome, Outcome::Reverted { why });
    same(&world.snapshot(), &bad, "aborted");
}
