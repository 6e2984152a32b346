//! Workflow commands that GitHub turns into annotations of a run.

use umbra_state::Verdict;

use super::TestReport;

/// One `::error` or `::warning` line per test that is not a pass, for standard output.
pub fn annotations(reports: &[TestReport]) -> String {
    let mut lines = String::new();
    for report in reports.iter().filter(|report| report.verdict != Verdict::Pass) {
        let word = if report.halts() { "error" } else { "warning" };
        let title = format!("{} after {}: {}", report.name, report.step, report.verdict);
        let (title, text) = (property(&title), data(&report.summary()));
        lines.push_str(&format!("::{word} title={title}::{text}\n"));
    }
    lines
}

/// Message text, escaped as the runner's toolkit does.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property, in which colons and commas would end it.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn one_line_per_test_whatever_its_text_holds() {
        let mut bad = report("a:b,c\n::error::x", Verdict::Fail);
        bad.evidence[0].seen = "100%\nsecond".into();
        let text = annotations(&[report("fine", Verdict::Pass), bad]);
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.starts_with("::error title=a%3Ab%2Cc%0A%3A%3Aerror%3A%3Ax after config"));
        assert!(text.contains("100%25%0Asecond"));
    }
}
