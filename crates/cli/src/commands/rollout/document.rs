//! Files that say how to roll out.

use std::path::Path;

use umbra_rollout::spec::{self, Spec};

use super::Done;
use crate::error::{CliError, Finish};
use crate::ui::Ui;

/// Names all that is wrong with one.
pub(super) fn check(ui: &Ui, path: &Path) -> Done {
    let spec = load(ui, path)?;
    ui.answer_with(&spec, |_| String::new())?;
    ui.story(&format!("{} makes sense", path.display()));
    Ok(Finish::Pass)
}

/// Prints the JSON Schema.
pub(super) fn schema(ui: &Ui) -> Done {
    ui.answer_with(&spec::schema(), |schema| format!("{schema:#}\n"))?;
    Ok(Finish::Pass)
}

/// Checks one here, so that its problems are shown before a daemon is bothered, and that it is
/// of this service.
pub(super) fn of_service(ui: &Ui, path: &Path, service: &str) -> Result<(), CliError> {
    let spec = load(ui, path)?;
    if spec.service == service {
        return Ok(());
    }
    let message =
        format!("roll out {service:?} by {}, which is of {:?}", path.display(), spec.service);
    Err(CliError::new(Finish::Usage, message)
        .with_hint("the service that is typed and `service` of the file have to be the same"))
}

/// Problems go to standard error, or as JSON to standard output where that was asked for.
fn load(ui: &Ui, path: &Path) -> Result<Spec, CliError> {
    let problems = match spec::load(path) {
        Ok(spec) => return Ok(spec),
        Err(problems) => problems,
    };
    if ui.json() {
        ui.answer_with(&problems, |_| String::new())?;
    } else {
        ui.story(problems.render(ui.paint().is_coloured()).trim_end());
    }
    Err(CliError::new(Finish::Usage, format!("accept the rollout of {}", path.display()))
        .with_hint("`umbra rollout schema` prints what a file may hold"))
}
