//! Tables of builds, images, shadows, timelines and measured numbers.

use umbra_api::build::BuildInfo;
use umbra_api::image::{ImageInfo, MetricPoint, TimelineEntry};
use umbra_api::shadow::ShadowInfo;
use umbra_api::state::FileList;
use umbra_state::Cause;

use super::summary::{right, table, trimmed};
use super::{safe, units, verdict_word};

/// Builds, newest first.
pub fn builds(builds: &[BuildInfo]) -> String {
    if builds.is_empty() {
        return "no builds yet\n".into();
    }
    let mut table =
        table(&["build", "image", "phase", "verdict", "state", "started", "took", "why"]);
    for build in builds {
        let took = build.ended_at_ms.map(|end| (end - build.started_at_ms).max(0).unsigned_abs());
        table.add_row(vec![
            right(build.id.to_string()),
            safe(&build.name).into(),
            format!("{:?}", build.phase).to_lowercase().into(),
            verdict_word(build.verdict).into(),
            build.state.map_or(String::new(), |state| state.short()).into(),
            units::moment(build.started_at_ms).into(),
            right(took.map_or(String::new(), |ms| units::micros(ms * 1000))),
            safe(build.reason.as_deref().unwrap_or_default()).into(),
        ]);
    }
    trimmed(&table)
}

/// Images by name.
pub fn images(images: &[ImageInfo]) -> String {
    if images.is_empty() {
        return "no images yet\n".into();
    }
    let mut table = table(&["image", "state", "build", "sealed"]);
    for image in images {
        table.add_row(vec![
            safe(&image.name).into(),
            image.state.short().into(),
            right(image.build.to_string()),
            units::moment(image.sealed_at_ms).into(),
        ]);
    }
    trimmed(&table)
}

/// Shadows by name.
pub fn shadows(shadows: &[ShadowInfo]) -> String {
    if shadows.is_empty() {
        return "no shadows\n".into();
    }
    let mut table =
        table(&["shadow", "provider", "phase", "state", "owner", "address", "created", "until"]);
    for shadow in shadows {
        table.add_row(vec![
            safe(&shadow.name),
            safe(&shadow.provider),
            format!("{:?}", shadow.phase).to_lowercase(),
            shadow.state.map_or(String::new(), |state| state.short()),
            safe(&shadow.owner),
            safe(shadow.address.as_deref().unwrap_or_default()),
            units::moment(shadow.created_at_ms),
            shadow.expires_at_ms.map_or(String::new(), units::moment),
        ]);
    }
    trimmed(&table)
}

/// A timeline, oldest first.
pub fn timeline(entries: &[TimelineEntry]) -> String {
    let mut table = table(&["#", "time", "state", "cause", "labels"]);
    for entry in entries {
        table.add_row(vec![
            right(entry.sequence.to_string()),
            units::moment(entry.at_ms).into(),
            entry.state.short().into(),
            cause(&entry.cause).into(),
            safe(&entry.labels.join(", ")).into(),
        ]);
    }
    trimmed(&table)
}

/// Measured numbers, newest first.
pub fn metrics(points: &[MetricPoint]) -> String {
    if points.is_empty() {
        return "nothing was measured yet\n".into();
    }
    let mut table = table(&["time", "build", "step", "test", "metric", "value", "unit"]);
    for point in points {
        table.add_row(vec![
            units::moment(point.at_ms).into(),
            right(point.build.to_string()),
            safe(&point.step).into(),
            safe(&point.test).into(),
            safe(&point.name).into(),
            right(format!("{:.3}", point.value)),
            safe(&point.unit).into(),
        ]);
    }
    trimmed(&table)
}

/// A state's files, as `ls -l` would.
pub fn files(list: &FileList) -> String {
    let mut out = String::new();
    for file in &list.files {
        let target = file.target.as_ref().map_or(String::new(), |target| format!(" -> {target}"));
        out.push_str(&format!(
            "{:<9} {} {:>5} {:>5} {:>12} {}{target}\n",
            file.r#type, file.mode, file.uid, file.gid, file.size, file.path
        ));
    }
    if list.omitted > 0 {
        out.push_str(&format!("... and {} more\n", list.omitted));
    }
    out
}

/// Why a timeline has an entry.
pub(super) fn cause(cause: &Cause) -> String {
    match cause {
        Cause::BuildStep { build, step } => format!("build {build}, step {}", safe(step)),
        Cause::Capture { source } => format!("captured from {}", safe(source)),
        Cause::Import { source } => format!("imported from {}", safe(source)),
        Cause::Seal { build } => format!("sealed by build {build}"),
        Cause::Accept { reason } => format!("accepted: {}", safe(reason)),
        Cause::Displaced { rollback } => format!("before rollback {rollback}"),
        Cause::Rollback { rollback, to } => format!("rollback {rollback} to #{to}"),
        Cause::Rollout { rollout } => format!("rollout {rollout}"),
        Cause::RolledBack { rollout } => format!("rollout {rollout} was rolled back"),
    }
}
