//! The project's own commands: `cargo xtask setup | test | demo | agent | bench`.
//!
//! | module | holds |
//! |---|---|
//! | [`args`] | what can be typed |
//! | [`stop`] | why a command ended early, and its exit code |
//! | [`setup`], [`packages`] | what the machine needs, and installing it |
//! | [`mod@test`] | everything that must pass |
//! | [`demo`] | the main job on real input |
//! | [`agent`] | the agent for other machines |
//! | [`mod@bench`] | measuring |
//! | [`process`], [`interrupt`] | child processes that end with this one |

mod agent;
mod args;
mod bench;
mod demo;
mod interrupt;
mod packages;
mod process;
mod setup;
mod stop;
mod test;
mod workspace;

use std::process::ExitCode;

use args::Task;
use stop::Stop;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(stop) => {
            eprintln!("{stop}");
            ExitCode::from(stop.code())
        }
    }
}

fn run() -> Result<(), Stop> {
    let task = args::parse(std::env::args().skip(1))?;
    interrupt::watch()?;
    match task {
        Task::Help => {
            print!("{}", args::HELP);
            Ok(())
        }
        Task::Setup => setup::setup(&packages::Purpose::ALL),
        Task::Test => test::test(),
        Task::Demo(options) => demo::demo(&options),
        Task::Agent { to } => agent::agent(agent::Profile::Release, to.as_deref()),
        Task::Bench { names } => bench::bench(&names),
    }
}
