//! Rehearsals on real shadows. The binary is its own launcher.

mod breaks;
mod files;
mod levels;
mod support;

use libtest_mimic::{Arguments, Trial};

use support::Ground;

fn main() -> std::process::ExitCode {
    if std::env::args().nth(1).as_deref() == Some("launcher") {
        std::process::exit(umbra_shadow::sandbox::launcher::main());
    }
    let mut trials = breaks::trials();
    trials.extend(files::trials());
    trials.extend(levels::trials());
    let mut arguments = Arguments::from_args();
    // Shadows of one test must not slow down what another one bounds in time.
    arguments.test_threads.get_or_insert(1);
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A test on a machine of its own, of which nothing may be left; where there can be no shadows
/// it says why and is done.
fn trial(name: &str, test: fn(&Ground)) -> Trial {
    Trial::test(name, move || {
        match support::missing() {
            Some(reason) => println!("skipped: {reason}"),
            None => {
                let ground = Ground::new();
                test(&ground);
                ground.assert_nothing_is_left();
            }
        }
        Ok(())
    })
}
