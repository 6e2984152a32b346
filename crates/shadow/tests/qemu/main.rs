//! The provider of virtual machines, on real ones. The binary plays the launcher as well.

mod conformance;
mod faults;
mod forks;
mod network;
mod support;
mod system;

use libtest_mimic::{Arguments, Trial};

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("launcher") => std::process::exit(umbra_shadow::sandbox::launcher::main()),
        Some("owner") => std::process::exit(faults::owner(arguments[2].as_ref())),
        _ => {}
    }
    let mut trials = Vec::new();
    trials.extend(conformance::trials());
    trials.extend(system::trials());
    trials.extend(network::trials());
    trials.extend(forks::trials());
    trials.extend(faults::trials());
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
