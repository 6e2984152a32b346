//! Commands that only look.

use serde::Serialize;
use umbra_api::build::{BuildEvent, BuildInfo};
use umbra_api::client::Client;
use umbra_api::image::ImageInfo;

use super::Done;
use crate::error::Finish;
use crate::screen::model::Model;
use crate::screen::{difference, lists, plain};
use crate::ui::Ui;

const METRICS: u32 = 200;

#[derive(Serialize)]
struct Overview {
    builds: Vec<BuildInfo>,
    images: Vec<ImageInfo>,
}

/// Builds and images.
pub(super) fn ls(ui: &Ui, client: &Client, limit: u32) -> Done {
    let overview = Overview { builds: client.builds(limit)?, images: client.images()? };
    ui.answer_with(&overview, |it| {
        format!("{}\n{}", lists::images(&it.images), lists::builds(&it.builds))
    })?;
    Ok(Finish::Pass)
}

/// An image's timeline or a build's events so far.
pub(super) fn log(ui: &Ui, client: &Client, name: &str, metrics: bool) -> Done {
    if metrics {
        let points = client.metrics(name, METRICS)?;
        ui.answer_with(&points, |points| lists::metrics(points))?;
    } else if let Ok(build) = name.parse() {
        let events: Vec<BuildEvent> = client.events_so_far(build, 0)?.collect::<Result<_, _>>()?;
        ui.answer_with(&events, |events| build_log(events))?;
    } else {
        let entries = client.timeline(name)?;
        ui.answer_with(&entries, |entries| lists::timeline(entries))?;
    }
    Ok(Finish::Pass)
}

fn build_log(events: &[BuildEvent]) -> String {
    let mut model = Model::default();
    let mut text = String::new();
    for event in events {
        model.on(event);
        for line in plain::lines(&model, event, true) {
            text.push_str(&line);
            text.push('\n');
        }
    }
    text
}

/// What differs between two states.
pub(super) fn diff(ui: &Ui, client: &Client, a: &str, b: &str, stat: bool, content: bool) -> Done {
    let reply = client.diff(a, b, content)?;
    ui.answer_with(&reply, |reply| difference::text(reply, stat))?;
    Ok(Finish::Pass)
}

/// A state's files.
pub(super) fn files(ui: &Ui, client: &Client, state: &str, path: &str, limit: u32) -> Done {
    let list = client.files(state, path, limit)?;
    ui.answer_with(&list, lists::files)?;
    Ok(Finish::Pass)
}
