//! Whether an agent lives: it is asked again and again, and silence is its end.
//!
//! A connection whose packets are dropped, a process that was stopped and a thread that hangs
//! look the same from here: nothing comes. Pure: times come in, what is to be done goes out.

use std::time::{Duration, Instant};

/// How often an agent is asked.
const EVERY: Duration = Duration::from_secs(5);
/// How long nothing at all may be heard of one that was asked.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// How long an answer may take although something is heard: a slow line that is full.
const ANSWER_MAX: Duration = Duration::from_secs(120);
/// How long an agent may be at one and the same thing.
const BUSY_MAX: Duration = Duration::from_secs(900);
/// A desk that did not look for so long has heard nothing in that time.
const AWAY: Duration = Duration::from_secs(5);

/// What was heard of an agent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heard {
    /// When it was heard last.
    pub(super) at: Instant,
    /// The last question that it answered.
    pub(super) answered: u64,
    /// How long it was at one and the same thing then.
    pub(super) busy: Option<Duration>,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing.
    Wait,
    /// It is asked this question.
    Ask(u64),
    /// It is taken for dead, because of this.
    Dead(String),
}

/// One agent's pulse.
#[derive(Debug)]
pub(super) struct Pulse {
    /// The last question, and when it was asked.
    asked: Option<(u64, Instant)>,
    looked_at: Instant,
}

impl Pulse {
    /// Of an agent that nobody asked yet.
    pub(super) fn new(now: Instant) -> Self {
        Self { asked: None, looked_at: now }
    }

    /// Time passed.
    pub(super) fn on(&mut self, now: Instant, heard: Heard) -> Next {
        let away = now.saturating_duration_since(self.looked_at) > AWAY;
        self.looked_at = now;
        let Some((number, at)) = &mut self.asked else {
            self.asked = Some((1, now));
            return Next::Ask(1);
        };
        if heard.answered >= *number {
            if let Some(busy) = heard.busy.filter(|busy| *busy > BUSY_MAX) {
                return Next::Dead(format!("it is at one thing since {} s", busy.as_secs()));
            }
            if now.saturating_duration_since(*at) < EVERY {
                return Next::Wait;
            }
            (*number, *at) = (*number + 1, now);
            return Next::Ask(*number);
        }
        if away {
            *at = now;
        }
        let waited = now.saturating_duration_since(*at);
        let silent = now.saturating_duration_since(heard.at).min(waited);
        if silent > SILENCE_MAX {
            return Next::Dead(format!("nothing was heard of it for {} s", silent.as_secs()));
        }
        if waited > ANSWER_MAX {
            return Next::Dead(format!("it does not answer since {} s", waited.as_secs()));
        }
        Next::Wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks each second for so long; what was heard is a function of the second and of the
    /// last question. The second in which it was taken for dead, and why.
    fn watched(
        seconds: u64,
        mut heard: impl FnMut(u64, u64) -> (u64, u64, Option<u64>),
    ) -> Option<(u64, String)> {
        let start = Instant::now();
        let at = |second: u64| start + Duration::from_secs(second);
        let (mut pulse, mut question) = (Pulse::new(start), 0);
        for second in 0..seconds {
            let (last, answered, busy) = heard(second, question);
            let busy = busy.map(Duration::from_secs);
            match pulse.on(at(second), Heard { at: at(last), answered, busy }) {
                Next::Wait => {}
                Next::Ask(number) => question = number,
                Next::Dead(why) => return Some((second, why)),
            }
        }
        assert!(question >= seconds / 150, "it is asked again and again: {question}");
        None
    }

    #[track_caller]
    fn dies(end: Option<(u64, String)>, within: std::ops::RangeInclusive<u64>, words: &str) {
        let (second, why) = end.expect("taken for dead");
        assert!(within.contains(&second) && why.contains(words), "{second}: {why}");
    }

    #[test]
    fn one_that_answers_lives() {
        assert_eq!(watched(1000, |second, question| (second, question, Some(3))), None);
    }

    #[test]
    fn one_that_falls_silent_is_dead_soon() {
        let stops = |second: u64, question: u64| match second {
            0..100 => (second, question, None),
            _ => (99, 20, None),
        };
        dies(watched(1000, stops), 115..=122, "nothing was heard");
    }

    #[test]
    fn one_that_talks_and_does_not_answer_is_dead_later() {
        dies(watched(1000, |second, _| (second, 0, None)), 121..=122, "does not answer");
    }

    #[test]
    fn one_that_is_at_one_thing_for_ever_is_dead() {
        let hangs = |second, question| (second, question, Some(second));
        dies(watched(2000, hangs), 901..=907, "at one thing");
    }

    #[test]
    fn who_was_away_blames_nobody() {
        let start = Instant::now();
        let at = |second: u64| start + Duration::from_secs(second);
        let mut pulse = Pulse::new(start);
        let heard = Heard { at: start, answered: 0, busy: None };
        assert_eq!(pulse.on(at(0), heard), Next::Ask(1));
        assert_eq!(pulse.on(at(100), heard), Next::Wait);
        for second in 101..=115 {
            assert_eq!(pulse.on(at(second), heard), Next::Wait);
        }
        assert!(matches!(pulse.on(at(116), heard), Next::Dead(_)));
    }
}
