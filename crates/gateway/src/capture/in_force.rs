//! A capture in force: what it chooses. What finds no place in the queue to its writer is dropped.

use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::Exchange;
use super::counts::{Counted, Dropped};
use super::redact::Secrets;
use super::session::{Sessions, Whose};
use super::tape::{Draft, Tapes};
use super::writing::{self, State};
use crate::fraction::{Chooser, Fraction};
use crate::headers::Client;
use crate::mirror::{Filter, Offered};

/// What is captured, and where to.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its name.
    pub name: String,
    /// The file.
    pub file: PathBuf,
    /// How much of what the filter lets through.
    pub fraction: Fraction,
    /// Which requests it is for.
    pub filter: Filter,
    /// When it ends by itself.
    pub duration: Option<Duration>,
    /// The file's length at which it ends by itself.
    pub bytes_max: u64,
    /// Bytes of a body that are kept.
    pub body_bytes_max: usize,
    /// Whether answers are kept, beside their status.
    pub answers: bool,
    /// Whether the file is packed.
    pub pack: bool,
    /// By what requests are told to be one client's.
    pub whose: Whose,
    /// What is not kept besides credentials and cookies.
    pub secrets: Secrets,
}

/// Why a capture is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    /// It was told to end.
    Stopped,
    /// Its time was over.
    Duration,
    /// Its file was as long as it may be.
    Bytes,
    /// Its file could not be written.
    Failed(String),
}

/// A capture.
#[derive(Debug)]
pub struct Capture {
    settings: Settings,
    chooser: Chooser,
    sessions: Sessions,
    /// Shared with all copies.
    memory: Arc<Semaphore>,
    queue: SyncSender<Draft>,
    state: Arc<State>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Capture {
    /// Begins to write to an empty file; drafts take from `memory`, a permit a byte.
    ///
    /// # Errors
    /// There are no random bytes, or no thread.
    pub(super) fn begin(
        settings: Settings,
        file: File,
        memory: Arc<Semaphore>,
        seed: u64,
    ) -> std::io::Result<Arc<Self>> {
        let sessions = Sessions::new(settings.whose.clone())?;
        let (queue, state, writer) = writing::begin(&settings, file)?;
        let chooser = Chooser::new(settings.fraction, seed);
        let writer = Mutex::new(Some(writer));
        Ok(Arc::new(Self { settings, chooser, sessions, memory, queue, state, writer }))
    }

    /// What it does.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) fn memory(&self) -> &Arc<Semaphore> {
        &self.memory
    }

    /// How many requests the filter let through so far.
    pub fn seen(&self) -> u64 {
        self.chooser.seen()
    }

    /// What became of them.
    pub fn counted(&self) -> Counted {
        self.state.counts.now()
    }

    /// How long its file is.
    pub fn written(&self) -> u64 {
        self.state.written.load(Ordering::Relaxed)
    }

    /// Why it is over; `None` while it is not.
    pub fn over(&self) -> Option<Over> {
        self.state.over().clone()
    }

    /// Begins to keep a request with this head, if it is to be. Never waits.
    pub(super) fn tape(self: &Arc<Self>, offered: &Offered<'_>, client: &Client, to: &mut Tapes) {
        let wanted = self.settings.filter.lets_through(offered)
            && !self.state.closed.load(Ordering::Acquire);
        if !wanted || !self.chooser.choose() {
            return;
        }
        let session = self.sessions.of(offered.head, client);
        if let Some(draft) = Draft::new(offered.head, session, &self.state.counts, &self.memory) {
            to.add(self, draft);
        }
    }

    /// Has an exchange that is over written. Never waits.
    pub(super) fn hand_over(&self, draft: Draft) {
        if let Err(TrySendError::Full(draft)) = self.queue.try_send(draft) {
            draft.ticket.dropped(Dropped::Queue);
        }
        // Where nobody writes any more, what was to be written has counted itself.
    }

    /// Keeps an exchange that is over already, if it is to be. Never waits.
    pub(super) fn take(&self, exchange: Exchange) {
        if !self.chooser.choose() {
            return;
        }
        let counts = &self.state.counts;
        if self.state.closed.load(Ordering::Acquire) {
            counts.ticket().dropped(Dropped::Stopped);
        } else if let Some(draft) = Draft::of(exchange, counts, &self.memory) {
            self.hand_over(draft);
        }
    }

    /// Nothing more is chosen.
    pub(super) fn close(&self) {
        self.state.close(Over::Stopped);
    }

    /// Ends the file. Waits until it is written, with what is under way if that is over in time.
    pub(super) fn finish(&self) {
        self.close();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            // It does not panic, and is gone if it did.
            let _ = writer.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::body::Passing;

    fn settings() -> Settings {
        Settings {
            name: "a".into(),
            file: "/dev/full".into(),
            fraction: Fraction::ALL,
            filter: Filter::default(),
            duration: None,
            bytes_max: u64::MAX,
            body_bytes_max: 100,
            answers: false,
            pack: false,
            whose: Whose::Connection,
            secrets: Secrets::default(),
        }
    }

    fn ask(capture: &Arc<Capture>, path: &str) -> Tapes {
        let request = hyper::Request::builder().uri(path).body(()).expect("a request");
        let client = Client::new(([192, 0, 2, 1], 80).into());
        let head = request.into_parts().0;
        let offered = Offered { head: &head, route: "shop", client: client.source().ip() };
        let mut tapes = Tapes::default();
        capture.tape(&offered, &client, &mut tapes);
        tapes
    }

    #[test]
    fn a_full_disk_drops_everything_and_is_told() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
        let memory = Arc::new(Semaphore::new(64 << 20));
        let capture = Capture::begin(settings(), full, Arc::clone(&memory), 1).expect("begun");
        // More than is written at once.
        (0..1000).for_each(|_| drop(ask(&capture, &format!("/{}", "a".repeat(1000)))));
        capture.finish();
        ask(&capture, "/late");
        let counted = capture.counted();
        assert!(counted.eligible > 0 && counted.eligible <= 1000, "{counted:?}");
        assert_eq!(counted.captured + counted.dropped(), counted.eligible, "{counted:?}");
        assert!(counted.dropped_file > 0, "{counted:?}");
        assert!(matches!(capture.over(), Some(Over::Failed(_))), "{:?}", capture.over());
        assert_eq!(memory.available_permits(), 64 << 20);
    }

    #[test]
    fn an_answer_for_which_there_is_no_memory_is_not_kept() {
        let memory = Arc::new(Semaphore::new(4096));
        let settings = Settings { answers: true, ..settings() };
        let file = tempfile::tempfile().expect("a file");
        let capture = Capture::begin(settings, file, Arc::clone(&memory), 1).expect("begun");
        for (length, captured, dropped) in [(1000, 1, 0), (5000, 1, 1)] {
            let answer = hyper::Response::builder().header("a", "b".repeat(length));
            let answer = answer.body(Passing::made("")).expect("an answer");
            drop(ask(&capture, "/").answer(answer));
            let until = Instant::now() + Duration::from_secs(10);
            while capture.counted().under_way() > 0 {
                assert!(Instant::now() < until, "it is not written");
                std::thread::yield_now();
            }
            let counted = capture.counted();
            assert_eq!((counted.captured, counted.dropped_memory), (captured, dropped));
            assert_eq!(memory.available_permits(), 4096);
        }
        capture.finish();
    }

    #[test]
    fn it_ends_by_itself_at_its_length_and_after_its_time() {
        for (settings, over) in [
            (Settings { bytes_max: 300, ..settings() }, Over::Bytes),
            (Settings { duration: Some(Duration::from_millis(1)), ..settings() }, Over::Duration),
        ] {
            let file = tempfile::tempfile().expect("a file");
            let memory = Arc::new(Semaphore::new(1 << 20));
            let capture = Capture::begin(settings, file, memory, 1).expect("begun");
            let until = Instant::now() + Duration::from_secs(10);
            while capture.over().is_none() {
                ask(&capture, "/a");
                assert!(Instant::now() < until);
            }
            capture.finish();
            let counted = capture.counted();
            assert_eq!(capture.over(), Some(over));
            assert_eq!(counted.captured + counted.dropped(), counted.eligible, "{counted:?}");
        }
    }
}
