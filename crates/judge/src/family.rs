//! One error bound for many questions, which become known one after another.
//!
//! Each question gets a *share* of the error when it first matters, before its first outcome, and
//! shares never exceed 1 together. Then the mean of all e-values, each by its share, is an
//! e-process itself, however they depend on each other. So
//!
//! * a question is answered with yes once its e-value reaches `1/(alpha share)`: the probability
//!   that this ever happens to any question where the truth is no is at most `alpha`. With equal
//!   shares this is e-Bonferroni, `F/alpha` of `F`;
//! * [`discoveries`] answers more questions with yes, of which on average at most the part `alpha`
//!   is wrong: e-BH by shares (Wang & Ramdas, JRSS B 2022, arXiv 2009.02824).
//!
//! Plain `F/alpha` with the number of questions *so far* would not do: the first question alone
//! could spend all of `alpha` before the second comes.

/// Hands out shares.
#[derive(Debug, Clone)]
pub struct Shares {
    questions_max: usize,
    batches: u64,
}

impl Shares {
    /// For at most so many questions.
    pub fn new(questions_max: usize) -> Self {
        Self { questions_max: questions_max.max(1), batches: 0 }
    }

    /// The share of each of `questions` that become known at the same time. Neither their number
    /// nor that they become known now may depend on which arm is which.
    ///
    /// Half of the whole goes in equal parts to all questions there can be, the other half by
    /// batches, each of which gets `1/(b (b + 1))` of it: whoever is early is judged almost as if
    /// nobody came later, and nobody gets less than half an equal part.
    pub fn batch(&mut self, questions: usize) -> f64 {
        self.batches += 1;
        let number = self.batches as f64;
        let of_batch = 1.0 / (number * (number + 1.0) * questions.max(1) as f64);
        0.5 / self.questions_max as f64 + 0.5 * of_batch
    }
}

/// The logarithm of the e-value at which a question with this share is answered with yes.
pub fn log_threshold(share: f64, alpha: f64) -> f64 {
    -(share * alpha).ln()
}

/// A question as it stands: the logarithm of its e-value now, and its share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standing {
    /// The natural logarithm of its e-value.
    pub log_e: f64,
    /// Its share of the error.
    pub share: f64,
}

/// Which questions e-BH answers with yes: the most, `k`, whose e-values reach `1/(alpha k share)`.
pub fn discoveries(questions: &[Standing], alpha: f64) -> Vec<bool> {
    let worth = |one: &Standing| one.log_e + one.share.ln();
    let mut worths: Vec<f64> = questions.iter().map(worth).collect();
    worths.sort_by(|a, b| b.total_cmp(a));
    let needed = |k: usize| -(alpha * k as f64).ln();
    let reached = |k: &usize| worths[k - 1] >= needed(*k);
    let Some(most) = (1..=worths.len()).rev().find(reached) else {
        return vec![false; questions.len()];
    };
    questions.iter().map(|one| worth(one) >= needed(most)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_early_question_is_hardly_poorer_for_late_ones() {
        let mut shares = Shares::new(2_000);
        let first = shares.batch(10);
        assert!((first - (0.5 / 2_000.0 + 0.025)).abs() < 1e-12);
        // e-Bonferroni over ten would be 200.
        assert!((log_threshold(first, 0.05).exp() - 792.07).abs() < 0.1);
        for _ in 0..500 {
            shares.batch(1);
        }
        assert!(log_threshold(shares.batch(1), 0.05).exp() < 80_000.0);
    }

    #[test]
    fn as_many_are_found_as_hold_together() {
        #[track_caller]
        fn check(e: &[f64], found: &[bool]) {
            let share = 1.0 / e.len() as f64;
            let all = e.iter().map(|e| Standing { log_e: e.ln(), share }).collect::<Vec<_>>();
            assert_eq!(discoveries(&all, 0.05), found, "{e:?}");
        }
        check(&[], &[]);
        check(&[19.9], &[false]);
        check(&[20.1], &[true]);
        // Of four each alone needs 80, two together 40, four together 20.
        check(&[81.0, 1.0, 1.0, 1.0], &[true, false, false, false]);
        check(&[41.0, 1.0, 41.0, 39.0], &[true, false, true, true]);
        check(&[41.0, 1.0, 39.0, 1.0], &[false; 4]);
        check(&[21.0; 4], &[true; 4]);
    }

    proptest! {
        #[test]
        fn shares_never_exceed_the_whole(batches in prop::collection::vec(1_usize..60, 1..400)) {
            let (most, mut left, mut whole) = (2_000, 2_000, 0.0);
            let mut shares = Shares::new(most);
            for questions in batches {
                let questions = questions.min(left);
                if questions == 0 { break }
                left -= questions;
                whole += shares.batch(questions) * questions as f64;
            }
            prop_assert!(whole <= 1.0 + 1e-9, "{whole}");
        }

        /// Whatever e-Bonferroni finds e-BH finds, and more evidence never finds less.
        #[test]
        fn more_evidence_finds_more(logs in prop::collection::vec(-3.0_f64..12.0, 1..30), one: prop::sample::Index) {
            let share = 1.0 / logs.len() as f64;
            let of = |logs: &[f64]| {
                let all = logs.iter().map(|&log_e| Standing { log_e, share });
                discoveries(&all.collect::<Vec<_>>(), 0.05)
            };
            let found = of(&logs);
            for (found, log) in found.iter().zip(&logs) {
                prop_assert!(*found || *log < log_threshold(share, 0.05));
            }
            let mut more = logs.clone();
            more[one.index(logs.len())] += 2.0;
            prop_assert!(of(&more).iter().zip(&found).all(|(after, before)| after >= before));
        }
    }
}
