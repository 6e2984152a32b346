//! A unified diff of two small texts.
//!
//! Myers' greedy algorithm on lines: time and memory grow with the number of differences, so
//! that is bounded and texts that differ more get no line diff.

use umbra_state::escape::escape_output;

const EDITS_MAX: usize = 1000;
const CONTEXT: usize = 3;

/// The lines of a unified diff, escaped, without file headers; empty where the texts are
/// equal, `None` where they differ in too many lines.
pub(crate) fn unified(before: &str, after: &str) -> Option<Vec<String>> {
    let (a, b): (Vec<&str>, Vec<&str>) = (lines(before), lines(after));
    let edits = edits(&a, &b)?;
    Some(hunks(&edits).into_iter().flat_map(|hunk| render(hunk, &a, &b)).collect())
}

/// Lines with their ends, so that a missing last newline is a difference.
fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

/// One line of an edit script: positions in `a` and `b` before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Edit {
    kind: Kind,
    a: usize,
    b: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Keep,
    Delete,
    Insert,
}

/// The shortest edit script, or `None` beyond [`EDITS_MAX`] changes.
fn edits(a: &[&str], b: &[&str]) -> Option<Vec<Edit>> {
    let most = (a.len() + b.len()).min(EDITS_MAX);
    let offset = most + 1;
    let mut furthest = vec![0usize; 2 * most + 3];
    let mut trace = Vec::new();
    for d in 0..=most {
        trace.push(furthest[offset - d..=offset + d].to_vec());
        for step in 0..=d {
            // Diagonals -d, -d + 2, …, d; `k` is shifted by `offset`.
            let k = offset + 2 * step - d;
            let down = step == 0 || (step != d && furthest[k - 1] < furthest[k + 1]);
            let mut x = if down { furthest[k + 1] } else { furthest[k - 1] + 1 };
            let mut y = x + offset - k;
            while x < a.len() && y < b.len() && a[x] == b[y] {
                x += 1;
                y += 1;
            }
            furthest[k] = x;
            if x >= a.len() && y >= b.len() {
                return Some(walk_back(&trace, a.len(), b.len()));
            }
        }
    }
    None
}

/// Follows the recorded fronts from the end to the beginning. `trace[d]` holds the furthest
/// points on diagonals `-d..=d` before round `d`.
fn walk_back(trace: &[Vec<usize>], a_len: usize, b_len: usize) -> Vec<Edit> {
    let (mut x, mut y) = (a_len, b_len);
    let mut script = Vec::new();
    for (d, front) in trace.iter().enumerate().rev() {
        // `front[k + d]` is diagonal `k`.
        let k = x as isize - y as isize;
        let at =
            |k: isize| usize::try_from(k + d as isize).ok().and_then(|i| front.get(i)).copied();
        let d_signed = d as isize;
        let down = k == -d_signed || (k != d_signed && at(k - 1) < at(k + 1));
        let previous = if down { k + 1 } else { k - 1 };
        let start_x = if d == 0 { 0 } else { at(previous).unwrap_or(0) };
        let start_y = usize::try_from(start_x as isize - previous).unwrap_or(0);
        let (stop_x, stop_y) = match (d, down) {
            (0, _) => (0, 0),
            (_, true) => (start_x, start_y + 1),
            (_, false) => (start_x + 1, start_y),
        };
        while x > stop_x && y > stop_y {
            x -= 1;
            y -= 1;
            script.push(Edit { kind: Kind::Keep, a: x, b: y });
        }
        if d > 0 {
            let kind = if down { Kind::Insert } else { Kind::Delete };
            (x, y) = (start_x, start_y);
            script.push(Edit { kind, a: x, b: y });
        }
    }
    script.reverse();
    script
}

/// Groups of changes with their context; groups whose contexts touch are one.
fn hunks(edits: &[Edit]) -> Vec<&[Edit]> {
    let changed =
        edits.iter().enumerate().filter(|(_, edit)| edit.kind != Kind::Keep).map(|(i, _)| i);
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for at in changed {
        let (from, to) = (at.saturating_sub(CONTEXT), (at + CONTEXT + 1).min(edits.len()));
        match ranges.last_mut() {
            Some((_, end)) if from <= *end => *end = to,
            _ => ranges.push((from, to)),
        }
    }
    ranges.into_iter().map(|(from, to)| &edits[from..to]).collect()
}

fn render(hunk: &[Edit], a: &[&str], b: &[&str]) -> Vec<String> {
    let count = |skip: Kind| hunk.iter().filter(|edit| edit.kind != skip).count();
    let (old, new) = (count(Kind::Insert), count(Kind::Delete));
    let first = hunk.first().map_or((0, 0), |edit| (edit.a, edit.b));
    // An empty side is named by the line before it.
    let start = |at: usize, count: usize| if count == 0 { at } else { at + 1 };
    let mut out =
        vec![format!("@@ -{},{old} +{},{new} @@", start(first.0, old), start(first.1, new))];
    for edit in hunk {
        let (sign, line) = match edit.kind {
            Kind::Keep => (' ', a[edit.a]),
            Kind::Delete => ('-', a[edit.a]),
            Kind::Insert => ('+', b[edit.b]),
        };
        let text = line.strip_suffix('\n');
        out.push(format!("{sign}{}", escape_output(text.unwrap_or(line).as_bytes())));
        if text.is_none() {
            out.push("\\ no newline at the end".into());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rebuild(edits: &[Edit], a: &[&str], b: &[&str]) -> (String, String) {
        let (mut old, mut new) = (String::new(), String::new());
        for edit in edits {
            match edit.kind {
                Kind::Keep => {
                    old.push_str(a[edit.a]);
                    new.push_str(b[edit.b]);
                }
                Kind::Delete => old.push_str(a[edit.a]),
                Kind::Insert => new.push_str(b[edit.b]),
            }
        }
        (old, new)
    }

    #[test]
    fn a_change_is_shown_with_context() {
        let before = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
        let after = "1\n2\n3\n4\nfive\n6\n7\n8\n9";
        let shown = unified(before, after).expect("few changes");
        assert_eq!(
            shown.join("\n"),
            "@@ -2,8 +2,8 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n-9\n+9\n\\ no newline at the end"
        );
    }

    #[test]
    fn one_side_may_be_empty() {
        let shown = unified("", "a\n").expect("few changes");
        assert_eq!(shown, ["@@ -0,0 +1,1 @@", "+a"]);
        assert_eq!(unified("a\n", "a\n"), Some(Vec::new()));
    }

    #[test]
    fn texts_that_share_nothing_are_not_compared_line_by_line() {
        let text = |prefix: &str| -> String {
            (0..EDITS_MAX).map(|line| format!("{prefix}{line}\n")).collect()
        };
        assert_eq!(unified(&text("a"), &text("b")), None);
    }

    proptest! {
        #[test]
        fn the_script_turns_one_text_into_the_other(
            before in proptest::collection::vec("[abc]\n?", 0..30),
            after in proptest::collection::vec("[abc]\n?", 0..30),
        ) {
            let (before, after) = (before.concat(), after.concat());
            let (a, b) = (lines(&before), lines(&after));
            let script = edits(&a, &b).expect("few changes");
            prop_assert_eq!(rebuild(&script, &a, &b), (before.clone(), after.clone()));
        }
    }
}
