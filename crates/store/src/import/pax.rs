//! PAX extended headers: `LENGTH KEY=VALUE\n` records whose values may hold any byte.

use std::collections::BTreeMap;

use umbra_state::Mtime;

/// Prefix of records that hold extended attributes.
pub(crate) const XATTR: &[u8] = b"SCHILY.xattr.";

/// The records of one header, or of several; later ones win.
#[derive(Debug, Clone, Default)]
pub(super) struct Records(pub(super) BTreeMap<Vec<u8>, Vec<u8>>);

impl Records {
    /// Adds the records of a header's data. An empty value takes a record away.
    pub(super) fn add(&mut self, data: &[u8]) -> Result<(), String> {
        let mut rest = data;
        while !rest.is_empty() {
            let (key, value, after) = split(rest).ok_or("its PAX header is malformed")?;
            match value.is_empty() && !key.starts_with(XATTR) {
                true => self.0.remove(key),
                false => self.0.insert(key.to_vec(), value.to_vec()),
            };
            rest = after;
        }
        Ok(())
    }

    /// How much they hold.
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(|(key, value)| key.len() + value.len()).sum()
    }

    pub(super) fn take(&mut self, key: &str) -> Option<Vec<u8>> {
        self.0.remove(key.as_bytes())
    }

    /// A decimal number.
    pub(super) fn number<T: std::str::FromStr>(&mut self, key: &str) -> Result<Option<T>, String> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let number = std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok());
        number.map(Some).ok_or_else(|| format!("its PAX record {key} is no number in range"))
    }

    /// A time: seconds with a fraction, maybe negative.
    pub(super) fn time(&mut self, key: &str) -> Result<Option<Mtime>, String> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let time = std::str::from_utf8(&value).ok().and_then(parse_time);
        time.map(Some).ok_or_else(|| format!("its PAX record {key} is no time"))
    }
}

fn split(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = data.iter().take(12).position(|&byte| byte == b' ')?;
    let length: usize = std::str::from_utf8(&data[..space]).ok()?.parse().ok()?;
    let (record, after) = data.split_at_checked(length)?;
    let pair = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = pair.iter().position(|&byte| byte == b'=')?;
    Some((&pair[..equals], &pair[equals + 1..], after))
}

fn parse_time(text: &str) -> Option<Mtime> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (is_negative, digits) = match whole.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, whole),
    };
    if digits.is_empty() || !is_number(digits) || !is_number(fraction) {
        return None;
    }
    let sec: i64 = whole.parse().ok()?;
    let nsec: u32 = format!("{:0<9.9}", fraction).parse().ok()?;
    Some(match is_negative && nsec > 0 {
        true => Mtime { sec: sec.checked_sub(1)?, nsec: 1_000_000_000 - nsec },
        false => Mtime { sec, nsec },
    })
}

/// A time as [`Records::time`] reads it.
pub(crate) fn format_time(time: Mtime) -> String {
    match time.sec < 0 && time.nsec > 0 {
        true => {
            let sign = if time.sec == -1 { "-" } else { "" };
            format!("{sign}{}.{:09}", time.sec + 1, 1_000_000_000 - time.nsec)
        }
        false => format!("{}.{:09}", time.sec, time.nsec),
    }
}

/// A record as bytes. Its length counts itself.
pub(crate) fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_hold_any_bytes() {
        for length in [0, 1, 2, 80, 85, 86, 87, 88, 89, 90, 985, 990, 995, 1000] {
            let value = vec![b'\n'; length];
            let data = [record(b"SCHILY.xattr.user.a", &value), record(b"b", b"=\0=")].concat();
            let mut records = Records::default();
            records.add(&data).unwrap();
            assert_eq!(records.take("SCHILY.xattr.user.a"), Some(value));
            assert_eq!(records.take("b"), Some(b"=\0=".to_vec()));
        }
    }

    #[test]
    fn malformed_records_are_errors() {
        for data in
            ["5 a=b", "9 a=b\n", "x a=b\n", "6 a=b\n\0", "99999999999999999999 a=b\n", "4 a\n"]
        {
            assert!(Records::default().add(data.as_bytes()).is_err(), "{data:?}");
        }
    }

    #[test]
    fn times_round_trip_on_both_sides_of_1970() {
        for (sec, nsec) in [(0, 0), (0, 1), (5, 999_999_999), (-1, 5), (-2, 0), (-7, 500_000_000)] {
            let time = Mtime { sec, nsec };
            assert_eq!(parse_time(&format_time(time)), Some(time), "{}", format_time(time));
        }
        assert_eq!(parse_time("1.5"), Some(Mtime { sec: 1, nsec: 500_000_000 }));
        assert_eq!(parse_time("1.1234567899"), Some(Mtime { sec: 1, nsec: 123_456_789 }));
        for text in ["", "-", "1.x", "+1", "1e3", "--1"] {
            assert_eq!(parse_time(text), None, "{text:?}");
        }
    }
}
