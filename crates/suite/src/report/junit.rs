//! JUnit XML: one suite per kind of test, failures and errors told apart.
//!
//! A `Fail` is a `failure`: somebody looked, and it is bad. An `Inconclusive` is an `error`:
//! nobody could look, or too little was seen.

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use umbra_state::{TestKind, Verdict};

use super::{TestReport, sentence};

/// XML could not be written; never the case for a string.
#[derive(Debug, thiserror::Error)]
#[error("write JUnit XML")]
pub struct JunitError(#[source] quick_junit::SerializeError);

/// The reports as JUnit XML named after what was tested.
pub fn junit(name: &str, reports: &[TestReport]) -> Result<String, JunitError> {
    let mut report = Report::new(name);
    report.set_time(reports.iter().map(|test| test.duration).sum());
    for kind in TestKind::ALL {
        let cases: Vec<_> = reports.iter().filter(|test| test.kind == kind).map(case).collect();
        if !cases.is_empty() {
            let mut suite = TestSuite::new(kind.to_string());
            suite.add_test_cases(cases);
            report.add_test_suite(suite);
        }
    }
    report.to_string().map_err(JunitError)
}

fn case(test: &TestReport) -> TestCase {
    let mut case = TestCase::new(&*test.name, status(test));
    case.set_classname(&*test.step);
    case.set_time(test.duration);
    case.set_assertions(test.evidence.len());
    for metric in &test.metrics {
        let value = format!("{} {}", metric.value, metric.unit);
        case.add_property((metric.name.as_str(), value.as_str()));
    }
    if test.attempts > 1 {
        case.add_property(("attempts", test.attempts.to_string().as_str()));
    }
    if !test.output.is_empty() {
        case.set_system_out(&*test.output);
    }
    case
}

fn status(test: &TestReport) -> TestCaseStatus {
    let kind = match test.verdict {
        Verdict::Pass => return TestCaseStatus::success(),
        Verdict::Fail => NonSuccessKind::Failure,
        Verdict::Inconclusive => NonSuccessKind::Error,
    };
    let mut status = TestCaseStatus::non_success(kind);
    let mut lines: Vec<_> = test.error.iter().map(|error| format!("failed to {error}")).collect();
    lines.extend(test.against().map(sentence));
    status.set_message(test.summary()).set_type(test.verdict.to_string());
    status.set_description(lines.join("\n"));
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn failures_and_errors_are_told_apart() {
        let mut blind = report("blind", Verdict::Inconclusive);
        blind.error = Some("connect to the shadow, which has no address".into());
        let reports = [report("good", Verdict::Pass), report("bad <&>", Verdict::Fail), blind];
        let xml = junit("web", &reports).expect("xml");
        assert!(xml.contains(r#"tests="3" skipped="0" failures="1" errors="1""#), "{xml}");
        assert!(xml.contains(r#"<testcase name="bad &lt;&amp;&gt;" classname="config""#), "{xml}");
        assert!(
            xml.contains("<failure message=\"GET /: status 502, expected status 200\""),
            "{xml}"
        );
        assert!(xml.contains("<error message=\"failed to connect to the shadow"), "{xml}");
        assert!(xml.contains(r#"<property name="p99" value="12.5 ms"/>"#), "{xml}");
    }

    #[test]
    fn our_own_reader_understands_it() {
        let xml = junit("web", &[report("good", Verdict::Pass), report("bad", Verdict::Fail)]);
        let cases = crate::check::junit_in::parse(xml.expect("xml").as_bytes()).expect("parse");
        let verdicts: Vec<_> = cases.iter().map(|case| case.verdict).collect();
        assert_eq!(verdicts, [Verdict::Pass, Verdict::Fail]);
    }
}
