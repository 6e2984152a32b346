//! `umbra route`, and the routes a gateway begins with.

use std::path::Path;

use umbra_gateway::control::RouteStatus;
use umbra_gateway::routes::{RoutesSetup, file};

use super::Done;
use super::gateway::{client, reached};
use crate::args::gateway::Route;
use crate::error::{CliError, Finish};
use crate::screen::gateway as screen;
use crate::ui::Ui;

const TARGET: &str = "/v1/routes";
const STATUS: &str = "/v1/routes/status";

/// Sees and changes routes of a gateway that runs.
pub(super) fn route(ui: &Ui, state_dir: &Path, command: Route) -> Done {
    let status: Vec<RouteStatus> = match command {
        Route::List { control } => client(state_dir, control).get(STATUS),
        Route::Schema => {
            let schema = file::schema();
            ui.answer_with(&schema, |schema| format!("{schema:#}\n"))?;
            return Ok(Finish::Pass);
        }
        Route::Apply { file, dry_run, control } => {
            let setup = load(ui, &file)?;
            if dry_run {
                ui.story(&format!("{} makes sense", file.display()));
                return Ok(Finish::Pass);
            }
            client(state_dir, control).post(TARGET, &setup)
        }
        Route::Weigh { route, weights, control } => {
            let client = client(state_dir, control);
            let status: Vec<RouteStatus> = client.get(STATUS).map_err(reached)?;
            refuse_managed(&status, &route)?;
            let mut setup: RoutesSetup = client.get(TARGET).map_err(reached)?;
            for weight in &weights {
                weigh(&mut setup, &route, weight)?;
            }
            client.post(TARGET, &setup)
        }
        Route::Release { route, to_nothing, control } => {
            let to = if to_nothing { "?to=nothing" } else { "" };
            let target = format!("{TARGET}/{}/release{to}", plain(&route)?);
            client(state_dir, control).post(&target, &())
        }
    }
    .map_err(reached)?;
    ui.answer_with(&status, |status| screen::routes(status))?;
    Ok(Finish::Pass)
}

/// Reads a file of routes, and shows all that is wrong with it.
pub(super) fn load(ui: &Ui, path: &Path) -> Result<RoutesSetup, CliError> {
    file::load(path).map_err(|problems| {
        ui.story(problems.render(ui.paint().is_coloured()).trim_end());
        CliError::new(Finish::Usage, format!("accept the routes of {}", path.display()))
            .with_hint("`umbra route schema` prints what a file may hold")
    })
}

/// Weights of the file would not be in force.
fn refuse_managed(status: &[RouteStatus], route: &str) -> Result<(), CliError> {
    let managed = status.iter().find(|one| one.name == route).and_then(|one| one.managed.as_ref());
    let Some(managed) = managed else { return Ok(()) };
    let message = format!("weigh targets of {route:?}: rollout {} manages it", managed.rollout);
    Err(CliError::new(Finish::Usage, message)
        .with_hint("`umbra route release NAME` gives it back, once the rollout is over"))
}

/// A route's name as it may stand in a path.
fn plain(route: &str) -> Result<&str, CliError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let is_plain = !route.is_empty() && route.chars().all(plain);
    let refused = || CliError::new(Finish::Usage, format!("find a route {route:?}"));
    is_plain.then_some(route).ok_or_else(refused)
}

fn weigh(setup: &mut RoutesSetup, route: &str, weight: &str) -> Result<(), CliError> {
    let usage = |message: String| CliError::new(Finish::Usage, message);
    let (to, text) = weight
        .rsplit_once('=')
        .ok_or_else(|| usage(format!("read {weight:?}: expected HOST:PORT=WEIGHT")))?;
    let weight: f64 = text
        .parse()
        .map_err(|_| usage(format!("read {text:?} as a weight: expected a number such as 5")))?;
    let known = setup.routes.iter().map(|one| one.name.clone()).collect::<Vec<_>>().join(", ");
    let found = setup.routes.iter_mut().find(|one| one.name == route);
    let found = found.ok_or_else(|| {
        usage(format!("find a route {route:?}")).with_hint(format!("there are: {known}"))
    })?;
    let known: Vec<String> = found.targets.iter().map(|one| one.to.clone()).collect();
    let target = found.targets.iter_mut().find(|one| one.to == to).ok_or_else(|| {
        usage(format!("find a target {to:?} of route {route:?}"))
            .with_hint(format!("there are: {}", known.join(", ")))
    })?;
    target.weight = weight;
    Ok(())
}
