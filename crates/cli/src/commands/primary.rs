//! Taking machines under care, and letting go of them.

use std::io::BufRead;
use std::path::{Path, PathBuf};

use umbra_api::client::{Client, percent};
use umbra_drift::remote::Remote;
use umbra_drift::service::{AddPrimary, ConfigText, PrimaryInfo};

use super::{Done, absolute};
use crate::args::drift::{self, Primary};
use crate::error::{CliError, Finish};
use crate::screen::primaries;
use crate::ui::Ui;

/// Does it.
pub(super) fn primary(ui: &Ui, client: &Client, command: Primary) -> Done {
    match command {
        Primary::Add { name, root, remote, config, image } => {
            let remote = remote_of(remote)?;
            let root = root_of(root, remote.as_ref())?;
            let config = config.map(|path| checked(ui, &path)).transpose()?;
            add(ui, client, &AddPrimary { name, root, remote, image, config })
        }
        Primary::Ls => {
            let all: Vec<PrimaryInfo> = client.get("/v1/primaries")?;
            ui.answer_with(&all, |all| primaries::list(all))?;
            Ok(Finish::Pass)
        }
        Primary::Show { name } => {
            let name = the_one(client, name)?;
            let info: PrimaryInfo = client.get(&target(&name, ""))?;
            ui.answer_with(&info, primaries::one)?;
            Ok(Finish::Pass)
        }
        Primary::Rm { name, yes } => remove(ui, client, &name, yes),
    }
}

fn add(ui: &Ui, client: &Client, request: &AddPrimary) -> Done {
    if let Some(remote) = &request.remote {
        ui.story(primaries::reaching(remote).trim_end());
    }
    let info: PrimaryInfo = client.post("/v1/primaries", request)?;
    ui.answer_with(&info, primaries::added)?;
    Ok(Finish::Pass)
}

/// How another machine is reached, if one was named.
fn remote_of(asked: drift::Remote) -> Result<Option<Remote>, CliError> {
    let drift::Remote { ssh, ssh_option, agent, agent_dir } = asked;
    let Some(destination) = ssh else { return Ok(None) };
    let remote = Remote { destination, options: ssh_option, agent, dir: Some(agent_dir) };
    let refused = |why| CliError::new(Finish::Usage, format!("use ssh as asked: {why}"));
    remote.check().map_err(refused)?;
    Ok(Some(remote))
}

/// A root directory is found from here, unless it is on another machine.
fn root_of(root: Option<PathBuf>, remote: Option<&Remote>) -> Result<Option<String>, CliError> {
    match (root, remote) {
        (Some(root), Some(_)) if !root.is_absolute() => {
            let message = "use the root directory: on another machine its path must be absolute";
            Err(CliError::new(Finish::Usage, message))
        }
        (root, _) => root.map(|root| absolute(&root)).transpose(),
    }
}

/// Reads a configuration here, so that its problems are shown before a daemon is bothered.
fn checked(ui: &Ui, path: &Path) -> Result<ConfigText, CliError> {
    let unread = |error: &std::io::Error| {
        CliError::because(Finish::Usage, format!("read {}", path.display()), error)
            .with_hint("`umbra drift init` writes one to begin with")
    };
    let text = std::fs::read_to_string(path).map_err(|error| unread(&error))?;
    let name = path.display().to_string();
    if let Err(problems) = umbra_drift::config::parse(&name, &text) {
        ui.story(problems.render(ui.paint().is_coloured()).trim_end());
        let message = format!("accept the configuration {name}");
        return Err(CliError::new(Finish::Usage, message)
            .with_hint("`umbra drift schema` prints what it may hold"));
    }
    Ok(ConfigText { path: absolute(path)?, text })
}

fn remove(ui: &Ui, client: &Client, name: &str, yes: bool) -> Done {
    let info: PrimaryInfo = client.get(&target(name, ""))?;
    if !yes {
        if !ui.can_ask() {
            let message = format!("let go of {name}: nobody can be asked here");
            return Err(CliError::new(Finish::Usage, message).with_hint("`--yes` does not ask"));
        }
        ui.story_raw(&format!(
            "{name} has {} shadows, which go with it. Let go of it? [y/N] ",
            info.shadows
        ));
        let mut line = String::new();
        // A terminal that cannot be read has not said yes.
        let _ = std::io::stdin().lock().read_line(&mut line);
        if !matches!(line.trim(), "y" | "yes") {
            ui.story("nothing was changed");
            return Ok(Finish::Inconclusive);
        }
    }
    client.delete(target(name, ""))?;
    ui.story(&format!("{name} is not watched any more"));
    Ok(Finish::Pass)
}

/// What the API calls a primary, or something of it.
pub(super) fn target(name: &str, below: &str) -> String {
    format!("/v1/primaries/{}{below}", percent(name))
}

/// The primary that was named, or the only one there is.
pub(super) fn the_one(client: &Client, name: Option<String>) -> Result<String, CliError> {
    if let Some(name) = name {
        return Ok(name);
    }
    let all: Vec<PrimaryInfo> = client.get("/v1/primaries")?;
    let names: Vec<&str> = all.iter().map(|one| one.name.as_str()).collect();
    match names[..] {
        [one] => Ok(one.to_owned()),
        [] => Err(CliError::new(Finish::Usage, "choose a primary: there is none")
            .with_hint("`umbra primary add NAME` takes this machine under care")),
        _ => Err(CliError::new(Finish::Usage, "choose a primary: there are several")
            .with_hint(format!("name one of {}", names.join(", ")))),
    }
}
