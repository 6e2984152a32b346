//! Which requests are mirrored: an exact part of them, without a rhythm.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

/// A part of a whole, from 0 to 1, in hundred-thousandths: 0.001 % is the least but none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fraction(u32);

/// Hundred-thousandths of a whole.
const WHOLE: u32 = 100_000;

impl Fraction {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Everything.
    pub const ALL: Self = Self(WHOLE);

    /// Whether it has what this number was drawn for: more of it always has what less of it had.
    pub fn holds(self, drawn: u64) -> bool {
        drawn % u64::from(WHOLE) < u64::from(self.0)
    }

    /// It in percent.
    pub fn percent(self) -> f64 {
        f64::from(self.0) / 1000.0
    }
}

/// It is no percentage that can be kept exactly.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read {text:?} as a percentage: it is not from 0 to 100 with at most three decimals")]
pub struct NoFraction {
    text: String,
}

impl FromStr for Fraction {
    type Err = NoFraction;

    /// `5`, `0.001`, `12.5%`.
    fn from_str(text: &str) -> Result<Self, NoFraction> {
        let refused = || NoFraction { text: text.chars().take(40).collect() };
        let number = text.strip_suffix('%').unwrap_or(text);
        let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
        let digits =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(decimals) || whole.len() > 3 || decimals.len() > 3 {
            return Err(refused());
        }
        let thousandths = format!("{decimals:0<3}");
        let parts = (whole.parse::<u32>().ok())
            .zip(thousandths.parse::<u32>().ok())
            .map(|(whole, thousandths)| whole * 1000 + thousandths);
        parts.filter(|parts| *parts <= WHOLE).map(Self).ok_or_else(refused)
    }
}

impl fmt::Display for Fraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", self.percent())
    }
}

/// Chooses a part of what comes.
///
/// At every n the number that was chosen of the first n is within 1 of `fraction * n`. What comes
/// is cut into strata of `1 / fraction`, one of each is chosen, and which of it is as good as
/// random: clients with a rhythm of their own do not always fall into it, or never.
#[derive(Debug)]
pub struct Chooser {
    fraction: Fraction,
    seed: u64,
    seen: AtomicU64,
}

impl Chooser {
    /// With a seed that clients do not know.
    pub fn new(fraction: Fraction, seed: u64) -> Self {
        Self { fraction, seed, seen: AtomicU64::new(0) }
    }

    /// Of what.
    pub fn fraction(&self) -> Fraction {
        self.fraction
    }

    /// How many have come.
    pub fn seen(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }

    /// Whether the next is chosen.
    pub fn choose(&self) -> bool {
        chosen(self.fraction, self.seed, self.seen.fetch_add(1, Ordering::Relaxed))
    }
}

fn chosen(fraction: Fraction, seed: u64, n: u64) -> bool {
    let (part, whole) = (u128::from(fraction.0), u128::from(WHOLE));
    if part == 0 {
        return false;
    }
    let stratum = u128::from(n) * part / whole;
    let start = |stratum: u128| (stratum * whole).div_ceil(part);
    let (first, next) = (start(stratum), start(stratum + 1));
    let place = u128::from(mixed(seed ^ stratum as u64)) % (next - first);
    u128::from(n) == first + place
}

/// SplitMix64's finaliser (Steele, Lea, Flood 2014): every bit of the answer depends on all.
pub(crate) fn mixed(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn percentages_are_exact() {
        #[track_caller]
        fn check(text: &str, parts: Option<u32>) {
            assert_eq!(text.parse::<Fraction>().ok(), parts.map(Fraction), "{text}");
        }
        check("5", Some(5_000));
        check("0.001", Some(1));
        check("12.5%", Some(12_500));
        check("100", Some(100_000));
        check("0", Some(0));
        for bad in ["", "-1", "100.001", "0.0001", "1e2", "5 %", ".5", "5.", "nan", "9999"] {
            check(bad, None);
        }
    }

    proptest! {
        #[test]
        fn at_every_n_it_is_within_one(parts in 0..=WHOLE, seed: u64, far in 0..u64::from(u32::MAX)) {
            let fraction = Fraction(parts);
            let mut chosen_so_far = 0_u64;
            for n in 0..3_000_u64 {
                chosen_so_far += u64::from(chosen(fraction, seed, n));
                let (so_far, exact) = (chosen_so_far * u64::from(WHOLE), (n + 1) * u64::from(parts));
                prop_assert!(so_far.abs_diff(exact) <= u64::from(WHOLE), "{n}: {chosen_so_far}");
            }
            // Far on it still computes.
            chosen(fraction, seed, u64::MAX - far);
        }
    }

    #[test]
    fn a_rhythm_is_not_followed() {
        let fraction: Fraction = "10".parse().unwrap();
        let mut of_ten = [0_u32; 10];
        for n in 0..100_000_u64 {
            of_ten[(n % 10) as usize] += u32::from(chosen(fraction, 7, n));
        }
        assert!(of_ten.iter().all(|count| (800..1200).contains(count)), "{of_ten:?}");
    }
}
