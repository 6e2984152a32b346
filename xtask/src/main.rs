//! The project's own commands: `cargo xtask setup | test | demo | agent | guest | bench`.
//!
//! | module | holds |
//! |---|---|
//! | [`args`] | what can be typed |
//! | [`stop`] | why a command ended early, and its exit code |
//! | [`setup`], [`packages`] | what the machine needs, and installing it |
//! | [`mod@test`] | everything that must pass |
//! | [`demo`] | the main job on real input |
//! | [`alone`] | the programs that go where nothing else is: the agent, a guest's first process |
//! | [`mod@bench`] | measuring |
//! | [`process`], [`interrupt`] | child processes that end with this one |

mod alone;
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
        Task::Alone(program, profile, to) => alone::make(program, profile, to.as_deref()),
        Task::Bench { names } => bench::bench(&names),
    }
}
