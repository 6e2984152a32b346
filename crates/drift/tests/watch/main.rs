//! The watcher on the real kernel: ext4 or whatever holds temporary files, tmpfs, overlayfs.

mod attribution;
mod changes;
mod mounts;
mod storm;
mod support;

use libtest_mimic::{Arguments, Trial};

fn main() -> std::process::ExitCode {
    let mut trials = Vec::new();
    trials.extend(changes::trials());
    trials.extend(attribution::trials());
    trials.extend(storm::trials());
    trials.extend(mounts::trials());
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
