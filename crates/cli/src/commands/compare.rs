//! `umbra compare`.

use std::path::Path;
use std::time::Duration;

use umbra_gateway::compare::report::CompareReport;
use umbra_state::Verdict;

use super::Done;
use super::gateway::{client, reached};
use crate::args::compare::Compare;
use crate::screen::compare as screen;
use crate::ui::Ui;

/// How often it is asked while somebody watches.
const EVERY: Duration = Duration::from_secs(2);

/// Says how a comparison stands; the exit code is its verdict.
pub(super) fn compare(ui: &Ui, state_dir: &Path, asked: Compare) -> Done {
    let client = client(state_dir, asked.control);
    let samples = usize::from(asked.samples);
    let ask = || client.get::<CompareReport>("/v1/compare").map_err(reached);
    let mut report = ask()?;
    while asked.watch && report.verdict == Verdict::Inconclusive && report.ended.is_none() {
        match ui.is_watched() {
            true => ui.story_raw(&format!("\x1b[H\x1b[2J{}", screen::text(&report, samples))),
            false => ui.story(&screen::line(&report)),
        }
        std::thread::sleep(EVERY);
        report = ask()?;
    }
    ui.answer_with(&report, |report| screen::text(report, samples))?;
    Ok(report.verdict.into())
}
