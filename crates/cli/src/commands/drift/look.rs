//! What differs now.

use umbra_api::client::Client;
use umbra_drift::report::{self, Check, Entry, Unread};
use umbra_drift::service::{DriftReply, PrimaryInfo, ShadowEntry};

use super::{selection, target, the_one};
use crate::args::drift::{self as args, DriftFormat, ExitCodes};
use crate::commands::Done;
use crate::error::Finish;
use crate::screen::rehearsal;
use crate::ui::Ui;

/// Says what differs, in the form and with the exit code that were asked for; `fresh` reads
/// everything again first.
pub(super) fn look(ui: &Ui, client: &Client, asked: args::Check, fresh: bool) -> Done {
    let args::Check { primary, which, format, exit_code } = asked;
    let primary = the_one(client, primary)?;
    let info: PrimaryInfo = client.get(&target(&primary, ""))?;
    let reply: DriftReply = client.get(&target(&primary, &format!("/drift?fresh={fresh}")))?;
    let shadows: Vec<ShadowEntry> = client.get(&target(&primary, "/shadows"))?;
    let chosen = selection(which);
    let entries = reply
        .alerts
        .into_iter()
        .filter(|alert| chosen.holds(&alert.discrepancy.item, alert.path.as_ref()));
    let unread = reply.unknown.into_iter().filter(|(item, _)| chosen.holds(item, None));
    let check = Check {
        primary,
        shadow_at_ms: shadows.iter().find(|one| one.good).map_or(0, |good| good.taken_at_ms),
        checked_at_ms: reply.looked_at_ms.unwrap_or_default(),
        parameters: info.parameters,
        items: reply.items,
        entries: entries
            .map(|alert| Entry {
                discrepancy: alert.discrepancy,
                attribution: alert.attribution,
                path: alert.path,
                since_ms: Some(alert.since_ms),
            })
            .collect(),
        unread: unread.map(|(item, why)| Unread { item, why }).collect(),
    };
    let format = if ui.json() { report::Format::Json } else { form(format) };
    ui.answer(&check.render(format))?;
    if let (report::Format::Text, Some(told)) = (format, &reply.rehearsal) {
        ui.answer(&rehearsal::told(told))?;
    }
    let codes = match exit_code {
        ExitCodes::Aide => report::ExitCodes::Aide,
        ExitCodes::Terraform => report::ExitCodes::Terraform,
    };
    Ok(Finish::Command(codes.of(&check)))
}

fn form(format: DriftFormat) -> report::Format {
    match format {
        DriftFormat::Text => report::Format::Text,
        DriftFormat::Json => report::Format::Json,
        DriftFormat::Ndjson => report::Format::Ndjson,
        DriftFormat::Aide => report::Format::Aide,
        DriftFormat::Rpm => report::Format::Rpm,
        DriftFormat::Sarif => report::Format::Sarif,
    }
}
