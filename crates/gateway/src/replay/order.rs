//! Exchanges in the order in which they came: a capture has them in that in which they were over.
//!
//! So many are held back that what took long finds its place; what comes later than that keeps
//! the place it has, and is counted.

use std::collections::BTreeMap;

use crate::capture::{Exchange, ReadError};

/// Bytes that are held back, about.
const BYTES_MAX: usize = 128 << 20;

/// Puts exchanges into their order.
#[derive(Debug, Default)]
pub struct Ordered {
    /// By when they came; those of one moment stay as they are.
    held: BTreeMap<(u64, u64), Exchange>,
    bytes: usize,
    number: u64,
    last_us: u64,
    late: u64,
}

impl Ordered {
    /// The next in order, of what `more` reads.
    ///
    /// # Errors
    /// `more` fails; what is held back can still be had.
    pub fn next(
        &mut self,
        mut more: impl FnMut() -> Result<Option<Exchange>, ReadError>,
    ) -> Result<Option<Exchange>, ReadError> {
        while self.bytes < BYTES_MAX {
            match more()? {
                Some(exchange) => self.hold(exchange),
                None => break,
            }
        }
        Ok(self.first())
    }

    /// How many came too late for their place.
    pub fn late(&self) -> u64 {
        self.late
    }

    fn hold(&mut self, mut exchange: Exchange) {
        // Answers are compared by their status only.
        if let Some(answer) = &mut exchange.answer {
            answer.headers = Vec::new();
            answer.body = Default::default();
        }
        self.bytes += exchange.bytes();
        self.number += 1;
        self.held.insert((exchange.began_us, self.number), exchange);
    }

    fn first(&mut self) -> Option<Exchange> {
        let ((began_us, _), exchange) = self.held.pop_first()?;
        self.bytes -= exchange.bytes();
        self.late += u64::from(began_us < self.last_us);
        self.last_us = self.last_us.max(began_us);
        Some(exchange)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{Asked, Kept};

    fn at(began_us: u64, session: u64, body: usize) -> Exchange {
        let body = Kept { bytes: vec![0; body].into(), cut: false };
        let request = Asked { method: "GET".into(), target: "/".into(), headers: Vec::new(), body };
        Exchange { began_us, session, request, answer: None }
    }

    fn ordered(all: Vec<Exchange>) -> (Vec<(u64, u64)>, u64) {
        let (mut all, mut ordered) = (all.into_iter(), Ordered::default());
        let mut is = Vec::new();
        while let Some(one) = ordered.next(|| Ok(all.next())).unwrap() {
            is.push((one.began_us, one.session));
        }
        assert_eq!(ordered.bytes, 0);
        (is, ordered.late())
    }

    #[test]
    fn what_came_first_is_first() {
        let all = vec![at(3, 0, 0), at(1, 1, 0), at(2, 2, 0), at(1, 3, 0)];
        assert_eq!(ordered(all), (vec![(1, 1), (1, 3), (2, 2), (3, 0)], 0));
        assert_eq!(ordered(Vec::new()), (Vec::new(), 0));
    }

    #[test]
    fn what_is_too_late_keeps_its_place_and_is_counted() {
        let all = vec![at(5, 0, BYTES_MAX), at(6, 1, BYTES_MAX), at(1, 2, 0)];
        assert_eq!(ordered(all), (vec![(5, 0), (6, 1), (1, 2)], 1));
    }
}
