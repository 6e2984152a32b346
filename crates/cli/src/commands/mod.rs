//! What each command does.

mod address;
mod build;
mod capture;
mod compare;
mod doctor;
mod drift;
mod enter;
mod follow;
mod gateway;
mod instances;
mod listening;
mod primary;
mod prompt;
mod read;
mod recipe;
mod rehearse;
mod replay;
mod reports;
mod rollout;
mod route;
mod serve;
mod tap;
mod test;
mod upkeep;

use std::path::{Path, PathBuf};

use clap::CommandFactory;
use umbra_api::client::Client;
use umbra_daemon::config::{Config, Surroundings};

use crate::args::{Args, Command};
use crate::error::{CliError, Finish};
use crate::ui::Ui;

/// What commands return.
pub(crate) type Done = Result<Finish, CliError>;

/// Becomes the process that makes sandboxes; only the daemon starts it.
pub(crate) fn launcher() -> Finish {
    let code = umbra_shadow::sandbox::launcher::main();
    Finish::Command(u8::try_from(code).unwrap_or(u8::MAX))
}

/// Becomes an agent, which speaks with the daemon over standard input and output.
fn agent() -> Finish {
    let name = concat!("umbra ", env!("CARGO_PKG_VERSION"), " agent");
    let spoken = umbra_agent::Program::of_process(name, &["keep-watch"]).and_then(|program| {
        let from = std::io::BufReader::new(std::io::stdin());
        umbra_agent::converse(from, std::io::stdout(), program)
    });
    spoken.map_or(Finish::Environment, |()| Finish::Pass)
}

/// Undoes a rollback when its time is over.
fn keep_watch(journal: &Path) -> Done {
    umbra_agent::keep_watch(journal).map_err(|error| {
        CliError::because(Finish::Environment, "keep watch over a rollback", &error)
    })?;
    Ok(Finish::Pass)
}

/// Does it.
pub(crate) fn run(ui: &Ui, args: Args) -> Done {
    let config = Config::choose(args.state_dir, args.socket, &Surroundings::of_process());
    let client = || Client::new(config.socket.clone());
    match args.command {
        Command::Serve(machines) => serve::serve(config, machines),
        Command::Launcher => Ok(launcher()),
        Command::Agent => Ok(agent()),
        Command::Keep => instances::keep(config),
        Command::Instances { command } => instances::instances(ui, config, command),
        Command::KeepWatch { journal } => keep_watch(&journal),
        Command::Primary { command } => primary::primary(ui, &client(), command),
        Command::Drift { command } => drift::drift(ui, &client(), command),
        Command::Rehearse(asked) => rehearse::rehearse(ui, &client(), asked),
        Command::Gateway(asked) => gateway::gateway(ui, &config.state_dir, asked),
        Command::Route { command } => route::route(ui, &config.state_dir, command),
        Command::Mirror { command } => gateway::mirror(ui, &config.state_dir, &client(), command),
        Command::Compare(asked) => compare::compare(ui, &config.state_dir, asked),
        Command::Capture { command } => capture::capture(ui, &config.state_dir, command),
        Command::Rollout { command } => rollout::rollout(ui, &client(), command),
        Command::Replay(asked) => replay::replay(ui, asked),
        Command::Tap(asked) => tap::tap(ui, asked),
        Command::Build(build) => build::build(ui, &client(), &build),
        Command::Follow { build, reports } => build::follow(ui, &client(), build, &reports),
        Command::Answer { build, answer } => build::answer(ui, &client(), build, answer),
        Command::Cancel { build } => build::cancel(ui, &client(), build),
        Command::Ls { limit } => read::ls(ui, &client(), limit),
        Command::Log { name, metrics } => read::log(ui, &client(), &name, metrics),
        Command::Diff { a, b, stat, content } => read::diff(ui, &client(), &a, &b, stat, content),
        Command::Files { state, path, limit } => read::files(ui, &client(), &state, &path, limit),
        Command::Shell { place, command, services, provider } => {
            enter::shell(ui, &client(), place, command, services, provider)
        }
        Command::Exec { place, command, user, workdir, timeout, stdin, services, provider } => {
            let place =
                enter::Exec { place, command, user, workdir, timeout, stdin, services, provider };
            enter::exec(ui, &client(), place)
        }
        Command::Test { state, file, vars, tests, baseline, format } => {
            test::test(ui, &client(), test::Ask { state, file, vars, tests, baseline, format })
        }
        Command::Shadow { command } => enter::shadow(ui, &client(), command),
        Command::Gc { dry_run } => upkeep::gc(ui, &client(), dry_run),
        Command::Fsck => upkeep::fsck(ui, &client()),
        Command::Export { state, format, size, output } => {
            upkeep::export(ui, &client(), upkeep::Export { state, format, size }, &output)
        }
        Command::Init { dir, name, distro } => recipe::init(ui, &dir, name, &distro),
        Command::Schema => recipe::schema(ui),
        Command::Completions { shell } => completions(ui, shell),
        Command::Version => upkeep::version(ui, &client(), &instances::keeper(&config)?),
        Command::Health => upkeep::health(ui, &client()),
        Command::Metrics => upkeep::metrics(ui, &client()),
        Command::Doctor(machines) => doctor::doctor(ui, &config, machines),
    }
}

fn completions(ui: &Ui, shell: clap_complete::Shell) -> Done {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "umbra", &mut script);
    ui.answer_bytes(&script)?;
    Ok(Finish::Pass)
}

/// This program's own file.
fn own_program() -> Result<PathBuf, CliError> {
    std::env::current_exe().map_err(|error| {
        CliError::because(Finish::Environment, "find this program's own file", &error)
    })
}

/// A path as the daemon, which works elsewhere, can use it.
fn absolute(path: &Path) -> Result<String, CliError> {
    let refuse =
        |why: &str| CliError::new(Finish::Usage, format!("use the path {}: {why}", path.display()));
    let absolute = std::path::absolute(path).map_err(|_| refuse("it cannot be made absolute"))?;
    absolute.into_os_string().into_string().map_err(|_| refuse("it is not UTF-8"))
}
