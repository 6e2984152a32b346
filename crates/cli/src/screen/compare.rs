//! Where a candidate's answers differ.

use umbra_gateway::compare::report::{Cause, CompareReport, FieldReport, Sample, Standing, Times};

use super::summary::{right, table};
use super::{safe, verdict_word};

/// Fields that are listed besides those that are flagged or suspected.
const FIELDS_LISTED_MAX: usize = 20;

/// In one line.
pub fn line(report: &CompareReport) -> String {
    let (verdict, why) = (verdict_word(report.verdict), safe(&report.why));
    format!("{verdict}: {why} ({} answers compared)", report.compared)
}

/// All of it, with as many samples of each field that is not only noise.
pub fn text(report: &CompareReport, samples: usize) -> String {
    let mut text = format!("{}: {}\n", verdict_word(report.verdict), safe(&report.why));
    if let Some(hint) = &report.hint {
        text.push_str(&format!("  {}\n", safe(hint)));
    }
    text.push_str(&counts(report));
    let (listed, more) = listed(report);
    if listed.is_empty() {
        text.push_str("no field differs\n");
        return text;
    }
    text.push_str(&fields(report, &listed));
    if more > 0 {
        text.push_str(&format!("{more} more fields differ, none of them clearly\n"));
    }
    for field in listed {
        if field.standing == Standing::Open {
            continue;
        }
        text.extend(field.samples.iter().take(samples).map(|one| sample(&field.path, one)));
    }
    text
}

fn counts(report: &CompareReport) -> String {
    let against = report.baseline.as_ref().map_or("production only".to_owned(), |one| safe(one));
    let mut text = format!(
        "{} against {against}: of {} answers {} compared, {} under way\n",
        safe(&report.candidate),
        report.chosen,
        report.compared,
        report.under_way
    );
    for one in &report.left_out {
        text.push_str(&format!("  {} left out: {}\n", one.count, why(one.cause)));
    }
    if let Some(ended) = &report.ended {
        text.push_str(&format!("  nothing more is compared: {}\n", safe(ended)));
    }
    text
}

fn why(cause: Cause) -> &'static str {
    match cause {
        Cause::Dropped => "a shadow did not get the request (`umbra mirror status`)",
        Cause::Memory => "no memory to keep an answer (`--mirror-memory`)",
        Cause::TooLong => "production's answer is longer than 1 MiB",
        Cause::Truncated => "a shadow got the request in part only",
        Cause::Unfinished => "the client did not wait for the end of the answer",
        Cause::Primary => "production did not answer",
        Cause::Queue => "too many answers waited to be compared",
    }
}

/// Those worth a line, and how many more there are.
fn listed(report: &CompareReport) -> (Vec<&FieldReport>, u64) {
    let worth = |(place, field): &(usize, &FieldReport)| {
        *place < FIELDS_LISTED_MAX || field.standing < Standing::Open
    };
    let listed: Vec<_> =
        report.fields.iter().enumerate().filter(worth).map(|(_, field)| field).collect();
    let more = (report.fields.len() - listed.len()) as u64 + report.fields_more;
    (listed, more)
}

fn fields(report: &CompareReport, listed: &[&FieldReport]) -> String {
    let mut table = table(&["field", "candidate", "baseline", "times as often", "p", ""]);
    for field in listed {
        let part = |count: u64| share(count, report.compared);
        table.add_row(vec![
            safe(&field.path).into(),
            right(part(field.candidate)),
            right(field.baseline.map_or("-".to_owned(), part)),
            right(field.times.as_ref().map_or(String::new(), times)),
            right(field.p.map_or("-".to_owned(), probability)),
            standing(field.standing).into(),
        ]);
    }
    table.to_string().lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Flagged => "DIFFERS",
        Standing::Suspected => "suspected",
        Standing::Open => "",
        Standing::Unjudged => "not judged",
    }
}

fn share(count: u64, all: u64) -> String {
    if all == 0 {
        return count.to_string();
    }
    format!("{count} ({:.2} %)", 100.0 * count as f64 / all as f64)
}

fn times(times: &Times) -> String {
    match times.most {
        Some(most) => format!("{:.1} to {most:.1}", times.least),
        None => format!("{:.1} or more", times.least),
    }
}

fn probability(p: f64) -> String {
    if p < 0.0001 { "< 0.0001".to_owned() } else { format!("{p:.4}") }
}

fn sample(path: &str, sample: &Sample) -> String {
    let value =
        |value: &Option<String>| value.as_ref().map_or("nothing".to_owned(), |one| safe(one));
    let mut text = format!("  {} in {}", safe(path), safe(&sample.request));
    if !sample.place.is_empty() {
        text.push_str(&format!(" at {}", safe(&sample.place)));
    }
    let (production, candidate) = (value(&sample.production), value(&sample.candidate));
    text.push_str(&format!(": production {production}, candidate {candidate}"));
    if sample.baseline.is_some() {
        text.push_str(&format!(", baseline {}", value(&sample.baseline)));
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use umbra_gateway::compare::report::LeftOut;
    use umbra_state::Verdict;

    use super::*;

    fn field(path: &str, standing: Standing, candidate: u64, baseline: u64) -> FieldReport {
        let times = Times { least: 2.25, most: (baseline > 0).then_some(41.0) };
        FieldReport {
            path: path.into(),
            standing,
            candidate,
            baseline: Some(baseline),
            p: Some(if standing == Standing::Flagged { 2e-7 } else { 0.3121 }),
            log10_e: Some(1.0),
            flagged_after: None,
            times: (standing < Standing::Open).then_some(times),
            excess_most: Some(0.1),
            samples: vec![Sample {
                request: "GET /a\u{1b}[2J".into(),
                place: "[1]".into(),
                production: Some("10".into()),
                candidate: None,
                baseline: Some("10".into()),
            }],
        }
    }

    fn report() -> CompareReport {
        CompareReport {
            verdict: Verdict::Fail,
            why: "one field differs more than production from itself".into(),
            hint: None,
            candidate: "new".into(),
            baseline: Some("old".into()),
            ended: None,
            alpha: 0.05,
            slower_percent: 100,
            chosen: 620,
            compared: 600,
            left_out: vec![LeftOut { cause: Cause::Dropped, count: 15 }],
            under_way: 5,
            excess_percent_most: Some(9.0),
            fields: vec![
                field("body.items[].price", Standing::Flagged, 30, 0),
                field("header:etag", Standing::Suspected, 12, 1),
                field("body.\u{202e}id", Standing::Open, 600, 600),
            ],
            fields_more: 3,
        }
    }

    #[test]
    fn what_differs_is_a_table_with_samples() {
        insta::assert_snapshot!(text(&report(), 1));
    }

    #[test]
    fn what_nobody_judges_says_why() {
        let fields = report().fields.into_iter().map(|field| FieldReport {
            standing: Standing::Unjudged,
            baseline: None,
            p: None,
            times: None,
            ..field
        });
        let unjudged = CompareReport {
            verdict: Verdict::Inconclusive,
            why: "without a baseline nobody knows what is noise".into(),
            hint: Some("start one".into()),
            baseline: None,
            ended: Some("the candidate was stopped".into()),
            fields: fields.collect(),
            ..report()
        };
        insta::assert_snapshot!(text(&unjudged, 0));
        insta::assert_snapshot!(line(&unjudged));
        let none = CompareReport { fields: Vec::new(), fields_more: 0, ..unjudged };
        assert!(text(&none, 1).ends_with("no field differs\n"));
    }
}
