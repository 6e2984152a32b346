//! Moments and spans in words.

/// A day in milliseconds.
const DAY_MS: i64 = 86_400_000;
/// The last moment with a year of four digits, as both standards that are written here want it.
const LAST_MS: i64 = 253_402_300_799_999;

/// RFC 3339 in UTC with milliseconds, as RFC 5424 and Alertmanager read it.
pub(crate) fn rfc3339(at_ms: i64) -> String {
    let ((year, month, day), (hour, minute, second, ms)) = parts(at_ms);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// Date and time to the second, with the zone.
pub(crate) fn moment(at_ms: i64) -> String {
    let ((year, month, day), (hour, minute, second, _)) = parts(at_ms);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} +0000")
}

/// A span in its greatest unit.
pub(crate) fn span(ms: i64) -> String {
    let ms = ms.max(0);
    let units = [(DAY_MS, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s")];
    let unit = units.iter().find(|(length, _)| ms >= *length);
    unit.map_or_else(|| format!("{ms} ms"), |(length, name)| format!("{} {name}", ms / length))
}

type Parts = ((i64, i64, i64), (i64, i64, i64, i64));

fn parts(at_ms: i64) -> Parts {
    let at_ms = at_ms.clamp(0, LAST_MS);
    let (days, ms) = (at_ms / DAY_MS, at_ms % DAY_MS);
    (date(days), (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000))
}

/// The civil date so many days after 1970-01-01, counting eras of 400 years whose years begin
/// in March, so that a leap day is the last of its year.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(at_ms: i64, expected: &str) {
        assert_eq!(rfc3339(at_ms), expected);
    }

    #[test]
    fn moments_are_those_of_date() {
        check(0, "1970-01-01T00:00:00.000Z");
        check(951_782_400_000, "2000-02-29T00:00:00.000Z");
        check(1_709_251_199_999, "2024-02-29T23:59:59.999Z");
        check(4_107_542_400_000, "2100-03-01T00:00:00.000Z");
        check(1_780_000_000_123, "2026-05-28T20:26:40.123Z");
        check(i64::MAX, "9999-12-31T23:59:59.999Z");
        check(-5, "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut before = date(0);
        for days in 1..150_000 {
            let now = date(days);
            let (year, month, day) = before;
            let follows = [(year, month, day + 1), (year, month + 1, 1), (year + 1, 1, 1)];
            assert!(follows.contains(&now), "{before:?} {now:?}");
            before = now;
        }
    }

    #[test]
    fn spans_have_one_unit() {
        assert_eq!(span(59_999), "59 s");
        assert_eq!(span(3 * DAY_MS + 5), "3 d");
        assert_eq!(span(-1), "0 ms");
    }
}
