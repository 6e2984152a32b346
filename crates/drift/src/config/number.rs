//! Values that are numbers.
//!
//! Two different texts must not become one number by rounding, or a drift would go unseen:
//! whole numbers are exact to 127 bits, others have at most 15 digits, and what is longer
//! stays a text.

use umbra_document::units::{SIZE_UNITS, TIME_UNITS};

/// What counts as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbers {
    /// Digits, a sign, a point and an exponent: version 1 of the file.
    Plain,
    /// The same, also with a unit of time, of size or `%` behind: version 2.
    WithUnits,
}

impl Numbers {
    /// The number a value is: in milliseconds or bytes where it has such a unit.
    pub fn value(self, value: &[u8]) -> Option<f64> {
        Number::parse(value, self).map(Number::value)
    }
}

/// What a number counts; only like can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dimension {
    None,
    Millis,
    Bytes,
    Percent,
}

/// A number and what it counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number {
    amount: Amount,
    dimension: Dimension,
}

#[derive(Debug, Clone, Copy)]
enum Amount {
    Whole(i128),
    Real(f64),
}

impl Number {
    /// The number a value is, white space around it left out.
    pub(super) fn parse(value: &[u8], numbers: Numbers) -> Option<Self> {
        // A number is short; to look through a long value for one would be wasted.
        let text = std::str::from_utf8(value.trim_ascii()).ok().filter(|text| text.len() <= 64)?;
        if let Some(amount) = amount(text) {
            return Some(Self { amount, dimension: Dimension::None });
        }
        if numbers == Numbers::Plain {
            return None;
        }
        let unit_at = text.rfind(|c: char| c.is_ascii_digit() || c == '.')? + 1;
        let (number, unit) = text.split_at(unit_at);
        let (factor, dimension) = factor(unit)?;
        let amount = match amount(number)? {
            Amount::Whole(whole) => Amount::Whole(whole.checked_mul(factor.into())?),
            Amount::Real(real) => Amount::Real(real * factor as f64),
        };
        Some(Self { amount, dimension })
    }

    /// How far apart two numbers are, in milliseconds or bytes where they have such units;
    /// NaN if either is not a number, `None` if they count different things.
    pub(super) fn distance(self, other: Self) -> Option<f64> {
        (self.dimension == other.dimension).then(|| match (self.amount, other.amount) {
            (Amount::Whole(a), Amount::Whole(b)) => a.abs_diff(b) as f64,
            _ => {
                let (a, b) = (self.value(), other.value());
                // Infinities of one sign are equal, though their difference is no number.
                if a == b { 0.0 } else { (a - b).abs() }
            }
        })
    }

    pub(super) fn value(self) -> f64 {
        match self.amount {
            Amount::Whole(whole) => whole as f64,
            Amount::Real(real) => real,
        }
    }
}

fn factor(unit: &str) -> Option<(u64, Dimension)> {
    let of = |units: &[(&str, u64)], dimension| {
        let known = units.iter().find(|(name, _)| *name == unit);
        known.map(|(_, factor)| (*factor, dimension))
    };
    of(&TIME_UNITS, Dimension::Millis)
        .or_else(|| of(&SIZE_UNITS, Dimension::Bytes))
        .or_else(|| (unit == "%").then_some((1, Dimension::Percent)))
}

const REAL_DIGITS_MAX: usize = 15;

fn amount(text: &str) -> Option<Amount> {
    if let Ok(whole) = text.parse() {
        return Some(Amount::Whole(whole));
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if ["nan", "inf", "infinity"].iter().any(|word| unsigned.eq_ignore_ascii_case(word)) {
        return text.parse().ok().map(Amount::Real);
    }
    let mantissa = unsigned.split(['e', 'E']).next().unwrap_or("");
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).count();
    let real: f64 = text.parse().ok()?;
    // Too small and too great a number would round to 0 and to infinity.
    let rounded =
        real.is_infinite() || (real == 0.0 && mantissa.contains(|c| ('1'..='9').contains(&c)));
    (digits <= REAL_DIGITS_MAX && !rounded).then_some(Amount::Real(real))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(a: &str, b: &str, expected: Option<f64>) {
        let parse = |text: &str| Number::parse(text.as_bytes(), Numbers::WithUnits);
        let distance = parse(a).zip(parse(b)).and_then(|(a, b)| a.distance(b));
        assert_eq!(distance, expected, "{a} and {b}");
    }

    #[test]
    fn numbers_are_as_far_apart_as_they_say() {
        check("5", " 7\n", Some(2.0));
        check("-1.5", "1e1", Some(11.5));
        check("1.0", "1", Some(0.0));
        check("9007199254740993", "9007199254740992", Some(1.0));
        check("inf", "inf", Some(0.0));
        check("inf", "-inf", Some(f64::INFINITY));
        check("64K", "64Ki", Some(1536.0));
        check("1m", "30s", Some(30_000.0));
        check("1.5s", "1s", Some(500.0));
        check("10%", "12%", Some(2.0));
    }

    #[test]
    fn what_would_be_rounded_or_counts_something_else_is_no_number() {
        for other in ["", "x", "0x10", "1,5", "5s", "5%", "5 5", "1e400", "1e-400"] {
            check("5", other, None);
        }
        check("5", "0.1000000000000000001", None);
        check("5", &"9".repeat(60), None);
        assert!(Number::parse(b"5s", Numbers::Plain).is_none());
    }
}
