//! The watcher on the real kernel: ext4 or whatever holds temporary files, tmpfs, overlayfs,
//! btrfs, xfs, and without privileges.

mod attribution;
mod changes;
mod child;
mod cost;
mod ladder;
mod mounts;
mod restart;
mod soak;
mod storm;
mod support;
mod system;

use libtest_mimic::{Arguments, Trial};

fn main() -> std::process::ExitCode {
    if child::run().is_some() {
        return std::process::ExitCode::SUCCESS;
    }
    let mut trials = Vec::new();
    trials.extend(changes::trials());
    trials.extend(attribution::trials());
    trials.extend(storm::trials());
    trials.extend(mounts::trials());
    trials.extend(ladder::trials());
    trials.extend(restart::trials());
    trials.extend(cost::trials());
    trials.extend(system::trials());
    let mut arguments = Arguments::from_args();
    // Filesystem marks see what other tests do.
    arguments.test_threads.get_or_insert(1);
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A test that needs root; elsewhere it says so and is done.
fn trial(name: &str, test: fn()) -> Trial {
    Trial::test(name, move || {
        if rustix::process::geteuid().is_root() {
            test();
        } else {
            println!("skipped: filesystem marks and mounts need root");
        }
        Ok(())
    })
}
