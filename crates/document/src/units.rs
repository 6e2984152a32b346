//! Durations, sizes, modes and owners: their texts and their values.

use std::time::Duration;

use serde::{Serialize, Serializer};

/// Milliseconds per unit, longest first.
pub const TIME_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Bytes per unit, largest first; `K` is 1000 and `Ki` is 1024.
pub const SIZE_UNITS: [(&str, u64); 8] = [
    ("Ti", 1 << 40),
    ("T", 1_000_000_000_000),
    ("Gi", 1 << 30),
    ("G", 1_000_000_000),
    ("Mi", 1 << 20),
    ("M", 1_000_000),
    ("Ki", 1 << 10),
    ("K", 1_000),
];

/// A number of at most nine digits with `ms`, `s`, `m`, `h` or `d` behind it, and not 0.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = number_and_unit(text, 9)?;
    let known = TIME_UNITS.iter().find(|(name, _)| *name == unit);
    let (_, millis) = known.ok_or_else(|| match unit {
        "" => format!("the unit is missing, as in `{text}s`"),
        _ => "the unit is one of ms, s, m, h, d".to_owned(),
    })?;
    Ok(Duration::from_millis(number * millis))
}

/// A number of at most seven digits with `K`, `M`, `G`, `T` (powers of 1000) or `Ki`, `Mi`,
/// `Gi`, `Ti` (powers of 1024) behind it, and not 0; in bytes.
pub fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = number_and_unit(text, 7)?;
    let known = SIZE_UNITS.iter().find(|(name, _)| *name == unit);
    let (_, bytes) = known.ok_or_else(|| match unit {
        "" => format!("the unit is missing, as in `{text}M`"),
        _ => "the unit is one of K, M, G, T, Ki, Mi, Gi, Ti".to_owned(),
    })?;
    Ok(number * bytes)
}

fn number_and_unit(text: &str, digits_max: usize) -> Result<(u64, &str), String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if digits == 0 {
        return Err("it begins with a whole number".to_owned());
    }
    if number.starts_with('0') {
        return Err("the number does not begin with 0".to_owned());
    }
    match number.parse() {
        Ok(number) if digits <= digits_max => Ok((number, unit)),
        _ => Err(format!("the number has at most {digits_max} digits")),
    }
}

/// Three or four octal digits.
pub fn mode(text: &str) -> Result<u32, String> {
    if !(3..=4).contains(&text.len()) || !text.bytes().all(|digit| (b'0'..=b'7').contains(&digit)) {
        return Err("it is three or four digits from 0 to 7".to_owned());
    }
    u32::from_str_radix(text, 8).map_err(|error| error.to_string())
}

/// Who owns a file: names as the root's own `/etc/passwd` and `/etc/group` know them, or numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// User name or numeric id.
    pub user: String,
    /// Group name or numeric id.
    pub group: String,
}

impl Owner {
    /// `root:root`.
    pub fn root() -> Self {
        Self { user: "root".to_owned(), group: "root".to_owned() }
    }
}

/// `user:group`.
pub fn owner(text: &str) -> Result<Owner, String> {
    let Some((user, group)) = text.split_once(':') else {
        return Err(format!("the group is missing, as in `{text}:{text}`"));
    };
    account(user)?;
    account(group)?;
    Ok(Owner { user: user.to_owned(), group: group.to_owned() })
}

/// The name or the number of a user or group.
pub fn account(text: &str) -> Result<(), String> {
    let numeric = (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let named = (1..=32).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b));
    if numeric || named {
        return Ok(());
    }
    Err("a user or group is up to 32 of a-z, 0-9, _ and -, or a number".to_owned())
}

impl Serialize for Owner {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{}:{}", self.user, self.group))
    }
}

/// As [`duration`] reads it, in the largest unit that leaves no rest.
pub fn print_duration(duration: Duration) -> String {
    print(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), &TIME_UNITS)
}

/// As [`size`] reads it, in the largest unit that leaves no rest.
pub fn print_size(bytes: u64) -> String {
    print(bytes, &SIZE_UNITS)
}

/// Four octal digits.
pub fn print_mode(mode: u32) -> String {
    format!("{mode:04o}")
}

/// In the largest unit that leaves no rest; what no unit divides is printed without one.
fn print(amount: u64, units: &[(&str, u64)]) -> String {
    let fitting = units.iter().find(|(_, factor)| amount != 0 && amount.is_multiple_of(*factor));
    match fitting {
        Some((unit, factor)) => format!("{}{unit}", amount / factor),
        None => amount.to_string(),
    }
}

/// Writes durations, sizes and modes the way documents spell them.
pub mod serialize {
    use super::{Duration, Serializer, print_duration, print_mode, print_size};

    /// A duration.
    pub fn duration<S: Serializer>(value: &Duration, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&print_duration(*value))
    }

    /// A duration or nothing.
    pub fn duration_option<S: Serializer>(
        value: &Option<Duration>,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => duration(value, s),
            None => s.serialize_none(),
        }
    }

    /// A size or nothing.
    pub fn size_option<S: Serializer>(value: &Option<u64>, s: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(bytes) => s.serialize_str(&print_size(*bytes)),
            None => s.serialize_none(),
        }
    }

    /// A mode or nothing.
    pub fn mode_option<S: Serializer>(value: &Option<u32>, s: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(mode) => s.serialize_str(&print_mode(*mode)),
            None => s.serialize_none(),
        }
    }

    /// A mode.
    pub fn mode<S: Serializer>(value: &u32, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&print_mode(*value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_duration(text: &str, millis: Option<u64>) {
        assert_eq!(duration(text).ok(), millis.map(Duration::from_millis), "{text}");
    }

    #[test]
    fn durations_have_units() {
        check_duration("500ms", Some(500));
        check_duration("10s", Some(10_000));
        check_duration("2h", Some(7_200_000));
        check_duration("999999999d", Some(999_999_999 * 86_400_000));
        for wrong in ["", "10", "s", "0s", "-1s", "1.5s", "10 s", "10sec", "1h30m", "9999999999s"] {
            check_duration(wrong, None);
        }
    }

    #[test]
    fn sizes_tell_powers_of_1000_from_powers_of_1024() {
        assert_eq!(size("512M"), Ok(512_000_000));
        assert_eq!(size("1Gi"), Ok(1 << 30));
        assert_eq!(size("9999999Ti"), Ok(9_999_999 << 40));
        for wrong in ["512", "512MB", "0M", "1.5G", "10000000Ti", "M"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_printed_reads_back() {
        for text in ["500ms", "10s", "90s", "2h", "36h", "7d"] {
            let value = duration(text).unwrap();
            assert_eq!(duration(&print_duration(value)), Ok(value), "{text}");
        }
        for text in ["512M", "1Gi", "1024K", "1000Ki", "9999999Ti"] {
            let value = size(text).unwrap();
            assert_eq!(size(&print_size(value)), Ok(value), "{text}");
        }
        assert_eq!(print_mode(0o4755), "4755");
        assert_eq!(print_mode(0o644), "0644");
    }

    #[test]
    fn modes_are_octal() {
        assert_eq!(mode("0644"), Ok(0o644));
        assert_eq!(mode("4755"), Ok(0o4755));
        for wrong in ["", "44", "0888", "06444", "u+x", "٣٤٥"] {
            assert!(mode(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn owners_are_user_and_group() {
        let www = Owner { user: "www-data".to_owned(), group: "33".to_owned() };
        assert_eq!(owner("www-data:33"), Ok(www));
        for wrong in ["root", ":root", "root:", "a:b:c", "Root:root", "a b:c"] {
            assert!(owner(wrong).is_err(), "{wrong}");
        }
    }
}
