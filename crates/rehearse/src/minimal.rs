//! The smallest part of a set of changes that still makes something fail: delta debugging.
//!
//! The algorithm is *ddmin* of Zeller and Hildebrandt, "Simplifying and Isolating
//! Failure-Inducing Input", IEEE Transactions on Software Engineering 28(2), 2002, section 3. Its
//! result is 1-minimal, whether or not failing is monotone: without any one of its parts the
//! rest does not fail. It takes about `2 log n` probes where one change alone is the cause, and
//! `n * n + 3 n` at worst, which is why there is a limit.

use std::collections::HashMap;

/// What a probe says of a subset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It fails.
    Fails,
    /// It does not.
    Passes,
    /// Nobody can say: it cannot be tried, or failed in another way.
    Unknown,
    /// There is no time for any more.
    Stop,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// These, by their places and in order, fail.
    Smallest {
        /// Their places.
        places: Vec<usize>,
        /// Whether nothing smaller was seen to fail, each of them having been left out once;
        /// false if the limit came before.
        minimal: bool,
    },
    /// It fails with nothing of it.
    Without,
    /// All of it, tried again, does not fail.
    NotAgain,
    /// Nobody could try all of it again.
    Untried,
}

/// Looks for the smallest part of `count` changes that fails, by at most `probes_max` probes.
/// A probe is given places in ascending order.
pub fn minimal(count: usize, probes_max: usize, probe: impl FnMut(&[usize]) -> Answer) -> Outcome {
    let mut search = Search { probe, known: HashMap::new(), left: probes_max };
    let all: Vec<usize> = (0..count).collect();
    match search.ask(&all) {
        Some(Answer::Fails) => {}
        Some(Answer::Passes) => return Outcome::NotAgain,
        _ => return Outcome::Untried,
    }
    match search.ask(&[]) {
        Some(Answer::Fails) => return Outcome::Without,
        Some(_) => {}
        None => return Outcome::Smallest { places: all, minimal: false },
    }
    search.shrink(all)
}

struct Search<P> {
    probe: P,
    known: HashMap<Vec<usize>, Answer>,
    left: usize,
}

/// What became of one round over all parts.
enum Round {
    /// This smaller set fails; its parts are to be so many.
    Smaller(Vec<usize>, usize),
    /// No part and no complement does.
    Nothing,
    /// The limit came.
    Spent,
}

impl<P: FnMut(&[usize]) -> Answer> Search<P> {
    /// `None` once the limit is reached.
    fn ask(&mut self, places: &[usize]) -> Option<Answer> {
        if let Some(answer) = self.known.get(places) {
            return Some(*answer);
        }
        self.left = self.left.checked_sub(1)?;
        match (self.probe)(places) {
            Answer::Stop => {
                self.left = 0;
                None
            }
            answer => {
                self.known.insert(places.to_vec(), answer);
                Some(answer)
            }
        }
    }

    /// `failing` fails, and nothing does not.
    fn shrink(&mut self, mut failing: Vec<usize>) -> Outcome {
        let mut parts = 2;
        while failing.len() > 1 {
            match self.round(&failing, parts) {
                Round::Smaller(smaller, next) => (failing, parts) = (smaller, next),
                Round::Nothing if parts < failing.len() => parts = (parts * 2).min(failing.len()),
                Round::Nothing => break,
                Round::Spent => return Outcome::Smallest { places: failing, minimal: false },
            }
        }
        Outcome::Smallest { places: failing, minimal: true }
    }

    fn round(&mut self, failing: &[usize], parts: usize) -> Round {
        let size = failing.len().div_ceil(parts);
        for part in failing.chunks(size) {
            match self.ask(part) {
                Some(Answer::Fails) => return Round::Smaller(part.to_vec(), 2),
                Some(_) => {}
                None => return Round::Spent,
            }
        }
        for at in (0..failing.len()).step_by(size) {
            let rest = [&failing[..at], &failing[(at + size).min(failing.len())..]].concat();
            match self.ask(&rest) {
                Some(Answer::Fails) => return Round::Smaller(rest, (parts - 1).max(2)),
                Some(_) => {}
                None => return Round::Spent,
            }
        }
        Round::Nothing
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The outcome and how many probes it took.
    fn run(count: usize, mut fails: impl FnMut(&[usize]) -> bool) -> (Outcome, usize) {
        let mut probes = 0;
        let outcome = minimal(count, usize::MAX, |places| {
            probes += 1;
            assert!(places.is_sorted() && places.iter().all(|place| *place < count));
            if fails(places) { Answer::Fails } else { Answer::Passes }
        });
        (outcome, probes)
    }

    #[track_caller]
    fn check(count: usize, fails: impl FnMut(&[usize]) -> bool, expected: &[usize], most: usize) {
        let (outcome, probes) = run(count, fails);
        assert_eq!(outcome, Outcome::Smallest { places: expected.to_vec(), minimal: true });
        assert!(probes <= most, "{probes} probes");
    }

    #[test]
    fn the_cause_is_found() {
        check(1, |set| set.contains(&0), &[0], 2);
        check(20, |set| set.contains(&13), &[13], 14);
        check(20, |set| set.contains(&3) && set.contains(&17), &[3, 17], 40);
        check(5, |set| set.len() == 5, &[0, 1, 2, 3, 4], 30);
        check(1000, |set| set.contains(&999), &[999], 24);
    }

    #[test]
    fn what_is_no_cause_is_said() {
        assert_eq!(run(4, |_| true).0, Outcome::Without);
        assert_eq!(run(4, |_| false).0, Outcome::NotAgain);
        assert_eq!(run(0, |_| true).0, Outcome::Without);
        assert_eq!(minimal(3, 9, |_| Answer::Unknown), Outcome::Untried);
        assert_eq!(minimal(3, 0, |_| Answer::Fails), Outcome::Untried);
    }

    #[test]
    fn the_limit_ends_it_with_the_best_so_far() {
        let mut probes = 0;
        let outcome = minimal(64, 8, |set| {
            probes += 1;
            if set.contains(&5) { Answer::Fails } else { Answer::Passes }
        });
        let Outcome::Smallest { places, minimal } = outcome else { panic!("{outcome:?}") };
        assert!(places.contains(&5) && places.len() < 64 && !minimal, "{places:?}");
        assert_eq!(probes, 8);
        let stopped = minimal_stopping_after(3);
        assert_eq!(stopped, Outcome::Smallest { places: (0..8).collect(), minimal: false });
    }

    fn minimal_stopping_after(answers: usize) -> Outcome {
        let mut left = answers;
        minimal(8, usize::MAX, |set| match left {
            0 => Answer::Stop,
            _ => {
                left -= 1;
                if set.len() == 8 { Answer::Fails } else { Answer::Passes }
            }
        })
    }

    /// Fails with all of any of some sets, and never with nothing.
    fn monotone() -> impl Strategy<Value = (usize, Vec<Vec<usize>>)> {
        (1usize..40).prop_flat_map(|count| {
            let cause = proptest::collection::vec(0..count, 1..5);
            (Just(count), proptest::collection::vec(cause, 1..4))
        })
    }

    fn assert_minimal(count: usize, fails: impl Fn(&[usize]) -> bool) {
        let (outcome, probes) = run(count, &fails);
        let Outcome::Smallest { places, minimal: true } = outcome else { panic!("{outcome:?}") };
        assert!(fails(&places), "{places:?} passes");
        for left_out in &places {
            let rest: Vec<usize> = places.iter().copied().filter(|p| p != left_out).collect();
            assert!(!fails(&rest), "{places:?} fails without {left_out} too");
        }
        assert!(probes <= count * count + 3 * count + 2, "{probes} probes for {count}");
    }

    proptest! {
        #[test]
        fn it_is_minimal_where_more_never_helps((count, causes) in monotone()) {
            assert_minimal(count, |set: &[usize]| {
                causes.iter().any(|cause| cause.iter().all(|place| set.contains(place)))
            });
        }

        #[test]
        fn it_is_minimal_where_one_change_makes_up_for_another(
            (count, causes) in monotone(), cures in proptest::collection::vec(0usize..40, 0..6),
        ) {
            // A cause, unless an odd number of cures is there; all and nothing are as they are.
            let fails = |set: &[usize]| {
                let cured = cures.iter().filter(|cure| set.contains(cure)).count() % 2 == 1;
                let caused = causes.iter().any(|c| c.iter().all(|place| set.contains(place)));
                set.len() == count || (caused && !cured && !set.is_empty())
            };
            assert_minimal(count, fails);
        }

        #[test]
        fn it_is_minimal_for_any_oracle(count in 1usize..30, salt: u64) {
            let fails = |set: &[usize]| {
                let hash = set.iter().fold(salt, |hash, place| {
                    (hash ^ *place as u64).wrapping_mul(0x100_0000_01b3).rotate_left(17)
                });
                set.len() == count || (!set.is_empty() && hash % 3 == 0)
            };
            assert_minimal(count, fails);
        }
    }
}
