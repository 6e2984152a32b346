//! Rolling back, confirming, undoing.

use std::io::BufRead;

use umbra_api::client::Client;
use umbra_drift::service::{RollbackInfo, RollbackReply, RollbackRequest};
use umbra_rehearse::Kind;
use umbra_rehearse::service::{RehearseReply, RehearseRequest};
use umbra_state::Verdict;

use super::{selection, target, the_one};
use crate::args::drift::RollBack;
use crate::commands::rehearse::of_report;
use crate::commands::{Done, absolute};
use crate::error::{CliError, Finish};
use crate::screen::{rehearsal, rollback as screen};
use crate::ui::Ui;

/// Plans a rollback, shows it, and makes it if that is wanted.
pub(super) fn roll_back(ui: &Ui, client: &Client, asked: RollBack) -> Done {
    let RollBack { primary, which, key, to, dry_run, yes, overwrite, force, .. } = asked;
    let confirm_timeout = asked.confirm_timeout;
    let mut chosen = selection(which);
    chosen.key = key;
    let place = target(&primary, "/rollbacks");
    let plan = RollbackRequest {
        to,
        selection: chosen,
        dry_run: true,
        overwrite,
        confirm_ms: confirm_timeout.map(|seconds| seconds * 1000),
        ignore_packages: force,
    };
    if asked.rehearse {
        let request = RehearseRequest {
            what: Kind::Rollback,
            selection: plan.selection.clone(),
            to,
            overwrite,
            recipe: asked.recipe.as_deref().map(absolute).transpose()?,
            provider: None,
        };
        let reply: RehearseReply = client.post(&target(&primary, "/rehearse"), &request)?;
        if reply.report.verdict != Verdict::Pass {
            ui.answer_with(&reply, rehearsal::report)?;
            ui.story("nothing was changed");
            return Ok(of_report(&reply));
        }
        ui.story_raw(&rehearsal::report(&reply));
    }
    if !yes || dry_run {
        let planned: RollbackReply = client.post(&place, &plan)?;
        if dry_run || planned.plan.is_empty() || !planned.plan.conflicts.is_empty() {
            ui.answer_with(&planned, screen::plan)?;
            return Ok(of_plan(&planned));
        }
        if !ui.can_ask() {
            ui.story_raw(&screen::plan(&planned));
            let message = format!("roll {primary} back: nobody can be asked here");
            return Err(CliError::new(Finish::Usage, message)
                .with_hint("`--yes` does not ask, `--dry-run` only plans"));
        }
        ui.story_raw(&screen::plan(&planned));
        ui.story_raw("Do it? [y/N] ");
        let mut line = String::new();
        // A terminal that cannot be read has not said yes.
        let _ = std::io::stdin().lock().read_line(&mut line);
        if !matches!(line.trim(), "y" | "yes") {
            ui.story("nothing was changed");
            return Ok(Finish::Inconclusive);
        }
    }
    let done: RollbackReply = client.post(&place, &RollbackRequest { dry_run: false, ..plan })?;
    ui.answer_with(&done, screen::done)?;
    Ok(of_rollback(&done))
}

/// Says that the rollback that waits is good, or undoes it.
pub(super) fn decide(ui: &Ui, client: &Client, primary: Option<String>, confirm: bool) -> Done {
    let primary = the_one(client, primary)?;
    let word = if confirm { "/confirm" } else { "/abort" };
    let done: RollbackReply = client.post(&target(&primary, word), &())?;
    ui.answer_with(&done, screen::done)?;
    let undone = !confirm && done.rollback.as_ref().is_some_and(screen::is_undone);
    Ok(if undone { Finish::Pass } else { of_rollback(&done) })
}

/// Lists a primary's rollbacks.
pub(super) fn list(ui: &Ui, client: &Client, primary: Option<String>) -> Done {
    let primary = the_one(client, primary)?;
    let all: Vec<RollbackInfo> = client.get(&target(&primary, "/rollbacks"))?;
    ui.answer_with(&all, |all| screen::list(all))?;
    Ok(Finish::Pass)
}

/// A plan with conflicts is nothing to go by.
fn of_plan(reply: &RollbackReply) -> Finish {
    if reply.plan.conflicts.is_empty() { Finish::Pass } else { Finish::Inconclusive }
}

/// Only what is done, or done and waits, is a success: what was reverted never is.
fn of_rollback(reply: &RollbackReply) -> Finish {
    match reply.rollback.as_ref().map(screen::is_good) {
        None => of_plan(reply),
        Some(true) => Finish::Pass,
        Some(false) => Finish::Fail,
    }
}
