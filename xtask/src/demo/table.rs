//! The table at the demo's end: what both builds measured about themselves.

use super::story::Figures;

/// One column for each build.
pub(crate) fn table(good: &Figures, broken: &Figures) -> String {
    let rows = [
        row("steps ran / from the cache", good, broken, |it| {
            format!("{} / {}", it.steps_run, it.steps_cached)
        }),
        row("tests ran / verdict kept", good, broken, |it| {
            format!("{} / {}", it.tests_run, it.tests_kept)
        }),
        row("step end -> delta on a shadow", good, broken, |it| spread(&it.delta_applied_us)),
        row("step end -> first test running", good, broken, |it| spread(&it.first_test_us)),
        row("ingestion, beside the tests", good, broken, |it| spread(&it.ingested_us)),
        row("test failed -> build frozen", good, broken, |it| {
            it.frozen_after_us.map_or_else(|| "-".to_owned(), micros)
        }),
        row("the whole build", good, broken, |it| micros(it.total_us)),
    ];
    let mut out = line(&["", "web", "web-broken"].map(str::to_owned));
    rows.iter().for_each(|row| out.push_str(&line(row)));
    out
}

fn row(
    what: &str,
    good: &Figures,
    broken: &Figures,
    cell: impl Fn(&Figures) -> String,
) -> [String; 3] {
    [what.to_owned(), cell(good), cell(broken)]
}

fn line(cells: &[String; 3]) -> String {
    let [what, good, broken] = cells;
    format!("  {what:<32}{good:>30}{broken:>30}\n")
}

/// The middle and the worst of some samples.
fn spread(samples: &[u64]) -> String {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    match (sorted.get(sorted.len() / 2), sorted.last()) {
        (Some(middle), Some(most)) => format!("p50 {}, max {}", micros(*middle), micros(*most)),
        _ => "-".to_owned(),
    }
}

/// A duration with three digits and its unit.
pub(crate) fn micros(us: u64) -> String {
    let number = us as f64;
    match us {
        0..1_000 => format!("{us} us"),
        1_000..100_000 => format!("{:.1} ms", number / 1e3),
        100_000..1_000_000 => format!("{:.0} ms", number / 1e3),
        _ => format!("{:.1} s", number / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit_that_fits() {
        let cases = [(7, "7 us"), (4_250, "4.2 ms"), (250_000, "250 ms"), (61_000_000, "61.0 s")];
        for (us, text) in cases {
            assert_eq!(micros(us), text);
        }
    }

    #[test]
    fn what_was_not_measured_is_a_dash() {
        let good = Figures { delta_applied_us: vec![3_000, 1_000, 2_000], ..Figures::default() };
        let text = table(&good, &Figures::default());
        let line = text.lines().find(|line| line.contains("on a shadow")).unwrap();
        assert!(line.contains("p50 2.0 ms, max 3.0 ms") && line.ends_with('-'), "{line}");
    }
}
