//! The sandbox provider on the real kernel. The binary plays every part itself: the tests, the
//! launcher they start, the attacker inside a shadow, and the owner that is killed.

mod attack;
mod conformance;
mod crash;
mod escape;
mod machine;
mod network;
mod support;
mod system;
mod traces;
mod workshop;

use libtest_mimic::{Arguments, Trial};

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("launcher") => std::process::exit(umbra_shadow::sandbox::launcher::main()),
        Some("attack") => std::process::exit(attack::main(&arguments[2..])),
        Some("owner") => std::process::exit(crash::owner(&arguments[2..])),
        _ => {}
    }
    let mut trials = Vec::new();
    trials.extend(conformance::trials());
    trials.extend(machine::trials());
    trials.extend(escape::trials());
    trials.extend(network::trials());
    trials.extend(workshop::trials());
    trials.extend(system::trials());
    trials.extend(crash::trials());
    let mut arguments = Arguments::from_args();
    // Shadows of one test must not slow down what another one bounds in time.
    arguments.test_threads.get_or_insert(1);
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A test that needs shadows; where there can be none it says why and is done.
fn trial(name: &str, test: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(name, move || {
        match support::missing() {
            Some(reason) => println!("skipped: {reason}"),
            None => test(),
        }
        Ok(())
    })
}
