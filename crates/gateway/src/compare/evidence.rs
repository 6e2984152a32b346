//! What speaks against each field, over all requests.

use std::collections::BTreeMap;

use umbra_judge::excess::{self, Pairs};
use umbra_judge::family::{Shares, Standing as Share, discoveries, log_threshold};
use umbra_judge::interval::interval;
use umbra_judge::paired::Paired;

use super::ALPHA;
use super::differ::Difference;
use super::report::{FieldReport, Sample, Standing, Times};

/// Fields that differ in either shadow, of which so many are told apart; what is more is one.
const FIELDS_MAX: usize = 2_000;
/// The field of what is more.
const OTHER: &str = "(other fields)";
/// Samples of each field.
const SAMPLES_MAX: usize = 5;

/// Of all answers compared so far.
#[derive(Debug)]
pub(super) struct Evidence {
    compared: u64,
    fields: BTreeMap<String, Field>,
    shares: Shares,
    flagged: u64,
}

/// A field that differed at least once in either shadow.
#[derive(Debug)]
struct Field {
    candidate: u64,
    baseline: u64,
    paired: Paired,
    share: f64,
    /// After how many answers.
    flagged: Option<u64>,
    samples: Vec<Sample>,
}

impl Default for Evidence {
    fn default() -> Self {
        let shares = Shares::new(FIELDS_MAX + 1);
        Self { compared: 0, fields: BTreeMap::new(), shares, flagged: 0 }
    }
}

impl Evidence {
    /// One more request was answered, with these differences and no others.
    pub(super) fn add(&mut self, found: Vec<Difference>, mut sample: impl FnMut(&str) -> Sample) {
        self.compared += 1;
        let found = self.known(found);
        self.meet(&found);
        for (name, difference) in found {
            let Some(field) = self.fields.get_mut(&name) else { continue };
            field.candidate += u64::from(difference.candidate);
            field.baseline += u64::from(difference.baseline);
            if difference.candidate && !difference.baseline && field.samples.len() < SAMPLES_MAX {
                field.samples.push(sample(&difference.path));
            }
            field.paired.pair(difference.candidate, difference.baseline);
            let reached = field.paired.ratio().peak() >= log_threshold(field.share, ALPHA);
            if reached && field.flagged.is_none() {
                field.flagged = Some(self.compared);
                self.flagged += 1;
            }
        }
    }

    /// By the names under which they are counted; all beyond so many have one.
    fn known(&self, found: Vec<Difference>) -> BTreeMap<String, Difference> {
        let mut left = FIELDS_MAX.saturating_sub(self.fields.len());
        let mut known: BTreeMap<String, Difference> = BTreeMap::new();
        for difference in found {
            let new = !self.fields.contains_key(&difference.path);
            let name = match (new, left) {
                (true, 0) => OTHER.to_owned(),
                (true, _) => {
                    left -= 1;
                    difference.path.clone()
                }
                (false, _) => difference.path.clone(),
            };
            let one = known.entry(name).or_insert_with(|| Difference {
                path: difference.path.clone(),
                candidate: false,
                baseline: false,
            });
            one.candidate |= difference.candidate;
            one.baseline |= difference.baseline;
        }
        known
    }

    /// Fields that differ for the first time get their shares before their first outcome counts:
    /// which they are is the same whichever shadow is the candidate.
    fn meet(&mut self, found: &BTreeMap<String, Difference>) {
        let new: Vec<&String> =
            found.keys().filter(|name| !self.fields.contains_key(*name)).collect();
        if new.is_empty() {
            return;
        }
        let share = self.shares.batch(new.len());
        for name in new {
            let paired = Paired::new();
            let samples = Vec::new();
            let field = Field { candidate: 0, baseline: 0, paired, share, flagged: None, samples };
            self.fields.insert(name.clone(), field);
        }
    }

    /// The natural logarithm of the mean of all fields' e-values, each by its share; what no field
    /// has of the whole is kept, as 1.
    pub(super) fn log_e(&self) -> f64 {
        let shares: f64 = self.fields.values().map(|field| field.share).sum();
        let kept = (1.0 - shares).max(0.0).ln();
        let logs = || self.fields.values().map(|field| field.share.ln() + field.log_e());
        let most = logs().fold(kept, f64::max);
        most + logs().chain([kept]).map(|log| (log - most).exp()).sum::<f64>().ln()
    }

    pub(super) fn compared(&self) -> u64 {
        self.compared
    }

    pub(super) fn flagged(&self) -> u64 {
        self.flagged
    }

    /// In how many more answers the candidate differs at most, in whichever field, of these that
    /// were judged or one that never differed; a part of 1.
    pub(super) fn excess_most(&self, judged: &[FieldReport]) -> f64 {
        let quiet = Pairs { all: self.compared, ..Pairs::default() };
        let differing = judged.iter().filter_map(|field| field.excess_most);
        differing.fold(excess::at_most(&quiet, ALPHA), f64::max)
    }

    /// All of them, the worst first. Without a baseline none is judged.
    pub(super) fn fields(&self, has_baseline: bool) -> Vec<FieldReport> {
        let standing = |field: &Field| Share { log_e: field.log_e(), share: field.share };
        let standings: Vec<Share> = self.fields.values().map(standing).collect();
        let suspected = discoveries(&standings, ALPHA);
        let told = self.fields.iter().zip(suspected);
        let mut told: Vec<FieldReport> = told
            .map(|((path, field), suspected)| {
                let report = FieldReport::unjudged(path, field.candidate, &field.samples);
                if has_baseline { field.judged(report, self.compared, suspected) } else { report }
            })
            .collect();
        told.sort_by(|a, b| {
            let p = |field: &FieldReport| field.p.unwrap_or(1.0);
            (a.standing.cmp(&b.standing))
                .then(p(a).total_cmp(&p(b)))
                .then(b.candidate.cmp(&a.candidate))
        });
        told
    }
}

impl Field {
    fn log_e(&self) -> f64 {
        self.paired.ratio().log_e()
    }

    fn pairs(&self, all: u64) -> Pairs {
        let tally = self.paired.ratio().tally();
        Pairs { all, candidate: tally.candidate(), baseline: tally.baseline() }
    }

    fn judged(&self, report: FieldReport, all: u64, suspected: bool) -> FieldReport {
        let standing = match (self.flagged, suspected) {
            (Some(_), _) => Standing::Flagged,
            (None, true) => Standing::Suspected,
            (None, false) => Standing::Open,
        };
        let times = (standing != Standing::Open).then(|| {
            let interval = interval(self.paired.ratio().tally(), ALPHA);
            let most = interval.most.is_finite().then_some(interval.most);
            Times { least: interval.least, most }
        });
        FieldReport {
            standing,
            baseline: Some(self.baseline),
            // What it would have to be at least for the field to be flagged.
            p: Some((-self.paired.ratio().peak() - self.share.ln()).exp().min(1.0)),
            log10_e: Some(self.log_e() / std::f64::consts::LN_10),
            flagged_after: self.flagged,
            times,
            excess_most: Some(excess::at_most(&self.pairs(all), ALPHA)),
            ..report
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(path: &str, candidate: bool, baseline: bool) -> Difference {
        Difference { path: path.to_owned(), candidate, baseline }
    }

    fn add(evidence: &mut Evidence, found: Vec<Difference>) {
        evidence.add(found, |path| Sample { request: path.to_owned(), ..Sample::default() });
    }

    #[test]
    fn only_what_the_candidate_does_more_is_flagged() {
        let mut evidence = Evidence::default();
        for n in 0..2_000 {
            let mut found = vec![difference("id", true, true)];
            found.extend((n % 7 == 0).then(|| difference("date", n % 2 == 0, n % 2 == 1)));
            found.extend((n % 50 == 0).then(|| difference("price", true, false)));
            add(&mut evidence, found);
        }
        let fields = evidence.fields(true);
        let told: Vec<_> = fields.iter().map(|one| (one.path.as_str(), one.standing)).collect();
        assert_eq!(told[0], ("price", Standing::Flagged));
        assert!(told[1..].iter().all(|(_, standing)| *standing == Standing::Open), "{told:?}");
        let price = &fields[0];
        assert!(price.flagged_after.is_some_and(|after| after < 1_000), "{price:?}");
        assert!(
            price.p.is_some_and(|p| p < 0.05) && price.times.is_some_and(|times| times.least > 3.0)
        );
        assert_eq!(
            (price.candidate, price.baseline, price.samples.len()),
            (40, Some(0), SAMPLES_MAX)
        );
        assert!(evidence.excess_most(&fields) > 0.02);
        assert_eq!(evidence.flagged(), 1);
        assert!(evidence.fields(false).iter().all(|one| one.p.is_none() && one.baseline.is_none()));
    }

    #[test]
    fn all_fields_are_one_question_too() {
        let mut evidence = Evidence::default();
        assert_eq!(evidence.log_e(), 0.0);
        for n in 0..40 {
            add(&mut evidence, vec![difference("noise", n % 2 == 0, n % 2 == 1)]);
        }
        assert!(evidence.log_e() < 0.1, "{}", evidence.log_e());
        let before = evidence.log_e();
        for _ in 0..40 {
            add(&mut evidence, vec![difference("price", true, false)]);
        }
        let price = &evidence.fields["price"];
        let alone = price.share.ln() + price.log_e();
        let all = evidence.log_e();
        assert!(all >= alone && all <= alone + 0.1 && before < all, "{all} of {alone}");
    }

    #[test]
    fn fields_without_end_are_one() {
        let mut evidence = Evidence::default();
        for n in 0..1_000 {
            let found = (0..5).map(|m| difference(&format!("f{n}-{m}"), true, false)).collect();
            add(&mut evidence, found);
        }
        assert_eq!(evidence.fields.len(), FIELDS_MAX + 1);
        let fields = evidence.fields(true);
        assert_eq!((fields[0].path.as_str(), fields[0].standing), (OTHER, Standing::Flagged));
        assert_eq!(fields[0].candidate, 600);
    }
}
