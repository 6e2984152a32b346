//! What differs between primaries and their shadows, and what to do about it.

mod configuration;
mod follow;
mod look;
mod undo;

use umbra_api::client::{Client, percent};
use umbra_drift::service::{
    AcceptReply, AcceptRequest, Blame, Forecast, Selection, ShadowDiff, ShadowEntry, TakeShadow,
};

use super::Done;
use super::primary::{target, the_one};
use crate::args::drift::{Between, Drift, Which};
use crate::error::{CliError, Finish};
use crate::screen::{drift as screen, forecast};
use crate::ui::Ui;

/// Does it.
pub(super) fn drift(ui: &Ui, client: &Client, command: Drift) -> Done {
    match command {
        Drift::Init { root, output, force } => {
            configuration::init(ui, root.as_deref(), &output, force)
        }
        Drift::Import { from, file, output, force } => {
            configuration::import(ui, from, &file, &output, force)
        }
        Drift::Watch { primary, from, verbose } => {
            follow::follow(ui, client, primary.as_deref(), from, verbose)
        }
        Drift::Check(check) => look::look(ui, client, check, true),
        Drift::Show(check) => look::look(ui, client, check, false),
        Drift::Forecast { primary } => {
            let primary = the_one(client, primary)?;
            let all: Vec<Forecast> = client.get(&target(&primary, "/forecast"))?;
            ui.answer_with(&all, |all| forecast::list(all))?;
            Ok(Finish::Pass)
        }
        Drift::Log { primary } => log(ui, client, primary),
        Drift::Diff { primary, between } => diff(ui, client, &primary, between),
        Drift::Blame { primary, parameter, limit } => {
            blame(ui, client, &primary, &parameter, limit)
        }
        Drift::Accept { primary, which, reason } => accept(ui, client, &primary, which, reason),
        Drift::Rollback(asked) => undo::roll_back(ui, client, asked),
        Drift::Confirm { primary } => undo::decide(ui, client, primary, true),
        Drift::Abort { primary } => undo::decide(ui, client, primary, false),
        Drift::Rollbacks { primary } => undo::list(ui, client, primary),
        Drift::Schema => {
            let schema = serde_json::to_string_pretty(&umbra_drift::config::schema());
            let schema = schema
                .map_err(|error| CliError::because(Finish::Bug, "write the schema", &error))?;
            ui.answer(&format!("{schema}\n"))?;
            Ok(Finish::Pass)
        }
    }
}

/// Takes a shadow of a primary as it is now.
pub(super) fn take(
    ui: &Ui,
    client: &Client,
    primary: Option<String>,
    labels: Vec<String>,
    keep: bool,
) -> Done {
    let primary = the_one(client, primary)?;
    let taken: ShadowEntry =
        client.post(&target(&primary, "/shadows"), &TakeShadow { labels, keep })?;
    ui.answer_with(&taken, |taken| screen::taken(&primary, taken))?;
    Ok(Finish::Pass)
}

/// The facts that were named.
pub(super) fn selection(which: Which) -> Selection {
    Selection { parameters: which.parameters, paths: which.paths, key: None }
}

fn log(ui: &Ui, client: &Client, primary: Option<String>) -> Done {
    let primary = the_one(client, primary)?;
    let shadows: Vec<ShadowEntry> = client.get(&target(&primary, "/shadows"))?;
    ui.answer_with(&shadows, |shadows| screen::timeline(shadows))?;
    Ok(Finish::Pass)
}

fn diff(ui: &Ui, client: &Client, primary: &str, between: Between) -> Done {
    let Between { from, to } = between;
    let to = to.map_or(String::new(), |to| format!("&to={to}"));
    let diff: ShadowDiff = client.get(&target(primary, &format!("/diff?from={from}{to}")))?;
    ui.answer_with(&diff, |diff| screen::diff(primary, diff))?;
    Ok(Finish::Pass)
}

fn blame(ui: &Ui, client: &Client, primary: &str, parameter: &str, limit: u32) -> Done {
    let place = format!("/blame/{}?limit={limit}", percent(parameter));
    let blame: Vec<Blame> = client.get(&target(primary, &place))?;
    ui.answer_with(&blame, |blame| screen::blame(blame))?;
    Ok(Finish::Pass)
}

fn accept(ui: &Ui, client: &Client, primary: &str, which: Which, reason: String) -> Done {
    let request = AcceptRequest { selection: selection(which), reason };
    let accepted: AcceptReply = client.post(&target(primary, "/accept"), &request)?;
    ui.answer_with(&accepted, screen::accepted)?;
    Ok(Finish::Pass)
}
