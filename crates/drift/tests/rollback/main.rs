//! Rollbacks on the real kernel: ext4 or whatever holds temporary files, tmpfs, bind mounts.
//!
//! The program is also what the tests kill, and the process that keeps watch.

mod collected;
mod commands;
mod crash;
mod places;
mod refusals;
mod restore;
mod support;
mod timers;

use libtest_mimic::{Arguments, Trial};

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, role, rest @ ..] = arguments.as_slice()
        && role.starts_with("as-")
    {
        return support::child(role, rest);
    }
    let mut trials = Vec::new();
    trials.extend(collected::trials());
    trials.extend(crash::trials());
    trials.extend(places::trials());
    trials.extend(refusals::trials());
    trials.extend(restore::trials());
    trials.extend(timers::trials());
    trials.extend(commands::trials());
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// A test that needs root; elsewhere it says so and is done.
fn trial(name: &str, test: fn()) -> Trial {
    Trial::test(name, move || {
        if rustix::process::geteuid().is_root() {
            test();
        } else {
            println!("skipped: owners, mounts and flags need root");
        }
        Ok(())
    })
}
