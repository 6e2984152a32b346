//! `umbra rollout`.

mod document;
mod explain;
mod follow;
mod replay;
mod which;

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use umbra_api::client::Client;
use umbra_api::rollout::{RolloutPhase, RolloutStatus, StartRollout, Told};

use super::{Done, absolute};
use crate::args::rollout::{Rollout, Start, Which};
use crate::error::Finish;
use crate::screen::rollout::model::Model;
use crate::screen::rollout::{ending, list, live, words};
use crate::screen::safe;
use crate::ui::{Paint, Ui};

/// Starts, follows and tells rollouts, and shows what they rest on.
pub(super) fn rollout(ui: &Ui, client: &Client, command: Rollout) -> Done {
    let tell = |asked: Which, told| tell(ui, client, &asked, told);
    match command {
        Rollout::Start(asked) => start(ui, client, asked),
        Rollout::Watch { which } => follow::follow(ui, client, which::asked(client, &which)?),
        Rollout::Status { which } => status(ui, &which::asked(client, &which)?),
        Rollout::Ls { limit } => ls(ui, client, limit),
        Rollout::Explain { which } => explain::explain(ui, client, which::asked(client, &which)?),
        Rollout::Replay { journal } => replay::replay(ui, &journal),
        Rollout::Check { file } => document::check(ui, &file),
        Rollout::Schema => document::schema(ui),
        Rollout::Promote { which, full: false } => tell(which, Told::Promote),
        Rollout::Promote { which, full: true } => tell(which, Told::PromoteFull),
        Rollout::Abort { which } => tell(which, Told::Abort),
        Rollout::Pause { which } => tell(which, Told::Pause),
        Rollout::Resume { which } => tell(which, Told::Resume),
        Rollout::Retry { which } => tell(which, Told::Retry),
        Rollout::Undo { which } => tell(which, Told::Undo),
    }
}

fn start(ui: &Ui, client: &Client, asked: Start) -> Done {
    if let Some(file) = &asked.file {
        document::of_service(ui, file, &asked.service)?;
    }
    let path = |path: &Path| absolute(path).map(Into::into);
    let request = StartRollout {
        service: asked.service,
        file: asked.file.as_deref().map(path).transpose()?,
        gateway: asked.gateway.as_deref().map(path).transpose()?,
        candidate: asked.candidate.into_candidate(),
    };
    let status = client.start_rollout(&request)?;
    if asked.watch || (ui.is_watched() && !asked.detach) {
        return follow::follow(ui, client, status);
    }
    ui.answer_with(&status, |status| format!("{}\n", status.id))?;
    ui.story(&format!("rollout {0} goes on; follow it with: umbra rollout watch {0}", status.id));
    Ok(Finish::Pass)
}

fn status(ui: &Ui, status: &RolloutStatus) -> Done {
    ui.answer_with(status, |status| {
        let screen = Model::new(status.clone());
        let mut lines = live::lines(&screen, now_ms(), usize::MAX, Paint::plain());
        if status.phase.is_over() {
            lines.push(String::new());
            lines.extend(ending::lines(status, Paint::plain()));
        }
        lines.join("\n") + "\n"
    })?;
    Ok(Finish::Pass)
}

fn ls(ui: &Ui, client: &Client, limit: u32) -> Done {
    ui.answer_with(&client.rollouts(limit)?, |all| list::table_of(all, now_ms()))?;
    Ok(Finish::Pass)
}

fn tell(ui: &Ui, client: &Client, asked: &Which, told: Told) -> Done {
    let known = which::told(client, asked, told)?;
    let status = client.tell_rollout(known.id, told)?;
    ui.answer_with(&status, said)?;
    if !status.phase.is_over() {
        ui.story(&format!("follow it with: umbra rollout watch {}", status.id));
    }
    Ok(Finish::Pass)
}

/// How it stands in a line.
fn said(status: &RolloutStatus) -> String {
    let (id, service, phase) = (status.id, safe(&status.service), words::phase(status.phase));
    let why = match status.reason.is_empty() {
        true => String::new(),
        false => format!(": {}", safe(&status.reason)),
    };
    format!("rollout {id} of {service}, {}: {phase}{why}\n", words::from_to(status))
}

/// How the end of a rollout ends this program; who left before its end knows nothing.
fn exit_of(phase: RolloutPhase) -> Finish {
    match phase {
        RolloutPhase::Successful => Finish::Pass,
        RolloutPhase::Failed => Finish::Fail,
        RolloutPhase::Error => Finish::Environment,
        _ => Finish::Inconclusive,
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
