//! Following what happens to primaries.

use umbra_api::client::{Client, percent};
use umbra_drift::service::Event;

use crate::commands::Done;
use crate::error::Finish;
use crate::screen::drift as screen;
use crate::ui::Ui;

/// Tells what happens until nobody listens or the daemon ends.
pub(super) fn follow(
    ui: &Ui,
    client: &Client,
    primary: Option<&str>,
    from: Option<u64>,
    verbose: bool,
) -> Done {
    let mut target = "/v1/drift/events?follow=true".to_owned();
    if let Some(primary) = primary {
        target.push_str(&format!("&primary={}", percent(primary)));
    }
    if let Some(from) = from {
        target.push_str(&format!("&from={from}"));
    }
    let events = client.follow::<Event>(&target)?;
    if !ui.json() && from.is_none() {
        ui.story("watching; Ctrl-C ends this and nothing else");
    }
    for event in events {
        let event = event?;
        if ui.json() {
            ui.answer(&format!("{}\n", serde_json::to_string(&event).unwrap_or_default()))?;
        } else if let Some(text) = screen::event(&event, verbose) {
            ui.answer(&text)?;
        }
    }
    Ok(Finish::Pass)
}
