//! The long form: `umbra-fuzz-targets [TARGET...] [SECONDS]`, every target and 60 seconds each
//! unless told otherwise. An input that breaks a law is kept beside the build's results.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use umbra_fuzz_targets::run::{Until, run};
use umbra_fuzz_targets::{TARGETS, Target, find, heap};

#[global_allocator]
static ALLOCATOR: heap::Counted = heap::Counted;

const SECONDS: u64 = 60;

fn main() -> ExitCode {
    let mut targets: Vec<&Target> = Vec::new();
    let mut seconds = SECONDS;
    for word in std::env::args().skip(1) {
        match (find(&word), word.parse()) {
            (Some(target), _) => targets.push(target),
            (None, Ok(number)) => seconds = number,
            (None, Err(_)) => {
                let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
                eprintln!("{word:?} is no target and no number of seconds; targets are {names:?}");
                return ExitCode::from(2);
            }
        }
    }
    if targets.is_empty() {
        targets.extend(TARGETS);
    }
    // What panics is reported below, once.
    std::panic::set_hook(Box::new(|_| {}));
    let good = targets.iter().filter(|target| passes(target, Duration::from_secs(seconds))).count();
    ExitCode::from(u8::from(good < targets.len()))
}

fn passes(target: &Target, limit: Duration) -> bool {
    let current = scratch().join(format!("{}.current", target.name));
    match run(target, Until::Over(limit), Some(&current)) {
        Ok(tried) => {
            println!(
                "{}: {} inputs ({} accepted), at most {} KiB and {} ms",
                target.name,
                tried.inputs,
                tried.accepted,
                tried.heap_peak >> 10,
                tried.slowest.as_millis()
            );
            // Left only where a run died of it.
            drop(std::fs::remove_file(current));
            true
        }
        Err(broken) => {
            let name: String = Sha256::digest(&broken.input)[..6]
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            let kept = scratch().join(format!("{}-{name}", target.name));
            let case = broken.case.map_or("a seed".to_owned(), |number| format!("case {number}"));
            println!("{}: BROKEN by {case}: {}", target.name, broken.why);
            match std::fs::rename(&current, &kept) {
                Ok(()) => println!("{}: the input is {}", target.name, kept.display()),
                Err(error) => println!("{}: the input could not be kept: {error}", target.name),
            }
            false
        }
    }
}

/// Beside the program itself, which is in the build's results.
fn scratch() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    program.parent().unwrap_or(Path::new(".")).to_owned()
}
