//! A monitoring_config.yml that is written: out of what a machine has, or out of another tool's
//! configuration.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use umbra_drift::collect::Place;
use umbra_drift::defaults;
use umbra_drift::import::{self, ImportError, Note, Tool};
use umbra_state::escape::escape;

use crate::args::drift::ImportFrom;
use crate::commands::Done;
use crate::error::{CliError, Finish};
use crate::ui::Ui;

pub(super) fn init(ui: &Ui, root: Option<&Path>, output: &Path, force: bool) -> Done {
    let place = match root {
        None => Place::machine(),
        Some(root) => Place::directory(root),
    };
    let place = place.map_err(|error| {
        CliError::because(Finish::Environment, "look what is worth watching", &error)
    })?;
    write(ui, &defaults::configuration(&defaults::Survey::of(&place)), output, force)
}

pub(super) fn import(ui: &Ui, from: ImportFrom, file: &Path, output: &Path, force: bool) -> Done {
    let tool = match from {
        ImportFrom::Aide => Tool::Aide,
        ImportFrom::Osquery => Tool::Osquery,
        ImportFrom::Wazuh => Tool::Wazuh,
        ImportFrom::Goss => Tool::Goss,
    };
    let imported = import::load(tool, file).map_err(|error| refused(ui, file, &error))?;
    let done = write(ui, &imported.text, output, force)?;
    tell(ui, file, &imported.notes);
    let (parameters, notes) = (imported.parameters, imported.notes.len());
    ui.story(&format!(
        "parameters: {parameters}; said differently than in {}: {notes}",
        shown(file)
    ));
    Ok(done)
}

/// What is told of a file that becomes no configuration.
fn refused(ui: &Ui, file: &Path, error: &ImportError) -> CliError {
    match error {
        ImportError::Mistakes(problems) => {
            ui.story(problems.render(ui.paint().is_coloured()).trim_end());
        }
        ImportError::Nothing { notes } => tell(ui, file, notes),
        _ => {}
    }
    CliError::because(Finish::Usage, format!("import {}", file.display()), error)
}

/// What is different, each with its place in the other file.
fn tell(ui: &Ui, file: &Path, notes: &[Note]) {
    let file = shown(file);
    for Note { line, what } in notes {
        ui.story(&format!("{file}:{line}: {what}"));
    }
}

fn shown(file: &Path) -> String {
    escape(file.as_os_str().as_encoded_bytes()).to_string()
}

/// Writes a configuration where nothing else is lost, or prints it.
fn write(ui: &Ui, text: &str, output: &Path, force: bool) -> Done {
    if output == Path::new("-") {
        ui.answer(text)?;
        return Ok(Finish::Pass);
    }
    let failed = |error: &std::io::Error| {
        CliError::because(Finish::Environment, format!("write {}", output.display()), error)
    };
    let mut options = OpenOptions::new();
    options.write(true).truncate(force).create(force).create_new(!force);
    let mut file = match options.open(output) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let message = format!("write {}: there is one already", output.display());
            return Err(CliError::new(Finish::Usage, message)
                .with_hint("`--force` writes over it, `-o FILE` chooses another place"));
        }
        file => file.map_err(|error| failed(&error))?,
    };
    file.write_all(text.as_bytes()).map_err(|error| failed(&error))?;
    ui.story(&format!(
        "wrote {}; take a machine under care with it: umbra primary add NAME --config {0}",
        output.display()
    ));
    Ok(Finish::Pass)
}
