//! "Did you mean": the known word nearest to a misspelt one.

use umbra_state::escape::escape;

/// The candidate that differs from `word` by few enough slips to be what was meant.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.chars().take(WORD_CHARS_MAX).flat_map(char::to_lowercase).collect();
    let slips_max = match word.len() {
        0..=2 => 1,
        3..=5 => 2,
        6..=8 => 2,
        _ => SLIPS_MAX,
    };
    candidates
        .into_iter()
        .filter_map(|candidate| Some((slips(&word, candidate, slips_max)?, candidate)))
        .filter(|(slips, candidate)| *slips < candidate.chars().count())
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, candidate)| candidate)
}

/// A sentence naming the nearest candidate, else all of them if they are few.
pub fn advice(word: &str, candidates: &[&str]) -> Option<String> {
    if let Some(nearest) = nearest(word, candidates.iter().copied()) {
        return Some(format!("did you mean `{}`?", escape(nearest.as_bytes())));
    }
    let known = candidates
        .iter()
        .map(|word| format!("`{}`", escape(word.as_bytes())))
        .collect::<Vec<_>>()
        .join(", ");
    (1..=LISTED_MAX).contains(&candidates.len()).then(|| format!("known here: {known}"))
}

const SLIPS_MAX: usize = 3;
const WORD_CHARS_MAX: usize = 50;
const LISTED_MAX: usize = 24;

/// Insertions, deletions, replacements and swaps of neighbours that turn one into the other,
/// `None` as soon as they must be more than `slips_max`.
fn slips(word: &[char], candidate: &str, slips_max: usize) -> Option<usize> {
    let other: Vec<char> = candidate.chars().take(WORD_CHARS_MAX).collect();
    if word.len().abs_diff(other.len()) > slips_max {
        return None;
    }
    let mut rows: Vec<Vec<usize>> = vec![(0..=other.len()).collect()];
    for i in 1..=word.len() {
        let mut row = vec![i];
        for j in 1..=other.len() {
            let differs = usize::from(word[i - 1] != other[j - 1]);
            let mut best =
                (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + differs);
            if i > 1 && j > 1 && word[i - 1] == other[j - 2] && word[i - 2] == other[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        if row.iter().all(|slips| *slips > slips_max) {
            return None;
        }
        rows.push(row);
    }
    Some(rows[word.len()][other.len()]).filter(|slips| *slips <= slips_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(word: &str, expected: Option<&str>) {
        let known = ["name", "run", "copy", "timeout", "packages", "tests"];
        assert_eq!(nearest(word, known), expected);
    }

    #[test]
    fn slips_are_recognised_and_strangers_are_not() {
        check("nmae", Some("name"));
        check("time_out", Some("timeout"));
        check("Package", Some("packages"));
        check("test", Some("tests"));
        check("rn", Some("run"));
        check("volumes", None);
        check("", None);
    }
}
