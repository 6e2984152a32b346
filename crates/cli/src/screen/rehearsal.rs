//! What a rehearsal found.

use umbra_drift::service::Rehearsal;
use umbra_rehearse::report::{Run, Seen};
use umbra_rehearse::service::RehearseReply;
use umbra_state::Verdict;
use umbra_state::escape::escape_output;

use super::{safe, units, verdict_word};

/// How many lines of what a failed check printed are shown.
const OUTPUT_LINES_MAX: usize = 6;

/// What it comes to, then what was tried.
pub fn report(reply: &RehearseReply) -> String {
    let report = &reply.report;
    // What the summary names is escaped.
    let mut lines = report.summary().into_iter();
    let mut text: String = lines.next().map_or_else(String::new, |line| format!("{line}\n"));
    text.extend(lines.map(|line| format!("  {line}\n")));
    for run in &report.runs {
        text.push_str(&tried(run));
    }
    text.push_str(&format!("it took {}\n", units::micros(report.took_us)));
    text
}

fn tried(run: &Run) -> String {
    let (verdict, took) = (verdict_word(run.verdict), units::micros(run.took_us));
    let mut text = format!("{verdict} {}, {took}\n", run.combination.words());
    run.seen.iter().for_each(|seen| text.push_str(&looked(seen)));
    text
}

fn looked(seen: &Seen) -> String {
    let aside = if seen.counts { "" } else { " (does not count)" };
    let mut text = format!("  {} {}{aside}\n", verdict_word(seen.verdict), safe(&seen.name));
    if let Some(why) = &seen.why {
        text.push_str(&format!("    {}\n", safe(why)));
    }
    if seen.verdict != Verdict::Pass {
        let printed = escape_output(seen.output.trim_end().as_bytes()).to_string();
        let lines: Vec<&str> = printed.lines().collect();
        let last = &lines[lines.len().saturating_sub(OUTPUT_LINES_MAX)..];
        last.iter().for_each(|line| text.push_str(&format!("    | {line}\n")));
    }
    text
}

/// What came of one, in short.
pub fn told(rehearsal: &Rehearsal) -> String {
    let mut lines = rehearsal.summary.iter().map(|line| safe(line));
    let first = lines.next().unwrap_or_else(|| verdict_word(rehearsal.verdict).to_owned());
    let mut text = format!("rehearsed: {first}\n");
    text.extend(lines.map(|line| format!("  {line}\n")));
    text
}

#[cfg(test)]
mod tests {
    use umbra_api::blob::Blob;
    use umbra_drift::discrepancy::KeyChange;
    use umbra_rehearse::report::{Changed, Failure, Part, Untried};
    use umbra_rehearse::what::Combination;
    use umbra_rehearse::{Kind, Level, Report, Risk};
    use umbra_state::Evidence;

    use super::*;

    fn seen(name: &str, verdict: Verdict) -> Seen {
        Seen {
            name: name.into(),
            part: Part::Test,
            verdict,
            counts: true,
            evidence: Vec::new(),
            why: None,
            output: if verdict == Verdict::Fail {
                "refused\x1b[2J\n".into()
            } else {
                String::new()
            },
            took_us: 4_000,
        }
    }

    fn run(combination: Combination, verdict: Verdict) -> Run {
        let seen = vec![seen("service web", Verdict::Pass), seen("web\nanswers", verdict)];
        Run { combination, verdict, seen, setup_us: 3_000, took_us: 40_000 }
    }

    #[test]
    fn a_failure_names_its_smallest_cause() {
        let key = KeyChange {
            key: "PORT".into(),
            shadow: Some(Blob(b"8080".to_vec())),
            primary: Some(Blob(b"9090".to_vec())),
            in_force: true,
        };
        let path = Blob(b"/etc/default/web".to_vec());
        let changes = vec![Changed { path, keys: vec![key], attributes: Vec::new() }];
        let failure = Failure {
            combination: Combination::Drift,
            check: "web\nanswers".into(),
            part: Part::Test,
            evidence: vec![Evidence {
                subject: "port 8080".into(),
                seen: "refused".into(),
                expected: Some("open".into()),
                verdict: Verdict::Fail,
            }],
            changes,
            of: 3,
            minimal: true,
            why: None,
            probes: 4,
            took_us: 100_000,
        };
        let report = Report {
            what: Kind::Drift,
            level: Level::Sandbox,
            higher: Some("a virtual machine would add a reboot".into()),
            verdict: Verdict::Fail,
            risk: Risk::Breaks,
            why: None,
            runs: vec![
                run(Combination::Baseline, Verdict::Pass),
                run(Combination::Drift, Verdict::Fail),
            ],
            failures: vec![failure],
            untried: vec![Untried {
                path: Blob(b"/etc/key".to_vec()),
                why: "only a digest of it is known".into(),
            }],
            unseen: vec!["/boot is a filesystem of its own".into()],
            took_us: 250_000,
        };
        insta::assert_snapshot!(super::report(&RehearseReply { report }), @r"
        fail: the drift breaks web\u{a}answers
          web\u{a}answers fails with the drift
          seen: port 8080: refused, expected open
          because of /etc/default/web: PORT from 8080 to 9090 (of 3 changed paths)
          not tried: /etc/key: only a digest of it is known
          not seen: /boot is a filesystem of its own
          tried on a sandbox, without a kernel of its own
          a virtual machine would add a reboot
        PASS without any change, 40.0 ms
          PASS service web
          PASS web\u{a}answers
        FAIL with the drift, 40.0 ms
          PASS service web
          FAIL web\u{a}answers
            | refused\u{1b}[2J
        it took 250 ms
        ");
    }
}
