//! The way of an e-value, drawn with letters.

use super::words;
use crate::screen::units;

/// Rows between the least and the limit.
const ROWS: usize = 11;

/// The natural logarithms of an e-value after so many records, in order, on a logarithmic
/// scale that ends at the limit. Each column shows where the e-value was highest within it.
pub fn lines(way: &[(u64, f64)], log_limit: f64, width: usize) -> Vec<String> {
    let finite = way.iter().filter(|(_, log)| log.is_finite());
    let Some(last) = way.last().map(|(at, _)| *at) else { return Vec::new() };
    let least = finite.map(|(_, log)| *log).fold(0.0, f64::min).max(-log_limit);
    let labels: Vec<String> =
        (0..ROWS).map(|row| words::e_value(level(row, least, log_limit))).collect();
    let margin = labels.iter().map(|label| label.chars().count()).max().unwrap_or(0);
    let columns = highest(way, last, width.saturating_sub(margin + 4).clamp(10, 120));
    let mut out: Vec<String> = labels
        .iter()
        .enumerate()
        .map(|(row, label)| {
            let cells: String =
                columns.iter().map(|log| cell(*log, row, least, log_limit)).collect();
            format!("{label:>margin$} |{}", cells.trim_end())
        })
        .collect();
    out.push(format!("{:>margin$} +{}", "", "-".repeat(columns.len())));
    let end = format!("{} records", units::count(last));
    out.push(format!("{:>margin$}  0{end:>1$}", "", columns.len().saturating_sub(1)));
    out
}

/// The logarithm a row stands for; the first row is the limit.
fn level(row: usize, least: f64, limit: f64) -> f64 {
    limit - (limit - least) * row as f64 / (ROWS - 1) as f64
}

/// The highest logarithm in each column; columns without points go on with the last.
fn highest(way: &[(u64, f64)], last: u64, columns: usize) -> Vec<f64> {
    let mut out = vec![f64::NEG_INFINITY; columns];
    let place = |at: u64| {
        let scaled = u128::from(at) * (columns as u128 - 1) / u128::from(last.max(1));
        (scaled as usize).min(columns - 1)
    };
    let mut log_before = way.first().map_or(0.0, |(_, log)| *log);
    let mut filled = 0;
    for &(at, log) in way {
        let column = place(at);
        out.iter_mut().take(column).skip(filled).for_each(|cell| *cell = log_before);
        filled = filled.max(column);
        out[column] = if out[column].is_finite() { out[column].max(log) } else { log };
        if column + 1 > filled {
            filled = column + 1;
        }
        log_before = log;
    }
    out
}

/// What one place of the drawing shows: the way, the limit, or nothing.
fn cell(log: f64, row: usize, least: f64, limit: f64) -> char {
    let step = (limit - least) / (ROWS - 1) as f64;
    // What has not reached the limit is below it.
    let exact = if step > 0.0 { (limit - log) / step } else { 0.0 };
    let at = if log >= limit { 0.0 } else { exact.round().clamp(1.0, (ROWS - 1) as f64) };
    match (at as usize == row, row) {
        (true, _) if !log.is_nan() => '*',
        (_, 0) => '-',
        _ => ' ',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(way: &[(u64, f64)], width: usize) -> Vec<String> {
        lines(way, f64::ln(100.0), width)
    }

    #[test]
    fn the_limit_is_touched_only_by_what_reached_it() {
        let below = drawn(&[(0, 0.0), (500, 4.0), (1000, 4.6)], 60);
        assert!(!below[0].contains('*'), "{below:#?}");
        let at = drawn(&[(0, 0.0), (500, 4.0), (1000, f64::ln(100.0))], 60);
        assert!(at[0].ends_with('*') && at[0].matches('*').count() == 1, "{at:#?}");
    }

    #[test]
    fn every_column_has_its_place() {
        for way in [
            &[(0, 0.0)][..],
            &[(7, f64::NEG_INFINITY), (7, 2.0)],
            &[(1, 0.0), (u64::MAX, 900.0)],
            &[(5, f64::NAN), (6, -900.0)],
        ] {
            for width in [0, 11, 80, 10_000] {
                let all = drawn(way, width);
                let columns = all[ROWS].matches('-').count();
                let stars: usize = all.iter().map(|line| line.matches('*').count()).sum();
                assert!((10..=120).contains(&columns), "{columns} {all:#?}");
                assert!(stars <= columns && stars + 1 >= columns.min(1), "{all:#?}");
            }
        }
        assert!(drawn(&[], 80).is_empty());
    }
}
