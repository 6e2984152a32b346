//! What a rollout rests on: how it stands, and all that happened.

use umbra_api::client::Client;
use umbra_api::rollout::RolloutStatus;

use super::Done;
use crate::error::Finish;
use crate::screen::rollout::explain::{Explained, text};
use crate::ui::{Paint, Ui};

/// Shows it.
pub(super) fn explain(ui: &Ui, client: &Client, rollout: RolloutStatus) -> Done {
    let events = client.rollout_events_so_far(rollout.id)?.collect::<Result<Vec<_>, _>>()?;
    let explained = Explained { rollout, events };
    ui.answer_with(&explained, |explained| text(explained, Paint::plain()))?;
    Ok(Finish::Pass)
}
