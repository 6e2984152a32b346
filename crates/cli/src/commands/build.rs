//! Builds: starting, following, answering, cancelling.

use umbra_api::build::{BuildRequest, OnError};
use umbra_api::client::Client;

use super::{Done, absolute, follow as watch, recipe, reports};
use crate::args::{AnswerArg, Build, Reports};
use crate::error::{CliError, Finish};
use crate::ui::Ui;

/// Checks the recipe, starts the build and follows it.
pub(super) fn build(ui: &Ui, client: &Client, args: &Build) -> Done {
    let recipe = recipe::check(ui, &args.file, &args.vars)?;
    if let Some(until) = &args.until
        && recipe.step_index(until).is_none()
    {
        let names: Vec<&str> = recipe.steps.iter().map(|step| step.name.as_str()).collect();
        return Err(CliError::new(Finish::Usage, format!("find the step {until:?} in the recipe"))
            .with_hint(format!("its steps are: {}", names.join(", "))));
    }
    reports::check_places(&args.reports)?;
    let request = BuildRequest {
        recipe: absolute(&args.file)?,
        vars: args.vars.clone(),
        until: args.until.clone(),
        no_cache: args.no_cache,
        on_error: args.on_error.map(OnError::from),
    };
    let info = client.start_build(&request)?;
    if args.detach {
        ui.answer_with(&info, |info| format!("{}\n", info.id))?;
        ui.story(&format!("build {0} runs; follow it with: umbra follow {0}", info.id));
        return Ok(Finish::Pass);
    }
    watch::follow(ui, client, &info, &args.vars, &args.reports)
}

/// Follows a build from its beginning.
pub(super) fn follow(ui: &Ui, client: &Client, build: Option<u64>, args: &Reports) -> Done {
    reports::check_places(args)?;
    let info = match build {
        Some(id) => client.build(id)?,
        None => client.builds(1)?.into_iter().next().ok_or_else(|| {
            CliError::new(Finish::Usage, "find a build: there is none yet")
                .with_hint("start one with `umbra build`")
        })?,
    };
    watch::follow(ui, client, &info, &[], args)
}

pub(super) fn answer(ui: &Ui, client: &Client, build: u64, answer: AnswerArg) -> Done {
    let info = client.answer_build(build, answer.into())?;
    if ui.json() {
        ui.answer_with(&info, |_| String::new())?;
    }
    Ok(Finish::Pass)
}

pub(super) fn cancel(ui: &Ui, client: &Client, build: u64) -> Done {
    let info = client.cancel_build(build)?;
    if ui.json() {
        ui.answer_with(&info, |_| String::new())?;
    } else {
        ui.story(&format!("build {build} was asked to end"));
    }
    Ok(Finish::Pass)
}
