//! The end of a build: a table of its steps and what was measured.

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, CellAlignment, Table};

use super::model::{Model, StepPhase};
use super::{live, safe, units, verdict_word};
use crate::ui::Paint;

/// All of it.
pub fn lines(model: &Model, paint: Paint) -> Vec<String> {
    let mut out = vec![String::new()];
    out.extend(steps(model).lines().map(|line| line.trim_end().to_owned()));
    out.push(String::new());
    out.extend(figures(model));
    if let Some((image, state)) = &model.sealed {
        out.push(format!("image {}  state {state}", safe(image)));
    }
    for (format, path) in &model.exports {
        out.push(format!("export {}  {}", safe(format), safe(path)));
    }
    out.extend(live::verdict_line(model, paint));
    out
}

fn steps(model: &Model) -> String {
    let mut table = table(&["step", "how", "time", "delta", "tests", "verdict", "state"]);
    for step in &model.steps {
        let run = step.verdicts.len() - step.kept.min(step.verdicts.len());
        let tests = match (run, step.kept) {
            (0, 0) => String::new(),
            (run, 0) => run.to_string(),
            (run, kept) => format!("{run} + {kept} kept"),
        };
        table.add_row(vec![
            Cell::new(safe(&step.name)),
            Cell::new(step.phase.word()),
            right(step.took_us.map_or(String::new(), units::micros)),
            Cell::new(step.delta.as_ref().map_or(String::new(), units::delta)),
            right(tests),
            Cell::new(step.verdict().map_or("", verdict_word)),
            Cell::new(step.state.map_or(String::new(), |state| state.short())),
        ]);
    }
    table.to_string()
}

/// Numbers a build measured about itself, each on a line; nothing measured, no line.
fn figures(model: &Model) -> Vec<String> {
    let Some(ended) = &model.ended else { return Vec::new() };
    let figures = &ended.figures;
    let cached = model.steps.iter().filter(|step| step.phase == StepPhase::Cached).count();
    let mut out = vec![format!(
        "steps: {} ran, {cached} cached; tests: {} ran, {} kept; {} in all",
        figures.steps_run,
        figures.tests_run,
        figures.tests_kept,
        units::micros(figures.total_us)
    )];
    let mut samples = |what: &str, samples: &[u64]| {
        let most = samples.iter().max();
        if let (Some(middle), Some(most)) = (units::p50(samples), most) {
            out.push(format!(
                "{what:<34} p50 {:>8}  max {:>8}  n {}",
                units::micros(middle),
                units::micros(*most),
                samples.len()
            ));
        }
    };
    samples("step end -> delta on a shadow", &figures.delta_applied_us);
    samples("step end -> first test running", &figures.first_test_us);
    samples("ingestion, beside the tests", &figures.ingested_us);
    if let Some(us) = figures.frozen_after_us {
        out.push(format!("{:<34}     {:>8}", "test failed -> build frozen", units::micros(us)));
    }
    out
}

/// A table without lines, as all of this program's are.
pub(super) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header.to_vec());
    table
}

/// A table as lines, without what fills its last column.
pub(super) fn trimmed(table: &Table) -> String {
    table.to_string().lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// A cell for numbers.
pub(super) fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}
