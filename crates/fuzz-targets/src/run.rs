//! Trying a target: seeds first, then mutations by number.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::{Body, Target, heap, mutate, seeds};

/// No input may take longer. Ones that are quadratic do; a busy machine does not.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// What a parser may hold whatever the input: buffers, tables made once.
pub const HEAP_BASE: usize = 8 << 20;

/// How far to go.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    /// So many mutations.
    Cases(u64),
    /// So much time.
    Over(Duration),
}

/// An input that broke a law.
#[derive(Debug)]
pub struct Broken {
    /// It.
    pub input: Vec<u8>,
    /// The number of the mutation; `None` for a seed.
    pub case: Option<u64>,
    /// How it broke.
    pub why: String,
}

/// What was tried.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tried {
    /// Inputs.
    pub inputs: u64,
    /// Those that the parser accepted: where these are few, little is tried.
    pub accepted: u64,
    /// The most bytes held for one of them.
    pub heap_peak: usize,
    /// The longest that one of them took.
    pub slowest: Duration,
}

/// Tries a target. `current` is a file that holds each input while it is tried: a stack that
/// overflows leaves nothing else.
pub fn run(target: &Target, until: Until, current: Option<&Path>) -> Result<Tried, Box<Broken>> {
    let mut seeds = (target.seeds)();
    seeds.extend(seeds::corpus(target.name));
    let mut attempt = Attempt { target, body: (target.open)(), current, tried: Tried::default() };
    let began = Instant::now();
    for seed in &seeds {
        attempt.input(seed.clone(), None)?;
    }
    for number in 0.. {
        let done = match until {
            Until::Cases(cases) => number >= cases,
            Until::Over(limit) => began.elapsed() >= limit,
        };
        if done {
            break;
        }
        attempt.input(mutate::case(number, &seeds, target.words), Some(number))?;
    }
    Ok(attempt.tried)
}

struct Attempt<'a> {
    target: &'a Target,
    body: Body,
    current: Option<&'a Path>,
    tried: Tried,
}

impl Attempt<'_> {
    fn input(&mut self, input: Vec<u8>, case: Option<u64>) -> Result<(), Box<Broken>> {
        if let Some(path) = self.current
            && let Err(error) = std::fs::write(path, &input)
        {
            let why = format!("the input could not be noted in {}: {error}", path.display());
            return Err(Box::new(Broken { input, case, why }));
        }
        let began = Instant::now();
        let mut outcome = Ok(false);
        let held = heap::peak(|| {
            outcome = catch_unwind(AssertUnwindSafe(|| (self.body)(&input)));
        });
        let took = began.elapsed();
        let allowed = HEAP_BASE + self.target.heap_factor * input.len();
        let why = match &outcome {
            Err(panic) => Some(said(&**panic)),
            Ok(_) if took > PATIENCE => Some(format!("it took {} ms", took.as_millis())),
            Ok(_) if held > allowed => Some(format!("it held {held} bytes, not {allowed}")),
            Ok(_) => None,
        };
        self.tried.inputs += 1;
        self.tried.accepted += u64::from(outcome.is_ok_and(|accepted| accepted));
        self.tried.heap_peak = self.tried.heap_peak.max(held);
        self.tried.slowest = self.tried.slowest.max(took);
        why.map_or(Ok(()), |why| Err(Box::new(Broken { input, case, why })))
    }
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PICKY: Target = Target {
        name: "picky",
        open: || {
            Box::new(|bytes| {
                assert!(!bytes.contains(&b'!'), "it cannot stand this");
                true
            })
        },
        seeds: || vec![b"fine".to_vec()],
        words: &["!"],
        cases: 100,
        heap_factor: 1,
    };

    #[test]
    fn what_breaks_a_law_is_found_and_found_again() {
        let broken = run(&PICKY, Until::Cases(PICKY.cases), None).unwrap_err();
        assert_eq!(broken.why, "it cannot stand this");
        let number = broken.case.unwrap();
        assert_eq!(mutate::case(number, &(PICKY.seeds)(), PICKY.words), broken.input);
        assert!(run(&PICKY, Until::Cases(number), None).is_ok());
    }
}
