//! What is told of a comparison, and the verdict.

use serde::{Deserialize, Serialize};
use umbra_state::Verdict;

use super::ALPHA;

/// A candidate passes where it differs in at most so many more answers in any field, in percent.
pub const EXCESS_PERCENT_MAX: f64 = 1.0;
/// As many fields as are told, the worst first.
const FIELDS_TOLD_MAX: usize = 500;

/// Why the answers to a request were not compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A shadow did not get the request: too many were under way, or there was no memory.
    Dropped,
    /// There was no memory to keep an answer.
    Memory,
    /// Production's answer is longer than is compared.
    TooLong,
    /// A shadow got the request in part only.
    Truncated,
    /// The client did not wait for the end, or production's answer broke off.
    Unfinished,
    /// Production did not answer.
    Primary,
    /// Too many answers waited to be compared.
    Queue,
}

impl Cause {
    /// All of them, in their order.
    pub const ALL: [Self; 7] = [
        Self::Dropped,
        Self::Memory,
        Self::TooLong,
        Self::Truncated,
        Self::Unfinished,
        Self::Primary,
        Self::Queue,
    ];

    /// As it is called in JSON and in metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Dropped => "dropped",
            Self::Memory => "memory",
            Self::TooLong => "too_long",
            Self::Truncated => "truncated",
            Self::Unfinished => "unfinished",
            Self::Primary => "primary",
            Self::Queue => "queue",
        }
    }
}

/// How many were left out for one cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Why.
    pub cause: Cause,
    /// How many.
    pub count: u64,
}

/// How a comparison stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompareReport {
    /// What there is to say.
    pub verdict: Verdict,
    /// Why, in a sentence.
    pub why: String,
    /// What would help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The candidate's mirror.
    pub candidate: String,
    /// The baseline's.
    pub baseline: Option<String>,
    /// Why nothing more is compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// The error over all fields and the whole run.
    pub alpha: f64,
    /// How much longer than production a slow answer takes, in percent.
    pub slower_percent: u32,
    /// Requests that were to be compared: `compared`, left out, and `under_way`.
    pub chosen: u64,
    /// Those whose answers were.
    pub compared: u64,
    /// Those whose answers were not, by cause.
    pub left_out: Vec<LeftOut>,
    /// Those that are not over.
    pub under_way: u64,
    /// In how many more answers the candidate differs at most in any field, in percent, at the
    /// confidence `1 - alpha`.
    pub excess_percent_most: Option<f64>,
    /// Fields that differ in either shadow, the worst first.
    pub fields: Vec<FieldReport>,
    /// More of them, that are not told.
    pub fields_more: u64,
}

/// How a field stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldReport {
    /// Its name.
    pub path: String,
    /// What is to be thought of it.
    pub standing: Standing,
    /// In how many answers the candidate differs from production.
    pub candidate: u64,
    /// In how many the baseline does.
    pub baseline: Option<u64>,
    /// The anytime-valid p-value, over all fields: flagged where it is at most `alpha`.
    pub p: Option<f64>,
    /// The e-value now, as a power of ten.
    pub log10_e: Option<f64>,
    /// After how many answers it was flagged.
    pub flagged_after: Option<u64>,
    /// How many times as often the candidate alone differs.
    pub times: Option<Times>,
    /// In how many more answers it differs at most, a part of 1.
    pub excess_most: Option<f64>,
    /// Some of the answers in which the candidate alone differs.
    pub samples: Vec<Sample>,
}

/// What is to be thought of a field, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// The candidate differs more than production from itself: that any field is called so wrongly
    /// has at most the probability `alpha`.
    Flagged,
    /// Likely so: of all that are flagged or suspected at most the part `alpha` is wrong on average.
    Suspected,
    /// Nothing says so yet.
    Open,
    /// There is no baseline to say how much is noise.
    Unjudged,
}

/// A range at the confidence `1 - alpha`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// Not less.
    pub least: f64,
    /// Nor more, where anything says so.
    pub most: Option<f64>,
}

/// A difference as it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sample {
    /// Method and path.
    pub request: String,
    /// Where the value stands among those of its field.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub place: String,
    /// Production's value, if it has the field.
    pub production: Option<String>,
    /// The candidate's.
    pub candidate: Option<String>,
    /// The baseline's.
    pub baseline: Option<String>,
}

/// What a report is made of.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) candidate: String,
    pub(super) baseline: Option<String>,
    pub(super) ended: Option<String>,
    pub(super) slower_percent: u32,
    pub(super) chosen: u64,
    pub(super) compared: u64,
    pub(super) left_out: Vec<LeftOut>,
    /// `None` where there is no baseline.
    pub(super) excess_most: Option<f64>,
    pub(super) fields: Vec<FieldReport>,
}

impl FieldReport {
    /// Of a field nobody judges.
    pub(super) fn unjudged(path: &str, candidate: u64, samples: &[Sample]) -> Self {
        Self {
            path: path.to_owned(),
            standing: Standing::Unjudged,
            candidate,
            baseline: None,
            p: None,
            log10_e: None,
            flagged_after: None,
            times: None,
            excess_most: None,
            samples: samples.to_vec(),
        }
    }
}

impl CompareReport {
    pub(super) fn of(facts: Facts) -> Self {
        let (verdict, why, hint) = judge(&facts);
        let Facts { candidate, baseline, ended, slower_percent, chosen, compared, .. } = facts;
        let out: u64 = facts.left_out.iter().map(|one| one.count).sum();
        let mut fields = facts.fields;
        let fields_more = fields.len().saturating_sub(FIELDS_TOLD_MAX) as u64;
        fields.truncate(FIELDS_TOLD_MAX);
        Self {
            verdict,
            why,
            hint: hint.map(str::to_owned),
            candidate,
            baseline,
            ended,
            alpha: ALPHA,
            slower_percent,
            chosen,
            compared,
            left_out: facts.left_out,
            under_way: chosen.saturating_sub(compared + out),
            excess_percent_most: facts.excess_most.map(|excess| 100.0 * excess),
            fields,
            fields_more,
        }
    }
}

/// Fails where a field is flagged; passes where none is and the bound on what could have been
/// missed is small enough; else nobody can say.
fn judge(facts: &Facts) -> (Verdict, String, Option<&'static str>) {
    let flagged = |field: &&FieldReport| field.standing == Standing::Flagged;
    let flagged = facts.fields.iter().filter(flagged).count();
    if flagged > 0 {
        let what = match flagged {
            1 => "one field differs".to_owned(),
            more => format!("{more} fields differ"),
        };
        return (Verdict::Fail, format!("{what} more than production from itself"), None);
    }
    let unsure = |why: String, hint| (Verdict::Inconclusive, why, Some(hint));
    let Some(excess) = facts.excess_most else {
        let hint = "start one: `umbra mirror start NAME --to HOST:PORT --role baseline` with a shadow of what is in production";
        return unsure("without a baseline nobody knows what is noise".to_owned(), hint);
    };
    let out: u64 = facts.left_out.iter().map(|one| one.count).sum();
    if out > facts.compared {
        let why = format!("{out} answers were left out, more than the {} compared", facts.compared);
        return unsure(why, "the causes say what was in the way");
    }
    let (percent, most) = (100.0 * excess, EXCESS_PERCENT_MAX);
    if percent > most {
        let why = format!(
            "no field is flagged, but one could differ in up to {percent:.1} % more answers"
        );
        return unsure(why, "more answers narrow that down; a pass needs at most 1 %");
    }
    let why = format!("no field differs in more than {percent:.2} % more answers than by noise");
    (Verdict::Pass, why, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(compared: u64, out: u64, excess: Option<f64>, standing: Standing) -> Facts {
        let field = FieldReport { standing, ..FieldReport::unjudged("a", 1, &[]) };
        Facts {
            candidate: "new".into(),
            baseline: excess.map(|_| "old".into()),
            ended: None,
            slower_percent: 100,
            chosen: compared + out + 3,
            compared,
            left_out: vec![LeftOut { cause: Cause::Queue, count: out }],
            excess_most: excess,
            fields: vec![field],
        }
    }

    #[track_caller]
    fn check(facts: Facts, verdict: Verdict, why: &str) {
        let report = CompareReport::of(facts);
        assert_eq!(report.verdict, verdict, "{report:?}");
        assert!(report.why.contains(why), "{report:?}");
        assert_eq!(report.under_way, 3);
    }

    #[test]
    fn a_pass_needs_something_to_say() {
        use Standing::{Flagged, Open, Suspected, Unjudged};
        use Verdict::{Fail, Inconclusive, Pass};
        check(facts(0, 0, None, Unjudged), Inconclusive, "without a baseline");
        check(facts(9_000, 0, None, Unjudged), Inconclusive, "without a baseline");
        check(facts(0, 0, Some(1.0), Open), Inconclusive, "100.0 %");
        check(facts(400, 0, Some(0.012), Open), Inconclusive, "1.2 %");
        check(facts(900, 0, Some(0.006), Open), Pass, "0.60 %");
        check(facts(900, 0, Some(0.006), Suspected), Pass, "0.60 %");
        check(facts(900, 901, Some(0.006), Open), Inconclusive, "901 answers");
        check(facts(900, 901, Some(0.006), Flagged), Fail, "one field differs");
    }

    #[test]
    fn causes_are_called_the_same_everywhere() {
        for cause in Cause::ALL {
            assert_eq!(serde_json::to_value(cause).unwrap(), cause.word());
            assert_eq!(Cause::ALL[cause as usize], cause);
        }
    }
}
