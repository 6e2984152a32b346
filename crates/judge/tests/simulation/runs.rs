//! The same experiment many times.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use fastrand::Rng;

/// What came of each run, in order; the same for the same seed, on however many processors.
pub(crate) fn runs<T: Send>(seed: u64, count: usize, run: impl Fn(&mut Rng) -> T + Sync) -> Vec<T> {
    let mut rng = Rng::with_seed(seed);
    let seeds: Vec<u64> = (0..count).map(|_| rng.u64(..)).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some((place, seed)) = {
            let place = next.fetch_add(1, Ordering::Relaxed);
            seeds.get(place).map(|seed| (place, *seed))
        } {
            done.push((place, run(&mut Rng::with_seed(seed))));
        }
        done
    };
    let mut done: Vec<(usize, T)> = thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|one| one.join().expect("a run")).collect()
    });
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, what)| what).collect()
}

/// The part of runs in which it is so.
pub(crate) fn part(seed: u64, count: usize, run: impl Fn(&mut Rng) -> bool + Sync) -> f64 {
    runs(seed, count, run).into_iter().filter(|is| *is).count() as f64 / count as f64
}

/// Of runs that found something: their part, the median and the 90th percentile of when.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Found {
    pub(crate) part: f64,
    pub(crate) median: u64,
    pub(crate) p90: u64,
}

impl Found {
    /// The median and the 90th percentile are of all runs, of which those that found nothing are
    /// the last.
    pub(crate) fn of(when: &[Option<u64>]) -> Self {
        let found = when.iter().flatten().count();
        let mut when: Vec<u64> = when.iter().map(|one| one.unwrap_or(u64::MAX)).collect();
        when.sort_unstable();
        let at = |tenths: usize| when.get(when.len() * tenths / 10).copied().unwrap_or(u64::MAX);
        Self { part: found as f64 / when.len() as f64, median: at(5), p90: at(9) }
    }
}
