//! The thread that judges one split.
//!
//! It looks at the queue every few milliseconds, so that nobody has to wake it, and does everything
//! else there is to do: who is late, what shadows say, the journal, and the way back to 0.
//!
//! ```text
//!            what a gateway before this one kept is read
//!                              │
//!                              v
//!   ┌────────────────────── judging ──────────────────────┐
//!   │ ask: paused                          ask: over      │ nobody has the split any more
//!   v                                          v          v
//! paused: the journal is somebody else's ──> over: the journal is whole
//! ```

mod brief;
mod hearing;
mod read;
mod turn;

use std::io;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use umbra_judge::trial::Trial;

use self::brief::Brief;
use self::read::Read;
use self::turn::Turn;
use super::differences::Differences;
use super::flight::Flights;
use super::journal::Journal;
use super::watch::Said;
use super::{Split, lock};
use crate::proxy::Proxy;

/// How long it sleeps while requests come, and while none do. To wake up costs as much as some
/// dozen requests: half of this would cost a busy gateway another hundredth of its processor time.
const NAP_LEAST: Duration = Duration::from_millis(5);
const NAP_MOST: Duration = Duration::from_millis(20);
/// So much is heard at once: a decision must not wait for the end of a long queue, nor whoever
/// asks how things stand.
const HEARD_MAX: usize = 4096;
/// How long whoever asks it to end waits until it has.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// What it is to do, and does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Judging,
    /// It judges no more, and the journal is somebody else's.
    Paused,
    /// It is over.
    Over,
}

/// Now, in milliseconds since 1970 UTC.
pub(super) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// Begins to judge what was never judged before.
pub(super) fn begin(
    split: &Arc<Split>,
    said: Receiver<Said>,
    proxy: Weak<Proxy>,
    (trial, journal): (Trial, Journal),
) -> io::Result<()> {
    lock(&split.judged).trial = Some(trial);
    let judge = Judge::new(split, said, proxy);
    spawn(move || judge.run(journal))
}

/// Goes on judging where the journal ends.
pub(super) fn resume(
    split: &Arc<Split>,
    said: Receiver<Said>,
    proxy: Weak<Proxy>,
) -> io::Result<()> {
    let journal = Journal::at(split.start.journal.clone());
    let judge = Judge::new(split, said, proxy);
    // So that it takes up what is kept first.
    split.mode.1.send_replace(Mode::Paused);
    spawn(move || judge.run(journal))
}

fn spawn(run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name("umbra-judge".to_owned()).spawn(run).map(drop)
}

impl Split {
    /// Has its judge do something else.
    pub(super) fn tell(&self, mode: Mode) {
        self.mode.0.send_replace(mode);
    }

    /// Has its judge do something else, and waits until it does. Not for threads that serve.
    pub(super) fn ask(&self, mode: Mode) {
        let mut done = self.mode.1.subscribe();
        self.tell(mode);
        let until = Instant::now() + ANSWER_TIME;
        while *done.borrow_and_update() != mode {
            if Instant::now() >= until {
                tracing::warn!(route = self.route, "a judge does not answer");
                return;
            }
            std::thread::sleep(NAP_LEAST);
        }
    }
}

/// A judge that panics says so: what comes of requests must not be taken for judged.
struct Leaving(Weak<Split>);

impl Drop for Leaving {
    fn drop(&mut self) {
        let Some(split) = self.0.upgrade().filter(|_| std::thread::panicking()) else { return };
        tracing::error!(route = split.route, "a judge panicked: nobody judges any more");
        lock(&split.judged).trial = None;
        split.changed();
    }
}

/// Whoever judges one split.
struct Judge {
    split: Weak<Split>,
    said: Receiver<Said>,
    proxy: Weak<Proxy>,
    heard: Vec<Said>,
    /// Requests under way, of the baseline and of the candidate: they are late by different ages.
    flights: [Flights; 2],
    brief: Box<Brief>,
    differences: Differences,
    has_control: bool,
    /// Weights the trial knows.
    stages: Vec<f64>,
    /// What was lost on the way here, and until when nothing is known of who began.
    lost: u64,
    unknown_until_us: u64,
    is_worse: bool,
    is_proved: bool,
    /// Whether something was decided that is not on the disk yet.
    is_unkept: bool,
}

impl Judge {
    fn new(split: &Arc<Split>, said: Receiver<Said>, proxy: Weak<Proxy>) -> Self {
        Self {
            split: Arc::downgrade(split),
            said,
            proxy,
            heard: Vec::with_capacity(HEARD_MAX),
            flights: Default::default(),
            brief: Box::default(),
            differences: Differences::default(),
            has_control: split.has_control,
            stages: Vec::new(),
            lost: 0,
            unknown_until_us: 0,
            is_worse: false,
            is_proved: false,
            is_unkept: false,
        }
    }

    fn run(mut self, mut journal: Journal) {
        let _leaving = Leaving(Weak::clone(&self.split));
        let mut nap = NAP_LEAST;
        loop {
            let Some(split) = self.split.upgrade() else { return journal.close() };
            let mode = *split.mode.0.borrow();
            let was = *split.mode.1.borrow();
            let heard = match (mode, was) {
                // A successor that came to nothing may have written meanwhile.
                (Mode::Judging, Mode::Paused) if !self.take_up(&split, &mut journal) => None,
                (Mode::Judging, _) => Some(self.turn(&split, &mut journal)),
                // What was said before it was asked counts.
                (Mode::Paused | Mode::Over, Mode::Judging) => {
                    while self.turn(&split, &mut journal) == HEARD_MAX {}
                    journal.close();
                    Some(0)
                }
                (Mode::Paused | Mode::Over, _) => Some(0),
            };
            if heard.is_some() && was != mode {
                split.mode.1.send_replace(mode);
            }
            if mode == Mode::Over {
                return;
            }
            drop(split);
            let heard = heard.unwrap_or(0);
            nap = if heard > 0 { NAP_LEAST } else { (nap * 2).min(NAP_MOST) };
            if heard < HEARD_MAX {
                std::thread::sleep(nap);
            }
        }
    }

    /// Reads what was kept, unless it is somebody else's: from then on nothing is known but what
    /// stands there.
    fn take_up(&mut self, split: &Split, journal: &mut Journal) -> bool {
        let mut read = Read::new(split);
        if !journal.take(&split.start.settings, |record| read.on(record)) {
            return false;
        }
        self.stages.clone_from(&read.stages);
        self.differences = Differences::after(read.differences);
        self.flights = Default::default();
        self.unknown_until_us = split.at_us(Instant::now());
        self.is_worse = lock(&split.weights).worse.is_some();
        self.is_proved = read.trial.as_ref().is_some_and(Trial::proved);
        let mut judged = lock(&split.judged);
        let is_first = judged.trial.is_none();
        judged.trial = read.trial;
        if is_first {
            judged.tallies = read.tallies;
        }
        let mut turn = Turn { split, judged: &mut judged, journal };
        self.look(self.unknown_until_us, &mut turn);
        drop(judged);
        split.changed();
        true
    }
}
