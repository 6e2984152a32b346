//! The next free blocks: taken from the front on, around what groups keep for themselves.

use std::ops::Range;

use super::Run;

/// The blocks of a filesystem, taken one after the other.
#[derive(Debug)]
pub(super) struct Space {
    /// What is taken before any file, in order and apart.
    kept: Vec<Range<u64>>,
    /// The first of them that the cursor has not passed.
    next_kept: usize,
    cursor: u64,
    end: u64,
}

impl Space {
    /// All blocks before `end` but the kept ones.
    pub(super) fn new(kept: Vec<Range<u64>>, end: u64) -> Self {
        Self { kept, next_kept: 0, cursor: 0, end }
    }

    /// Takes so many blocks in as few runs as there can be; `None` if there are not as many.
    pub(super) fn take(&mut self, mut blocks: u64) -> Option<Vec<Run>> {
        let mut runs = Vec::new();
        while blocks > 0 {
            let kept = self.kept.get(self.next_kept);
            let free_until = kept.map_or(self.end, |kept| kept.start);
            let free = free_until - self.cursor.min(free_until);
            if free == 0 {
                self.cursor = kept?.end;
                self.next_kept += 1;
                continue;
            }
            let taken = free.min(blocks);
            runs.push(Run { start: self.cursor, blocks: taken });
            self.cursor += taken;
            blocks -= taken;
        }
        Some(runs)
    }

    /// Takes one block.
    pub(super) fn take_one(&mut self) -> Option<u64> {
        self.take(1)?.first().map(|run| run.start)
    }

    /// The parts of `among` that are in use, in order and apart.
    pub(super) fn used(&self, among: Range<u64>) -> Vec<Range<u64>> {
        let front = among.start..self.cursor.clamp(among.start, among.end);
        let behind = self.kept.iter().map(|kept| {
            kept.start.max(front.end).min(among.end)..kept.end.max(front.end).min(among.end)
        });
        let behind: Vec<_> = behind.filter(|range| !range.is_empty()).collect();
        [front].into_iter().filter(|range| !range.is_empty()).chain(behind).collect()
    }

    /// Whether files have blocks at or after this one.
    pub(super) fn reaches(&self, block: u64) -> bool {
        self.cursor > block
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(start: u64, blocks: u64) -> Run {
        Run { start, blocks }
    }

    #[test]
    fn what_is_kept_is_passed_over() {
        let mut space = Space::new(vec![0..3, 5..6, 6..8], 10);
        assert_eq!(space.take(3), Some(vec![run(3, 2), run(8, 1)]));
        assert_eq!(space.take_one(), Some(9));
        assert_eq!(space.take(1), None);
    }

    #[test]
    fn used_is_what_was_taken_and_what_is_kept() {
        let mut space = Space::new(vec![0..2, 6..8], 12);
        assert_eq!(space.take(2), Some(vec![run(2, 2)]));
        assert_eq!(space.used(0..12), [0..4, 6..8]);
        assert_eq!(space.used(7..12), [Range { start: 7, end: 8 }]);
        assert!(space.used(8..12).is_empty());
        assert!(space.reaches(3) && !space.reaches(4));
    }
}
