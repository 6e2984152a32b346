//! `umbra instances`, and `umbra keep`, the process that keeps them.

use std::path::PathBuf;

use umbra_api::client::Client;
use umbra_daemon::config::Config;
use umbra_daemon::instances::Instances as _;
use umbra_daemon::instances::{self, Instance, KeeperClient, Places, StartInstance};

use super::Done;
use crate::args::instances::Instances;
use crate::error::{CliError, Finish};
use crate::screen::instances as screen;
use crate::ui::Ui;

/// Becomes the keeper; the daemon starts it, or whoever asks for an instance that is wanted.
pub(super) fn keep(config: Config) -> Done {
    super::serve::log_to_stderr();
    instances::keep(&Places::of(&config.checked()?), own_program()?)?;
    Ok(Finish::Pass)
}

/// Speaks with the keeper itself, so that it works without a daemon; only starting one takes
/// the daemon, which knows images and recipes.
pub(super) fn instances(ui: &Ui, config: Config, command: Instances) -> Done {
    let config = config.checked()?;
    let keeper = keeper(&config)?;
    match command {
        Instances::Ls => ui.answer_with(&keeper.list()?, |list| screen::instances(list))?,
        Instances::Start { name, image, port, service } => {
            let request = StartInstance { name, state: image, port, service };
            let started: Instance = Client::new(config.socket).post("/v1/instances", &request)?;
            ui.answer_with(&started, |started| format!("{}\n", started.to))?;
        }
        Instances::Logs { name, bytes } => {
            ui.answer_with(&keeper.logs(&name, bytes)?, |logs| screen::logs(logs))?;
        }
        Instances::Restart { name } => {
            ui.answer_with(&keeper.restart(&name)?, |instance| {
                screen::instances(std::slice::from_ref(instance))
            })?;
        }
        Instances::Stop { all: true, .. } => {
            for name in keeper.stop_all()? {
                ui.story(&format!("{name} is stopped"));
            }
        }
        Instances::Stop { names, .. } => {
            let known = keeper.list()?;
            if let Some(name) = names.iter().find(|name| known.iter().all(|i| i.name != **name)) {
                let message = format!("find instance {}", crate::screen::safe(name));
                let hint = "`umbra instances ls` lists them";
                return Err(CliError::new(Finish::Usage, message).with_hint(hint));
            }
            for name in names {
                keeper.stop(&name)?;
                ui.story(&format!("{} is stopped", crate::screen::safe(&name)));
            }
        }
    }
    Ok(Finish::Pass)
}

/// What speaks with the keeper.
pub(super) fn keeper(config: &Config) -> Result<KeeperClient, CliError> {
    Ok(KeeperClient::new(Places::of(config), own_program()?))
}

fn own_program() -> Result<PathBuf, CliError> {
    std::env::current_exe().map_err(|error| {
        CliError::because(Finish::Environment, "find this program's own file", &error)
    })
}
