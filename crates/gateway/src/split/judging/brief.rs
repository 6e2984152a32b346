//! Requests that began and ended between two looks at the queue: most of them, of which nobody has
//! to keep that they are under way.

use crate::split::watch::{Ended, Said};

/// Numbers that are told apart, from the first that began. Numbers are handed out in order.
const NUMBERS: usize = 8_192;
const WORDS: usize = NUMBERS / 64;

/// See the module.
#[derive(Debug)]
pub(super) struct Brief {
    first: u64,
    ended: [u64; WORDS],
    /// Those of them that also began since.
    both: [u64; WORDS],
}

impl Default for Brief {
    fn default() -> Self {
        Self { first: 0, ended: [0; WORDS], both: [0; WORDS] }
    }
}

impl Brief {
    /// Forgets those before, and looks at what was said since.
    pub(super) fn look(&mut self, heard: &[Said]) {
        let first = heard.iter().find_map(|said| match said {
            Said::Began { number, .. } => Some(*number),
            Said::Answered { .. } | Said::Ended(_) => None,
        });
        *self = Self { first: first.unwrap_or(u64::MAX), ..Self::default() };
        for said in heard {
            if let Said::Ended(Ended { number, .. }) = said
                && let Some((word, bit)) = self.place(*number)
            {
                self.ended[word] |= bit;
            }
        }
    }

    /// One began; whether it has ended, too.
    pub(super) fn began(&mut self, number: u64) -> bool {
        let Some((word, bit)) = self.place(number) else { return false };
        let both = self.ended[word] & bit;
        self.both[word] |= both;
        both != 0
    }

    /// Whether it is one of which both were said.
    pub(super) fn is(&self, number: u64) -> bool {
        self.place(number).is_some_and(|(word, bit)| self.both[word] & bit != 0)
    }

    fn place(&self, number: u64) -> Option<(usize, u64)> {
        let place = usize::try_from(number.checked_sub(self.first)?).ok()?;
        (place < NUMBERS).then(|| (place / 64, 1 << (place % 64)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::split::gate::Assigned;
    use crate::split::wire::SplitArm;

    const ASSIGNED: Assigned = Assigned { arm: SplitArm::Baseline, stage: 0, unit: 0 };

    fn began(number: u64) -> Said {
        Said::Began { number, assigned: ASSIGNED, at_us: 0 }
    }

    fn ended(number: u64) -> Said {
        let (assigned, latency_us, failed, at_us) = (ASSIGNED, 0, false, 0);
        Said::Ended(Ended { number, assigned, latency_us, failed, at_us })
    }

    #[test]
    fn only_those_are_brief_of_which_both_were_said() {
        let mut brief = Brief::default();
        for (heard, both) in [
            // 5 began before, 12 goes on.
            (&[ended(5), began(10), began(11), began(12), ended(11), ended(10)][..], &[10, 11][..]),
            // 12 began before; 9 began late, and is not told apart.
            (&[began(13), ended(12), began(9), ended(13), ended(9)][..], &[13][..]),
            (&[ended(12)][..], &[][..]),
            (&[began(1), began(1 + NUMBERS as u64), ended(1 + NUMBERS as u64)][..], &[][..]),
        ] {
            brief.look(heard);
            for said in heard {
                if let Said::Began { number, .. } = said {
                    assert_eq!(brief.began(*number), both.contains(number), "{heard:?}");
                }
            }
            let numbers = (0..20).chain([1 + NUMBERS as u64]);
            let found: Vec<u64> = numbers.filter(|number| brief.is(*number)).collect();
            assert_eq!(found, both, "{heard:?}");
        }
    }
}
