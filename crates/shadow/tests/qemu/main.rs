//! The provider of virtual machines, on real ones. The binary plays the launcher as well.

mod conformance;
mod support;

use libtest_mimic::{Arguments, Trial};

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|word| word == "launcher") {
        std::process::exit(umbra_shadow::sandbox::launcher::main());
    }
    let mut trials = Vec::new();
    trials.extend(conformance::trials());
    let mut arguments = Arguments::from_args();
    // Machines of one test must not slow down what another one bounds in time.
    arguments.test_threads.get_or_insert(1);
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A test that needs virtual machines; where there can be none it says why and is done.
fn trial(name: &str, test: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(name, move || {
        match support::missing() {
            Some(reason) => println!("skipped: {reason}"),
            None => test(),
        }
        Ok(())
    })
}
