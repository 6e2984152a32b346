//! Trying a drift, its rollback or a reboot on a shadow.

use umbra_api::client::Client;
use umbra_rehearse::Kind;
use umbra_rehearse::service::{RehearseReply, RehearseRequest};

use super::drift::selection;
use super::primary::{target, the_one};
use super::{Done, absolute};
use crate::args::drift::{Rehearse, Rehearsed};
use crate::error::{CliError, Finish};
use crate::screen::rehearsal as screen;
use crate::ui::Ui;

/// Tries it and says what would break.
pub(super) fn rehearse(ui: &Ui, client: &Client, asked: Rehearse) -> Done {
    let Rehearse { what, primary, which, both, to, recipe, provider } = asked;
    let what = match (what, both) {
        (Rehearsed::Drift | Rehearsed::Rollback, true) => Kind::Both,
        (Rehearsed::Drift, false) => Kind::Drift,
        (Rehearsed::Rollback, false) => Kind::Rollback,
        (Rehearsed::Reboot, false) => Kind::Reboot,
        (Rehearsed::Reboot, true) => {
            let message = "rehearse a reboot in either order: there is only one";
            return Err(CliError::new(Finish::Usage, message)
                .with_hint("`--both` is for a drift and its rollback"));
        }
    };
    let primary = the_one(client, primary)?;
    let recipe = recipe.as_deref().map(absolute).transpose()?;
    let selection = selection(which);
    let request = RehearseRequest { what, selection, to, overwrite: false, recipe, provider };
    let reply: RehearseReply = client.post(&target(&primary, "/rehearse"), &request)?;
    ui.answer_with(&reply, screen::report)?;
    Ok(of_report(&reply))
}

/// The exit code of what a rehearsal says.
pub(super) fn of_report(reply: &RehearseReply) -> Finish {
    reply.report.verdict.into()
}
