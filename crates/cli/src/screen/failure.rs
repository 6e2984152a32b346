//! What failed, what it rests on, and what can be entered.

use umbra_api::build::{Failure, TestResult};
use umbra_state::escape::escape_output;
use umbra_state::{Evidence, Verdict};

use super::{painted_verdict, plain, safe, units};
use crate::ui::Paint;

const OUTPUT_LINES_MAX: usize = 40;
const EVIDENCE_MAX: usize = 20;

/// A failure on a page. The commands that are offered name `build`, and `again` is the one
/// that builds again ([`build_again`]).
pub fn lines(failure: &Failure, build: u64, again: &str, paint: Paint) -> Vec<String> {
    let mut out = vec![
        String::new(),
        format!("{} {}", paint.bad("HALT"), plain::what_failed(failure)),
        format!("  frozen {} after the failure", units::micros(failure.frozen_after_us)),
    ];
    if let Some(test) = &failure.test {
        out.push(String::new());
        out.push(format!("  {} {}", painted_verdict(test.verdict, paint), safe(&test.name)));
        out.extend(evidence(test).into_iter().map(|line| format!("    {line}")));
        section(&mut out, "what the test printed", test.output.as_deref());
    }
    section(&mut out, "what the step printed", failure.step_output.as_deref());
    delta(&mut out, failure);
    if !failure.discarded.is_empty() {
        let names: Vec<String> = failure.discarded.iter().map(|name| safe(name)).collect();
        out.push(String::new());
        out.push(format!("  thrown away: {}", names.join(", ")));
    }
    out.extend(next_commands(failure, build, again, paint));
    out
}

/// What speaks against a pass, one line each, worst first.
pub fn evidence(result: &TestResult) -> Vec<String> {
    let mut out = Vec::new();
    if let Some(error) = &result.error {
        out.push(format!("could not look: failed to {}", safe(error)));
    }
    let of = |verdict| result.evidence.iter().filter(move |it: &&Evidence| it.verdict == verdict);
    let against: Vec<&Evidence> = of(Verdict::Fail).chain(of(Verdict::Inconclusive)).collect();
    for seen in against.iter().take(EVIDENCE_MAX) {
        out.push(format!("{}: {}", told(&seen.subject), told(&seen.seen)));
        if let Some(expected) = &seen.expected {
            out.push(format!("  expected {}", told(expected)));
        }
    }
    if against.len() > EVIDENCE_MAX {
        out.push(format!("and {} more", against.len() - EVIDENCE_MAX));
    }
    out
}

/// A test's own words as one line: outside bytes in them are escaped already, and escaping the
/// escapes would only blur them.
fn told(text: &str) -> String {
    escape_output(text.as_bytes()).to_string().replace(['\n', '\t'], " ")
}

/// Named output, cut to its last lines.
fn section(out: &mut Vec<String>, title: &str, text: Option<&str>) {
    let Some(text) = text.filter(|text| !text.trim().is_empty()) else { return };
    let shown = escape_output(text.as_bytes()).to_string();
    let lines: Vec<&str> = shown.lines().collect();
    let skipped = lines.len().saturating_sub(OUTPUT_LINES_MAX);
    out.push(String::new());
    out.push(format!("  {title}:"));
    if skipped > 0 {
        out.push(format!("    | ... {skipped} lines before"));
    }
    out.extend(lines[skipped..].iter().map(|line| format!("    | {line}")));
}

fn delta(out: &mut Vec<String>, failure: &Failure) {
    let count = failure.delta.len() as u64 + failure.delta_omitted;
    if count == 0 {
        return;
    }
    out.push(String::new());
    out.push(format!("  what the step changed ({count} paths):"));
    out.extend(failure.delta.iter().map(|line| {
        // Lines of a delta come escaped; a second time would double their backslashes.
        format!("    {}", escape_output(line.as_bytes()))
    }));
    if failure.delta_omitted > 0 {
        out.push(format!("    ... and {} more", failure.delta_omitted));
    }
}

/// Ready to copy, most useful first.
fn next_commands(failure: &Failure, build: u64, again: &str, paint: Paint) -> Vec<String> {
    let (before, after) = (failure.before.short(), failure.after.short());
    let mut offers = Vec::new();
    if let Some(shadow) = &failure.shadow {
        offers.push((
            format!("umbra shell {}", shell_word(shadow)),
            "the shadow it failed on, as it was",
        ));
    }
    offers.push((format!("umbra shell {after}"), "a fresh shadow of the state after the step"));
    offers.push((format!("umbra shell {before}"), "a fresh shadow of the state before it"));
    offers.push((
        format!("umbra diff {before} {after} --content"),
        "what the step changed, line by line",
    ));
    offers.push((format!("umbra follow {build}"), "everything that happened"));
    offers.push((again.to_owned(), "build again from the last good step"));
    let width = offers.iter().map(|(command, _)| command.chars().count()).max().unwrap_or(0);
    let mut out = vec![String::new(), "  next:".to_owned()];
    out.extend(offers.into_iter().map(|(command, what)| {
        let room = " ".repeat(width.saturating_sub(command.chars().count()));
        format!("    {}{room}  {}", paint.bold(&command), paint.dim(what))
    }));
    out
}

/// The command that builds a recipe again, with the same variables.
pub fn build_again(recipe: &str, vars: &[(String, String)]) -> String {
    let mut command = format!("umbra build -f {}", shell_word(recipe));
    for (key, value) in vars {
        command.push_str(&format!(" --var {}", shell_word(&format!("{key}={value}"))));
    }
    command
}

/// A word as one can paste it into a shell.
pub(super) fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    let shown = text.replace('\\', "");
    if safe(&shown) != shown {
        // No quoting makes this safe to show and right to paste at once.
        return safe(text);
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_a_shell() {
        for (text, word) in [
            ("a/b.yaml", "a/b.yaml"),
            ("a b", "'a b'"),
            ("it's", "'it'\\''s'"),
            ("", "''"),
            ("a\\b", "'a\\b'"),
            ("a \u{202e}b", "a \\u{202e}b"),
        ] {
            assert_eq!(shell_word(text), word);
        }
    }
}
