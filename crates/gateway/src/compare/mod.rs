//! Where a shadow's answers differ from production's more than production differs from itself.
//!
//! ```text
//! request ─┬─> production ── answer, kept as it streams ─┐
//!          ├─> candidate ─── answer ─────────────────────┼─ all there ── bounded queue ── a thread
//!          └─> baseline ──── answer ─────────────────────┘  of its own: fields, evidence by field
//! ```
//!
//! The *baseline* is a shadow of what is in production; where it differs from production there is
//! noise: a date, a random id, the order of two requests. The *candidate* is a shadow of what is to
//! come. Where the candidate changes nothing the two are exchangeable, so of the answers in which
//! exactly one of them differs from production in a field, it is the candidate's with probability
//! 1/2, whatever the requests and however much noise there is. [`umbra_judge::paired`] bets on
//! that, field by field; [`umbra_judge::family`] keeps the error over all fields and the whole
//! run, however often somebody looks, at [`ALPHA`].
//!
//! Nothing here is waited for in production: what is kept of answers takes from the memory of all
//! mirrors, and what finds no room there or in the queue is left out and counted.
//!
//! | module | holds |
//! |---|---|
//! | [`gather`] | the answers to one request, until all are there |
//! | [`keep`] | one answer, kept while it passes |
//! | [`fields`], [`json`], [`media`] | an answer as fields with digests |
//! | [`differ`] | in which fields answers differ, and how, to show |
//! | [`mask`] | what is not shown |
//! | `evidence` | what speaks against each field, over all requests |
//! | [`report`] | what is told, and the verdict |

pub mod differ;
mod evidence;
pub mod fields;
pub mod gather;
pub mod json;
pub mod keep;
pub mod mask;
pub mod media;
pub mod report;

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use hyper::http::request::Parts;
use tokio::sync::Semaphore;

use self::evidence::Evidence;
use self::gather::{Gathered, Gathering, Side};
use self::keep::Keep;
use self::mask::Masks;
use self::report::{Cause, CompareReport, Facts, LeftOut};

/// The error over all fields and the whole run.
pub const ALPHA: f64 = 0.05;

/// As much of a request's path as is shown.
const PATH_BYTES_MAX: usize = 100;

/// Answers that wait to be compared.
const QUEUE_MAX: usize = 256;

/// What is compared, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// A shadow is slow where it takes so much longer than production, in percent.
    pub slower_percent: u32,
    /// What is not shown.
    pub masks: Masks,
}

impl Default for Settings {
    fn default() -> Self {
        Self { slower_percent: 100, masks: Masks::default() }
    }
}

/// One comparison, from the start of its shadows until one of them stops.
#[derive(Debug)]
pub struct Comparison {
    candidate: String,
    baseline: Option<String>,
    memory: Arc<Semaphore>,
    coin: RandomState,
    state: Arc<State>,
    ended: OnceLock<String>,
}

/// What requests under way, the thread and whoever asks have in common.
#[derive(Debug)]
pub(crate) struct State {
    settings: Settings,
    has_baseline: bool,
    chosen: AtomicU64,
    left_out: [AtomicU64; Cause::ALL.len()],
    compared: AtomicU64,
    flagged: AtomicU64,
    evidence: Mutex<Evidence>,
    /// `None` where there is no thread.
    queue: OnceLock<SyncSender<Gathered>>,
}

/// Counters of one comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// Requests whose answers were compared.
    pub compared: u64,
    /// Those whose answers were not, by cause.
    pub left_out: Vec<LeftOut>,
    /// Fields flagged.
    pub flagged: u64,
}

/// What keeps the answers to one request.
#[derive(Debug, Default)]
pub(crate) struct Keeps {
    pub(crate) production: Option<Keep>,
    /// The candidate's, and the baseline's if there is one.
    pub(crate) shadows: Vec<Keep>,
    /// Whose request begins first is drawn, so that neither is later as a rule.
    pub(crate) baseline_first: bool,
}

impl Comparison {
    /// Between these mirrors, with what is kept in `memory`, a permit a byte.
    pub(crate) fn new(
        candidate: &str,
        baseline: Option<&str>,
        settings: Settings,
        memory: Arc<Semaphore>,
    ) -> Self {
        let state = Arc::new(State {
            settings,
            has_baseline: baseline.is_some(),
            chosen: AtomicU64::new(0),
            left_out: Default::default(),
            compared: AtomicU64::new(0),
            flagged: AtomicU64::new(0),
            evidence: Mutex::new(Evidence::default()),
            queue: OnceLock::new(),
        });
        state.clone().start();
        Self {
            candidate: candidate.to_owned(),
            baseline: baseline.map(str::to_owned),
            memory,
            coin: RandomState::new(),
            state,
            ended: OnceLock::new(),
        }
    }

    /// A request was chosen: what keeps its answers.
    pub(crate) fn begin(&self, head: &Parts) -> Keeps {
        let number = self.state.chosen.fetch_add(1, Ordering::Relaxed);
        // What is under way counts by the byte: of a long path its beginning is enough.
        let path = head.uri.path();
        let path = &path[..path.floor_char_boundary(PATH_BYTES_MAX)];
        let request = format!("{} {path}", head.method);
        let gathering = Arc::new(Gathering::new(Arc::clone(&self.state), request));
        let began = Instant::now();
        let keep = |side| Keep::new(Arc::clone(&gathering), side, Arc::clone(&self.memory), began);
        let shadows = [Some(Side::Candidate), self.baseline.as_ref().map(|_| Side::Baseline)];
        Keeps {
            production: Some(keep(Side::Production)),
            shadows: shadows.into_iter().flatten().map(keep).collect(),
            baseline_first: self.coin.hash_one(number) & 1 == 0,
        }
    }

    /// A request was chosen, and no shadow gets it.
    pub(crate) fn dropped(&self) {
        self.state.chosen.fetch_add(1, Ordering::Relaxed);
        self.state.gathered(Err(Cause::Dropped));
    }

    /// Whether nothing more will be compared.
    pub(crate) fn is_over(&self) -> bool {
        self.ended.get().is_some()
    }

    /// Nothing more will be compared, since.
    pub(crate) fn end(&self, why: &str) {
        // Whatever ended it first did.
        let _ = self.ended.set(why.to_owned());
    }

    /// How it stands. Takes milliseconds where thousands of fields differ.
    pub fn report(&self) -> CompareReport {
        // What is counted later is not in what was read before.
        let evidence = self.state.evidence();
        let left_out = self.state.left_out();
        let chosen = self.state.chosen.load(Ordering::Acquire);
        let compared = evidence.compared();
        let fields = evidence.fields(self.state.has_baseline);
        let excess_most = self.state.has_baseline.then(|| evidence.excess_most(&fields));
        drop(evidence);
        CompareReport::of(Facts {
            candidate: self.candidate.clone(),
            baseline: self.baseline.clone(),
            ended: self.ended.get().cloned(),
            slower_percent: self.state.settings.slower_percent,
            chosen,
            compared,
            left_out,
            excess_most,
            fields,
        })
    }

    /// The natural logarithm of its e-value over all fields, if it has a baseline: whether the
    /// candidate differs more than that, as one question.
    pub(crate) fn log_e(&self) -> Option<f64> {
        self.state.has_baseline.then(|| self.state.evidence().log_e())
    }

    /// Whose answers are compared.
    pub(crate) fn candidate(&self) -> &str {
        &self.candidate
    }

    /// What is counted of it.
    pub fn counted(&self) -> Counted {
        Counted {
            compared: self.state.compared.load(Ordering::Relaxed),
            left_out: self.state.left_out(),
            flagged: self.state.flagged.load(Ordering::Relaxed),
        }
    }
}

impl State {
    /// Begins the thread that compares. It ends when nobody can give it anything any more.
    fn start(self: Arc<Self>) {
        let (queue, answers) = sync_channel(QUEUE_MAX);
        // Not the queue's own end, or it would never end.
        let weak = Arc::downgrade(&self);
        let compare = move || compare_all(&answers, &weak);
        let thread = std::thread::Builder::new().name("umbra-compare".to_owned()).spawn(compare);
        match thread {
            Ok(_) => drop(self.queue.set(queue)),
            Err(error) => tracing::error!(%error, "there is no thread to compare answers"),
        }
    }

    /// All answers to a request are there, or nobody will bring them.
    pub(crate) fn gathered(&self, gathered: Result<Gathered, Cause>) {
        let full = match gathered {
            Ok(gathered) => {
                let sent = self.queue.get().map(|queue| queue.try_send(gathered));
                (!matches!(sent, Some(Ok(())))).then_some(Cause::Queue)
            }
            Err(cause) => Some(cause),
        };
        if let Some(cause) = full {
            self.left_out[cause as usize].fetch_add(1, Ordering::Release);
        }
    }

    pub(crate) fn has_baseline(&self) -> bool {
        self.has_baseline
    }

    fn compare(&self, hashing: &RandomState, gathered: &Gathered) {
        let found = differ::differ(gathered, &self.settings, hashing);
        let mut evidence = self.evidence();
        evidence.add(found, |path| differ::sample(gathered, path, &self.settings.masks));
        self.flagged.store(evidence.flagged(), Ordering::Relaxed);
        self.compared.fetch_add(1, Ordering::Release);
    }

    fn left_out(&self) -> Vec<LeftOut> {
        let counts = Cause::ALL.iter().zip(&self.left_out);
        let counts =
            counts.map(|(&cause, count)| LeftOut { cause, count: count.load(Ordering::Acquire) });
        counts.filter(|one| one.count > 0).collect()
    }

    fn evidence(&self) -> MutexGuard<'_, Evidence> {
        self.evidence.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn compare_all(answers: &Receiver<Gathered>, state: &std::sync::Weak<State>) {
    // Nobody outside can find two texts of one digest.
    let hashing = RandomState::new();
    while let Ok(gathered) = answers.recv() {
        let Some(state) = state.upgrade() else { return };
        state.compare(&hashing, &gathered);
    }
}
