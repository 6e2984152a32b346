//! The collector on the real kernel and its files.

mod commands;
mod files;
mod hostile;
mod quiet;
mod sources;
mod support;
mod trees;

use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> std::process::ExitCode {
    let mut trials = Vec::new();
    trials.extend(files::trials());
    trials.extend(trees::trials());
    trials.extend(sources::trials());
    trials.extend(commands::trials());
    trials.extend(hostile::trials());
    trials.extend(quiet::trials());
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// A test for everybody.
fn trial(name: &str, test: fn()) -> Trial {
    Trial::test(name, move || {
        test();
        Ok(())
    })
}

/// A test that needs root; elsewhere it says so and is done.
fn root_trial(name: &str, test: fn()) -> Trial {
    Trial::test(name, move || -> Result<(), Failed> {
        if rustix::process::geteuid().is_root() {
            test();
        } else {
            println!("skipped: other users and namespaces need root");
        }
        Ok(())
    })
}
