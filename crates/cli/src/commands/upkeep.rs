//! The daemon, the store and this machine.

use std::path::Path;

use serde::Serialize;
use umbra_api::client::{Client, ClientError};
use umbra_api::daemon::{FsckReply, GcReply, GcRequest, Health, VersionInfo};
use umbra_api::state::ExportRequest;
use umbra_daemon::instances::{KeeperClient, KeeperInfo};

use super::{Done, absolute};
use crate::error::Finish;
use crate::screen::{safe, units};
use crate::ui::Ui;

/// Removes what nothing needs.
pub(super) fn gc(ui: &Ui, client: &Client, dry_run: bool) -> Done {
    let reply = client.gc(GcRequest { dry_run })?;
    ui.answer_with(&reply, gc_text)?;
    Ok(Finish::Pass)
}

fn gc_text(reply: &GcReply) -> String {
    let verb = if reply.dry_run { "would remove" } else { "removed" };
    format!(
        "{verb} {} states and {} objects, {}; {} states stay\n",
        reply.states_removed,
        reply.objects_removed,
        units::bytes(reply.bytes_freed),
        reply.states_kept
    )
}

/// Checks the store; what is wrong is a failure.
pub(super) fn fsck(ui: &Ui, client: &Client) -> Done {
    let reply = client.fsck()?;
    ui.answer_with(&reply, fsck_text)?;
    Ok(if reply.findings.is_empty() { Finish::Pass } else { Finish::Fail })
}

fn fsck_text(reply: &FsckReply) -> String {
    let mut text: String =
        reply.findings.iter().map(|finding| format!("{}\n", safe(finding))).collect();
    let verdict = match reply.findings.len() {
        0 => "clean".to_owned(),
        1 => "1 problem".to_owned(),
        count => format!("{count} problems"),
    };
    text.push_str(&format!(
        "{verdict}: {} states and {} objects checked\n",
        reply.states, reply.objects
    ));
    text
}

/// What is to be written out, and as what.
pub(super) struct Export {
    pub(super) state: String,
    pub(super) format: String,
    pub(super) size: Option<u64>,
}

/// Writes a state out.
pub(super) fn export(ui: &Ui, client: &Client, what: Export, output: &Path) -> Done {
    let path = absolute(output)?;
    let Export { state, format, size } = what;
    let reply = client.export(&ExportRequest { state, format, path, size })?;
    ui.answer_with(&reply, |reply| {
        let took = units::micros(reply.took_us);
        format!("state {} is in {} ({took})\n", reply.state.short(), safe(&reply.path))
    })?;
    for warning in &reply.warnings {
        ui.story(&format!("warning: {}", safe(warning)));
    }
    if !reply.left_out.is_empty() {
        let (count, first) = (reply.left_out.len(), safe(&reply.left_out[0]));
        ui.story(&format!("warning: the format cannot hold {count} paths, first: {first}"));
    }
    Ok(Finish::Pass)
}

#[derive(Serialize)]
struct Versions {
    client: &'static str,
    daemon: Option<VersionInfo>,
    /// It may be of an older version than the daemon, which it outlives.
    keeper: Option<KeeperInfo>,
}

/// All versions; a daemon that does not run is no failure here.
pub(super) fn version(ui: &Ui, client: &Client, keeper: &KeeperClient) -> Done {
    let daemon = match client.version() {
        Ok(info) => Some(info),
        Err(ClientError::Connect { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let keeper = keeper.info()?;
    let versions = Versions { client: env!("CARGO_PKG_VERSION"), daemon, keeper };
    ui.answer_with(&versions, |it| {
        let mut text = format!("umbra {}\n", it.client);
        match &it.daemon {
            Some(daemon) => text.push_str(&format!(
                "daemon {} (process {}, state in {}, shadows by {})\n",
                safe(&daemon.version),
                daemon.pid,
                safe(&daemon.state_dir),
                safe(&daemon.provider)
            )),
            None => text.push_str("no daemon runs; start one with `umbra serve`\n"),
        }
        if let Some(keeper) = &it.keeper {
            let version = safe(&keeper.version);
            text.push_str(&format!("keeper {version} (process {}, of instances)\n", keeper.pid));
        }
        text
    })?;
    Ok(Finish::Pass)
}

/// Whether the daemon is well.
pub(super) fn health(ui: &Ui, client: &Client) -> Done {
    let health = client.health()?;
    ui.answer_with(&health, health_text)?;
    Ok(if health.ok { Finish::Pass } else { Finish::Environment })
}

/// What is counted.
pub(super) fn metrics(ui: &Ui, client: &Client) -> Done {
    ui.answer_with(&client.scrape()?, String::clone)?;
    Ok(Finish::Pass)
}

fn health_text(health: &Health) -> String {
    let mut text = format!(
        "{}: {} builds run, {} shadows\n",
        if health.ok { "well" } else { "not well" },
        health.builds_running,
        health.shadows
    );
    for note in &health.start_notes {
        text.push_str(&format!("{}\n", safe(note)));
    }
    text
}
