//! Running a recipe's tests against a state.

use std::path::PathBuf;

use umbra_api::client::Client;
use umbra_api::state::{TestReply, TestRequest};
use umbra_state::Verdict;
use umbra_suite::report::TestReport;

use super::reports::{junit, report_of, sarif};
use super::{Done, absolute, recipe};
use crate::args::TestFormat;
use crate::error::{CliError, Finish};
use crate::screen::{failure, painted_verdict, safe, units};
use crate::ui::Ui;

/// What was asked.
pub(super) struct Ask {
    pub(super) state: String,
    pub(super) file: PathBuf,
    pub(super) vars: Vec<(String, String)>,
    pub(super) tests: Vec<String>,
    pub(super) baseline: Option<String>,
    pub(super) format: TestFormat,
}

/// Runs them; the verdict is the exit code.
pub(super) fn test(ui: &Ui, client: &Client, ask: Ask) -> Done {
    let recipe = recipe::check(ui, &ask.file, &ask.vars)?;
    let known = |name: &String| recipe.tests.iter().any(|test| test.name == *name);
    if let Some(unknown) = ask.tests.iter().find(|name| !known(name)) {
        let names: Vec<&str> = recipe.tests.iter().map(|test| test.name.as_str()).collect();
        return Err(CliError::new(
            Finish::Usage,
            format!("find the test {unknown:?} in the recipe"),
        )
        .with_hint(format!("its tests are: {}", names.join(", "))));
    }
    let recipe_path = absolute(&ask.file)?;
    let request = TestRequest {
        state: ask.state,
        recipe: recipe_path,
        vars: ask.vars,
        tests: ask.tests,
        baseline: ask.baseline,
    };
    let reply = client.test(&request)?;
    let reports: Vec<TestReport> =
        reply.results.iter().map(|result| report_of("", result)).collect();
    match (ui.json(), ask.format) {
        (true, _) | (_, TestFormat::Json) => {
            let text = serde_json::to_string_pretty(&reply)
                .map_err(|error| CliError::because(Finish::Bug, "write JSON", &error))?;
            ui.answer(&format!("{text}\n"))?;
        }
        (_, TestFormat::Text) => ui.answer(&text(ui, &reply))?,
        (_, TestFormat::Junit) => ui.answer(&junit(&recipe.name, &reports)?)?,
        (_, TestFormat::Sarif) => ui.answer(&sarif(&reports)?)?,
    }
    Ok(reply.verdict.into())
}

fn text(ui: &Ui, reply: &TestReply) -> String {
    let mut out = String::new();
    for result in &reply.results {
        out.push_str(&format!(
            "{} {} ({}) in {}\n",
            painted_verdict(result.verdict, ui.paint()),
            safe(&result.name),
            result.kind,
            units::micros(result.took_us)
        ));
        if result.verdict != Verdict::Pass {
            for line in failure::evidence(result) {
                out.push_str(&format!("  {line}\n"));
            }
        }
        let known = result.findings.iter().filter(|finding| finding.baseline).count();
        if known > 0 {
            out.push_str(&format!(
                "  {known} findings in the baseline or allowed (--format sarif)\n"
            ));
        }
    }
    let (state, count) = (reply.state.short(), reply.results.len());
    out.push_str(&format!(
        "{} {count} tests on {state}\n",
        painted_verdict(reply.verdict, ui.paint())
    ));
    out
}
