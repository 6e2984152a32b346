//! When parameters that tell nothing of changes are read again.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

/// Reading again and again costs: no more often than this.
const EVERY_MIN: Duration = Duration::from_millis(100);

/// Parameters and when each is due.
#[derive(Debug)]
pub(crate) struct Polls {
    due: BinaryHeap<Reverse<(Instant, usize)>>,
    parameters: Vec<(String, Duration)>,
}

impl Polls {
    /// All of them were read just now.
    pub(crate) fn new(parameters: Vec<(String, Duration)>, now: Instant) -> Self {
        let every = |every: Duration| every.max(EVERY_MIN);
        let parameters: Vec<_> =
            parameters.into_iter().map(|(name, often)| (name, every(often))).collect();
        let due = parameters.iter().enumerate();
        let due = due.map(|(place, (_, every))| Reverse((now + *every, place))).collect();
        Self { due, parameters }
    }

    /// How long until one is due.
    pub(crate) fn wait(&self, now: Instant) -> Option<Duration> {
        self.due.peek().map(|Reverse((at, _))| at.saturating_duration_since(now))
    }

    /// One that is due; it is next due its interval from now.
    pub(crate) fn take(&mut self, now: Instant) -> Option<&str> {
        let Reverse((at, place)) = *self.due.peek()?;
        if at > now {
            return None;
        }
        self.due.pop();
        let (name, every) = self.parameters.get(place)?;
        self.due.push(Reverse((now + *every, place)));
        Some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_comes_at_its_interval() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let every = |ms: u64| Duration::from_millis(ms);
        let mut polls =
            Polls::new(vec![("fast".to_owned(), every(1)), ("slow".to_owned(), every(250))], start);
        assert_eq!(polls.wait(start), Some(EVERY_MIN), "no faster than that");
        assert_eq!(polls.take(at(50)), None);
        assert_eq!(polls.take(at(100)), Some("fast"));
        assert_eq!(polls.take(at(100)), None);
        assert_eq!(polls.take(at(260)), Some("fast"));
        assert_eq!(polls.take(at(260)), Some("slow"));
        assert_eq!(Polls::new(Vec::new(), start).wait(start), None);
    }
}
