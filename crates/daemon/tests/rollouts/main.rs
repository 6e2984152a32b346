//! Rollouts through a real gateway, a real database and real servers: promoted, rolled back, told
//! what to do, and gone on with after a gateway or a daemon was killed.
//!
//! Gateways and daemons are processes of their own, so that they can be killed; the binary is all
//! of them, so it has a `main` of its own. Instances are servers on loopback in the test's process,
//! reached through the [`umbra_daemon::instances::Instances`] of a daemon by a socket: they outlive
//! daemons as the real ones do.

mod cases;
mod killed;
mod place;
mod roles;
mod server;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["gateway", dir, listen] => return roles::gateway(dir.as_ref(), listen),
        ["daemon", dir, point] => return roles::daemon(dir.as_ref(), point),
        _ => {}
    }
    let trial = |(name, test): (&'static str, fn())| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    };
    let trials = cases::ALL.into_iter().chain(killed::ALL).map(trial).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
