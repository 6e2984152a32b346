//! A daemon with real shadows and a real build, killed at every point at which it changes the
//! disk: before and after each commit of its database and each name in its store.
//!
//! One undisturbed build counts the points. Then, point by point, a daemon kills itself there;
//! its successor may be killed as well, while it cleans up; the one after that must have all in
//! order and build the same recipe. `cargo xtask bench crash` tries every point, a test run some,
//! evenly spread. The binary is its own daemon and launcher, so it has a `main` of its own.

mod place;
mod process;
mod support;
#[path = "../../../shadow/tests/sandbox/traces.rs"]
#[allow(dead_code, reason = "the other test that has it uses all of it")]
mod traces;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

use place::{Place, Round};

/// Set to try every point.
const EVERY_POINT: &str = "UMBRA_CRASH_EVERY_POINT";

/// How many points a trial tries otherwise.
const SOME: usize = 10;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["launcher", _owner] => {
            return ExitCode::from(umbra_shadow::sandbox::launcher::main() as u8);
        }
        ["daemon", dir, point] => return process::daemon(dir.as_ref(), point),
        _ => {}
    }
    let trials = vec![
        trial("killed_before_there_is_an_image", before_there_is_an_image),
        trial("killed_over_an_older_image", over_an_older_image),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// A test that is reported as skipped, with the reason, where the machine cannot run it.
fn trial(name: &'static str, test: fn()) -> Trial {
    Trial::test(name, move || {
        match support::missing() {
            Some(reason) => println!("{name}: skipped: {reason}"),
            None => test(),
        }
        Ok(())
    })
}

/// In a fresh directory each time: its database and store are made as well.
fn before_there_is_an_image() {
    let points = Place::new().undisturbed(1);
    let rounds = chosen(points).map(|point| Place::new().killed_at(point, 1));
    check(points, &rounds.collect::<Vec<_>>());
}

/// In one directory, where each build has an image to replace.
fn over_an_older_image() {
    let mut place = Place::new();
    place.undisturbed(0);
    let points = place.undisturbed(1);
    let rounds = chosen(points).zip(2..).map(|(point, version)| place.killed_at(point, version));
    check(points, &rounds.collect::<Vec<_>>());
}

/// The points to try: all, or some from the first to the last.
fn chosen(points: usize) -> impl Iterator<Item = usize> {
    let count = if std::env::var_os(EVERY_POINT).is_some() { points } else { SOME.min(points) };
    (0..count).map(move |at| 1 + at * (points - 1) / (count - 1).max(1))
}

/// Batches of the database depend on timing, so a few points more or less are passed each time.
fn check(points: usize, rounds: &[Round]) {
    let died = rounds.iter().filter(|round| round.died).count();
    let sealed = rounds.iter().filter(|round| round.sealed).count();
    println!("{points} points, {} tried: {died} died, {sealed} sealed before", rounds.len());
    assert!(points >= 20, "{points} points are too few for a build");
    assert!(died * 2 >= rounds.len(), "{rounds:?}");
    assert!(sealed < rounds.len(), "{rounds:?}");
}
