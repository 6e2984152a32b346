//! The short form of every target: seeds and the first mutations, the same on every machine.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use umbra_fuzz_targets::run::{Broken, Until, run};
use umbra_fuzz_targets::{TARGETS, Target, heap};

#[global_allocator]
static ALLOCATOR: heap::Counted = heap::Counted;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // What is allocated is counted for the whole process.
    arguments.test_threads = Some(1);
    let trials = TARGETS.iter().map(|target| Trial::test(target.name, || attempt(target)));
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn attempt(target: &Target) -> Result<(), Failed> {
    match run(target, Until::Cases(target.cases), None) {
        Ok(tried) if tried.accepted * 100 < tried.inputs => {
            Err(format!("almost nothing was accepted: {tried:?}").into())
        }
        Ok(tried) => {
            println!("{}: {tried:?}", target.name);
            Ok(())
        }
        Err(broken) => Err(in_words(target, &broken).into()),
    }
}

fn in_words(target: &Target, broken: &Broken) -> String {
    let shown = umbra_state::escape::escape(&broken.input[..broken.input.len().min(2000)]);
    format!(
        "{}\ninput of {} bytes (case {:?}): {shown}\n`cargo xtask bench fuzz {}` keeps it in a file",
        broken.why,
        broken.input.len(),
        broken.case,
        target.name
    )
}
