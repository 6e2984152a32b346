//! Requests under way, and which of them are late.
//!
//! All have the same thresholds, so whoever began first reaches each of them first: a line for
//! each threshold, in the order of beginnings, says who is due without looking at the rest. Time
//! is passed in.

use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

use super::gate::Assigned;
use crate::fraction::mixed;

/// Requests under way, by number.
#[derive(Debug, Default)]
pub(super) struct Flights {
    under_way: HashMap<u64, Flight, BuildHasherDefault<Numbers>>,
    /// For each threshold who waits for it: number, and when it began.
    due: Vec<VecDeque<(u64, u64)>>,
    thresholds_us: Vec<u32>,
}

#[derive(Debug, Clone, Copy)]
struct Flight {
    assigned: Assigned,
    began_us: u64,
    /// Thresholds that were told.
    hung: u8,
    is_answered: bool,
}

/// A request whose age reached a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Late {
    pub(super) assigned: Assigned,
    /// The threshold's number.
    pub(super) hung: u8,
    /// Its age, which is at least the threshold.
    pub(super) age_us: u32,
}

impl Flights {
    /// One began.
    pub(super) fn began(&mut self, number: u64, assigned: Assigned, began_us: u64) {
        let flight = Flight { assigned, began_us, hung: 0, is_answered: false };
        self.under_way.insert(number, flight);
        if let Some(first) = self.due.first_mut() {
            first.push_back((number, began_us));
        }
    }

    /// Its answer began: it is not late any more.
    pub(super) fn answered(&mut self, number: u64) {
        if let Entry::Occupied(mut flight) = self.under_way.entry(number) {
            flight.get_mut().is_answered = true;
        }
    }

    /// One ended; how many thresholds were told of it.
    pub(super) fn ended(&mut self, number: u64) -> u8 {
        self.under_way.remove(&number).map_or(0, |flight| flight.hung)
    }

    /// It is not known any more who ended: nobody under way is late from here on.
    pub(super) fn forget(&mut self) {
        self.under_way.clear();
        self.due.iter_mut().for_each(VecDeque::clear);
    }

    /// From which ages on one is late; set once.
    pub(super) fn late_from(&mut self, thresholds_us: &[u32]) {
        if thresholds_us == self.thresholds_us {
            return;
        }
        self.thresholds_us = thresholds_us.to_vec();
        self.due = vec![VecDeque::new(); thresholds_us.len().min(usize::from(u8::MAX))];
        let waiting = self.under_way.iter().filter(|(_, flight)| !flight.is_answered);
        let mut waiting: Vec<_> =
            waiting.map(|(number, flight)| (flight.began_us, *number)).collect();
        waiting.sort_unstable();
        if let Some(first) = self.due.first_mut() {
            first.extend(waiting.into_iter().map(|(began_us, number)| (number, began_us)));
        }
    }

    /// Those that reached a threshold since it was asked last, by threshold.
    pub(super) fn late(&mut self, now_us: u64) -> Vec<Late> {
        let mut late = Vec::new();
        for place in 0..self.due.len() {
            self.late_at(place, now_us, &mut late);
        }
        late
    }

    fn late_at(&mut self, place: usize, now_us: u64, late: &mut Vec<Late>) {
        let threshold = u64::from(self.thresholds_us[place]);
        while let Some(&(number, began_us)) = self.due[place].front() {
            let waiting = self.under_way.get_mut(&number).filter(|flight| !flight.is_answered);
            let age_us = now_us.saturating_sub(began_us);
            if waiting.is_some() && age_us < threshold {
                return;
            }
            self.due[place].pop_front();
            let Some(flight) = waiting else { continue };
            let hung = flight.hung;
            flight.hung += 1;
            let age_us = u32::try_from(age_us).unwrap_or(u32::MAX);
            late.push(Late { assigned: flight.assigned, hung, age_us });
            if let Some(next) = self.due.get_mut(place + 1) {
                next.push_back((number, began_us));
            }
        }
    }
}

/// Hashes numbers that are ours.
#[derive(Debug, Default)]
pub(super) struct Numbers(u64);

impl Hasher for Numbers {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = mixed(self.0 ^ number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::split::wire::SplitArm;

    fn assigned(unit: u64) -> Assigned {
        Assigned { arm: SplitArm::Candidate, stage: 1, unit }
    }

    /// Who is late at `now_us`, and by which threshold.
    #[track_caller]
    fn check(flights: &mut Flights, now_us: u64, late: &[(u64, u8)]) {
        let found = flights.late(now_us);
        let found: Vec<_> = found.iter().map(|one| (one.assigned.unit, one.hung)).collect();
        assert_eq!(found, late, "at {now_us}");
    }

    #[test]
    fn each_threshold_is_told_once() {
        let mut flights = Flights::default();
        flights.late_from(&[100, 250]);
        flights.began(1, assigned(1), 0);
        flights.began(2, assigned(2), 50);
        check(&mut flights, 99, &[]);
        check(&mut flights, 100, &[(1, 0)]);
        check(&mut flights, 249, &[(2, 0)]);
        check(&mut flights, 1_000, &[(1, 1), (2, 1)]);
        check(&mut flights, 9_000, &[]);
        assert_eq!((flights.ended(1), flights.ended(2), flights.ended(3)), (2, 2, 0));
        assert!(flights.under_way.is_empty());
    }

    #[test]
    fn who_ended_or_is_answered_is_not_late() {
        let mut flights = Flights::default();
        flights.late_from(&[100]);
        for number in 1..=4 {
            flights.began(number, assigned(number), number);
        }
        flights.ended(1);
        flights.answered(3);
        check(&mut flights, 200, &[(2, 0), (4, 0)]);
        assert_eq!(flights.ended(3), 0);
    }

    #[test]
    fn one_look_may_pass_several_thresholds() {
        let mut flights = Flights::default();
        flights.late_from(&[100, 200, 300]);
        flights.began(1, assigned(1), 0);
        check(&mut flights, 250, &[(1, 0), (1, 1)]);
    }

    #[test]
    fn thresholds_may_come_later() {
        let mut flights = Flights::default();
        flights.began(1, assigned(1), 5);
        flights.began(2, assigned(2), 3);
        flights.began(3, assigned(3), 1);
        flights.answered(3);
        check(&mut flights, 1_000, &[]);
        flights.late_from(&[100]);
        check(&mut flights, 104, &[(2, 0)]);
        flights.forget();
        check(&mut flights, 1_000, &[]);
    }
}
