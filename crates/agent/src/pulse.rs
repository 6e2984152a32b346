//! Signs of life: whether the agent is there is answered at once, whatever it is at.
//!
//! Reading a large tree or carrying out a plan takes as long as it takes. A daemon that hears
//! nothing meanwhile could not tell that from an agent that hangs, or a machine that is gone.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use umbra_drift::wire::{self, Tell};

/// What is said to the daemon, by whichever thread: what is written at once stays together.
#[derive(Debug)]
pub(crate) struct Mouth<W>(Arc<Mutex<W>>);

impl<W> Mouth<W> {
    pub(crate) fn new(to: W) -> Self {
        Self(Arc::new(Mutex::new(to)))
    }
}

impl<W> Clone for Mouth<W> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<W: Write> Write for Mouth<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).flush()
    }
}

/// Since when the agent is at one and the same thing, if it is at any.
#[derive(Debug, Clone)]
pub(crate) struct Work(Arc<Mutex<Option<Instant>>>);

impl Work {
    /// It has begun just now.
    pub(crate) fn begun() -> Self {
        Self(Arc::new(Mutex::new(Some(Instant::now()))))
    }

    /// Something is at hand.
    pub(crate) fn begin(&self) {
        self.set(Some(Instant::now()));
    }

    /// Nothing is.
    pub(crate) fn end(&self) {
        self.set(None);
    }

    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    fn busy_ms(&self) -> Option<u64> {
        let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.map(|since| u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

/// Answers whether the agent is alive.
#[derive(Debug)]
pub(crate) struct Pulse<W> {
    to: Mouth<W>,
    work: Work,
}

impl<W: Write> Pulse<W> {
    pub(crate) fn new(to: Mouth<W>, work: Work) -> Self {
        Self { to, work }
    }

    /// # Errors
    /// The line is broken.
    pub(crate) fn answer(&mut self, number: u64) -> io::Result<()> {
        wire::write(&mut self.to, &Tell::Alive { number, busy_ms: self.work.busy_ms() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_how_long_it_is_at_one_thing() {
        let mouth = Mouth::new(Vec::new());
        let work = Work::begun();
        let mut pulse = Pulse::new(mouth.clone(), work.clone());
        pulse.answer(1).expect("said");
        work.end();
        pulse.answer(2).expect("said");
        work.begin();
        pulse.answer(3).expect("said");
        let said = mouth.0.lock().expect("said").clone();
        let mut said = &said[..];
        let busy =
            std::iter::from_fn(|| wire::read::<Tell>(&mut said).expect("a line")).map(|tell| {
                match tell {
                    Tell::Alive { number, busy_ms } => (number, busy_ms.is_some()),
                    other => panic!("{other:?}"),
                }
            });
        assert_eq!(busy.collect::<Vec<_>>(), [(1, true), (2, false), (3, true)]);
    }
}
