//! Thresholds as k6 writes them: `p(99)<20ms`, `errors<0.1%`, `rate>450`.

use std::fmt;
use std::str::FromStr;

/// A measured quantity, a comparison and a bound.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    /// What is measured.
    pub quantity: Quantity,
    /// How it must compare to the bound.
    pub comparison: Comparison,
    /// The bound: milliseconds for latencies, percent for errors, requests per second for
    /// the rate.
    pub bound: f64,
    text: String,
}

/// What a threshold speaks of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Quantity {
    /// The latency that this percentage of requests does not exceed.
    Percentile(f64),
    /// Mean latency.
    Avg,
    /// Smallest latency.
    Min,
    /// Largest latency.
    Max,
    /// Share of requests that failed, dropped users included.
    Errors,
    /// Good answers per second.
    Rate,
}

/// How a value must compare to its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Comparison {
    /// Whether `value` compares so to `bound`.
    pub fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Self::Less => value < bound,
            Self::LessOrEqual => value <= bound,
            Self::Greater => value > bound,
            Self::GreaterOrEqual => value >= bound,
        }
    }
}

impl Quantity {
    /// The unit of its bound.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Percentile(_) | Self::Avg | Self::Min | Self::Max => "ms",
            Self::Errors => "%",
            Self::Rate => "1/s",
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percentile(percent) => write!(f, "p({percent})"),
            Self::Avg => f.write_str("avg"),
            Self::Min => f.write_str("min"),
            Self::Max => f.write_str("max"),
            Self::Errors => f.write_str("errors"),
            Self::Rate => f.write_str("rate"),
        }
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A text that is no threshold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read threshold at character {position}: expected {expected}")]
pub struct ThresholdError {
    /// Which character, from 1.
    pub position: usize,
    /// What should stand there.
    pub expected: &'static str,
}

impl FromStr for Threshold {
    type Err = ThresholdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut reader = Reader { text, at: 0 };
        let quantity = reader.quantity()?;
        let comparison = reader.comparison()?;
        let bound = reader.number("a number")? * reader.unit(quantity)?;
        reader.spaces();
        match reader.rest().is_empty() {
            true => {
                Ok(Self { quantity, comparison, bound, text: text.split_whitespace().collect() })
            }
            false => Err(reader.expected("nothing more")),
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn expected(&self, expected: &'static str) -> ThresholdError {
        ThresholdError { position: self.text[..self.at].chars().count() + 1, expected }
    }

    fn spaces(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn take(&mut self, token: &str) -> bool {
        self.spaces();
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn word(&mut self) -> &'a str {
        self.spaces();
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn quantity(&mut self) -> Result<Quantity, ThresholdError> {
        self.spaces();
        let start = self.at;
        match self.word() {
            "p" => {
                if !self.take("(") {
                    return Err(self.expected("an opening parenthesis"));
                }
                self.spaces();
                let before = self.at;
                let percent = self.number("a percentage")?;
                if !(percent > 0.0 && percent < 100.0) {
                    self.at = before;
                    return Err(self.expected("a percentage above 0 and below 100"));
                }
                match self.take(")") {
                    true => Ok(Quantity::Percentile(percent)),
                    false => Err(self.expected("a closing parenthesis")),
                }
            }
            "med" => Ok(Quantity::Percentile(50.0)),
            "avg" => Ok(Quantity::Avg),
            "min" => Ok(Quantity::Min),
            "max" => Ok(Quantity::Max),
            "errors" => Ok(Quantity::Errors),
            "rate" => Ok(Quantity::Rate),
            _ => {
                self.at = start;
                Err(self.expected("p(N), med, avg, min, max, errors or rate"))
            }
        }
    }

    fn comparison(&mut self) -> Result<Comparison, ThresholdError> {
        // Longer ones first, or `<=` would be read as `<`.
        let known = [
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        let found = known.into_iter().find(|(token, _)| self.take(token));
        found.map(|(_, comparison)| comparison).ok_or_else(|| self.expected("<, <=, > or >="))
    }

    fn number(&mut self, expected: &'static str) -> Result<f64, ThresholdError> {
        self.spaces();
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number = rest[..end].parse().ok().filter(|number: &f64| number.is_finite());
        match number.filter(|_| end > 0 && end <= 30) {
            Some(number) => {
                self.at += end;
                Ok(number)
            }
            None => Err(self.expected(expected)),
        }
    }

    /// What one of the written unit is in the quantity's own.
    fn unit(&mut self, quantity: Quantity) -> Result<f64, ThresholdError> {
        self.spaces();
        let start = self.at;
        let (factor, expected) = match quantity.unit() {
            "ms" => {
                let factor = match self.word() {
                    "us" => Some(1e-3),
                    "ms" => Some(1.0),
                    "s" => Some(1e3),
                    _ => None,
                };
                (factor, "us, ms or s")
            }
            "%" => (self.take("%").then_some(1.0), "a percent sign"),
            _ => {
                let factor = match self.take("/s") {
                    true => Some(1.0),
                    false => self.rest().trim().is_empty().then_some(1.0),
                };
                (factor, "/s or nothing")
            }
        };
        factor.ok_or_else(|| {
            self.at = start;
            self.expected(expected)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, quantity: Quantity, comparison: Comparison, bound: f64) {
        let threshold: Threshold = text.parse().expect(text);
        assert_eq!(
            (threshold.quantity, threshold.comparison, threshold.bound),
            (quantity, comparison, bound)
        );
    }

    #[test]
    fn every_quantity_reads() {
        use Comparison::{Greater, GreaterOrEqual, Less, LessOrEqual};
        check("p(99)<20ms", Quantity::Percentile(99.0), Less, 20.0);
        check(" p( 99.9 ) <= 1.5 s ", Quantity::Percentile(99.9), LessOrEqual, 1500.0);
        check("p(50)<500us", Quantity::Percentile(50.0), Less, 0.5);
        check("med<5ms", Quantity::Percentile(50.0), Less, 5.0);
        check("errors<0.1%", Quantity::Errors, Less, 0.1);
        check("rate>450", Quantity::Rate, Greater, 450.0);
        check("rate>=450/s", Quantity::Rate, GreaterOrEqual, 450.0);
        check("max<1s", Quantity::Max, Less, 1000.0);
    }

    #[test]
    fn errors_point_at_the_place() {
        for (text, position, expected) in [
            ("", 1, "p(N), med, avg, min, max, errors or rate"),
            ("p99<20ms", 2, "an opening parenthesis"),
            ("p(100)<20ms", 3, "a percentage above 0 and below 100"),
            ("p(99<20ms", 5, "a closing parenthesis"),
            ("p(99)=20ms", 6, "<, <=, > or >="),
            ("p(99)<20", 9, "us, ms or s"),
            ("p(99)<20m", 9, "us, ms or s"),
            ("p(99)<ms", 7, "a number"),
            ("errors<1", 9, "a percent sign"),
            ("max<1s!", 7, "nothing more"),
            ("rate>4 50", 8, "/s or nothing"),
            ("p(9.9.9)<1s", 3, "a percentage"),
        ] {
            let error = text.parse::<Threshold>().expect_err(text);
            assert_eq!((error.position, error.expected), (position, expected), "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_round_trips(text in "(p|\\(|\\)|[0-9]{1,3}|\\.|<|>|=|ms|s|us|%|errors|rate|max| |é){0,12}") {
            if let Ok(threshold) = text.parse::<Threshold>() {
                let again: Threshold = threshold.to_string().parse().expect("its own text");
                prop_assert_eq!(again, threshold);
            }
        }
    }
}
