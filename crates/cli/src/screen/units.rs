//! Times and sizes, short and always with their unit.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use umbra_state::diff::DeltaCounts;

/// A duration with three digits that matter.
pub fn micros(us: u64) -> String {
    let value = us as f64;
    match us {
        0..=999 => format!("{us} us"),
        1_000..=9_949 => format!("{:.2} ms", value / 1e3),
        9_950..=99_949 => format!("{:.1} ms", value / 1e3),
        99_950..=999_499 => format!("{:.0} ms", value / 1e3),
        999_500..=9_994_999 => format!("{:.2} s", value / 1e6),
        9_995_000..=59_999_999 => format!("{:.1} s", value / 1e6),
        _ => {
            let seconds = us / 1_000_000;
            format!("{} min {:02} s", seconds / 60, seconds % 60)
        }
    }
}

/// Bytes in decimal units.
pub fn bytes(count: u64) -> String {
    let value = count as f64;
    match count {
        0..=999 => format!("{count} B"),
        1_000..=999_999 => format!("{:.1} kB", value / 1e3),
        1_000_000..=999_999_999 => format!("{:.1} MB", value / 1e6),
        _ => format!("{:.2} GB", value / 1e9),
    }
}

/// A count with its thousands apart.
pub fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut shown = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// A delta's size.
pub fn delta(counts: &DeltaCounts) -> String {
    format!(
        "+{} ~{} -{}, {}",
        counts.added,
        counts.modified,
        counts.removed,
        bytes(counts.content_bytes)
    )
}

/// Milliseconds since 1970 as UTC to the second.
pub fn moment(ms: i64) -> String {
    match Timestamp::from_millisecond(ms) {
        Ok(at) => at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
        Err(_) => format!("{ms} ms since 1970"),
    }
}

/// The middle of some durations; `None` of none.
pub fn p50(samples: &[u64]) -> Option<u64> {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len().checked_sub(1)? / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits_and_a_unit() {
        for (us, shown) in [
            (0, "0 us"),
            (999, "999 us"),
            (1_500, "1.50 ms"),
            (9_999, "10.0 ms"),
            (12_340, "12.3 ms"),
            (99_999, "100 ms"),
            (999_600, "1.00 s"),
            (12_340_000, "12.3 s"),
            (75_000_000, "1 min 15 s"),
        ] {
            assert_eq!(micros(us), shown);
        }
    }

    #[test]
    fn sizes_are_decimal() {
        assert_eq!([bytes(999), bytes(1_000), bytes(61_600_000)], ["999 B", "1.0 kB", "61.6 MB"]);
    }

    #[test]
    fn counts_have_their_thousands_apart() {
        let shown = [0, 999, 1_000, 25_102, 1_234_567].map(count);
        assert_eq!(shown, ["0", "999", "1,000", "25,102", "1,234,567"]);
    }

    #[test]
    fn moments_are_utc() {
        assert_eq!(moment(0), "1970-01-01 00:00:00Z");
        assert_eq!(moment(i64::MAX), format!("{} ms since 1970", i64::MAX));
    }

    #[test]
    fn the_middle_of_nothing_is_nothing() {
        assert_eq!(p50(&[]), None);
        assert_eq!(p50(&[3, 1, 2]), Some(2));
        assert_eq!(p50(&[4, 1, 3, 2]), Some(2));
    }
}
