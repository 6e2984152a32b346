//! A capture in force: what it chooses, and the thread that writes it.
//!
//! Exchanges that are over wait in a bounded queue for the writer; where it is full they are
//! dropped. Redacting, packing and writing are the writer's.

use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hyper::Method;
use hyper::http::request::Parts;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use umbra_state::chain;

use super::counts::{Counted, Counts, Dropped, Ticket};
use super::file::{Tally, Writer};
use super::redact::{Redactor, Secrets};
use super::session::{Sessions, Whose};
use super::tape::{Draft, Tapes};
use super::{Exchange, WriteError};
use crate::fraction::{Chooser, Fraction};
use crate::headers::Client;

/// Exchanges that wait to be written.
const QUEUE: usize = 16_384;
/// How soon the writer notices that it is to end.
const NAP: Duration = Duration::from_millis(50);
/// What was written is in the file at the latest then.
const FLUSH_TIME: Duration = Duration::from_secs(1);
/// How long what is under way may take once nothing more is chosen.
pub(super) const UNDER_WAY_TIME: Duration = Duration::from_secs(5);
const BUFFER_BYTES: usize = 256 << 10;

/// What is captured, and where to.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its name.
    pub name: String,
    /// The file.
    pub file: PathBuf,
    /// How much of what the filter lets through.
    pub fraction: Fraction,
    /// Only requests of these methods; of all, if there are none.
    pub methods: Vec<Method>,
    /// Only requests whose path begins so.
    pub path_prefix: String,
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

/// What the writer and everybody else know.
#[derive(Debug, Default)]
struct State {
    counts: Arc<Counts>,
    /// Nothing more is chosen.
    closed: AtomicBool,
    /// What is queued is still written, then no more.
    ending: AtomicBool,
    written: AtomicU64,
    over: Mutex<Option<Over>>,
}

impl State {
    fn over(&self) -> std::sync::MutexGuard<'_, Option<Over>> {
        self.over.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first reason counts, but a failure counts more.
    fn close(&self, why: Over) {
        self.closed.store(true, Ordering::Release);
        let mut over = self.over();
        if over.is_none() || matches!(why, Over::Failed(_)) {
            *over = Some(why);
        }
    }
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
        let redactor = Redactor::new(settings.secrets.clone())?;
        let sessions = Sessions::new(settings.whose.clone())?;
        let (queue, drafts) = sync_channel(QUEUE);
        let state = Arc::<State>::default();
        let writing = Writing {
            drafts,
            redactor,
            state: Arc::clone(&state),
            closed_at: None,
            unflushed: Vec::new(),
            flushed: 0,
            flushed_at: Instant::now(),
            until: settings.duration.map(|duration| Instant::now() + duration),
            bytes_max: settings.bytes_max,
        };
        let pack = settings.pack;
        let thread = std::thread::Builder::new().name("umbra-capture".into());
        let writer = thread.spawn(move || writing.run(file, pack))?;
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
    pub(super) fn tape(self: &Arc<Self>, head: &Parts, client: &Client, to: &mut Tapes) {
        let Settings { methods, path_prefix, .. } = &self.settings;
        let wanted = (methods.is_empty() || methods.contains(&head.method))
            && head.uri.path().starts_with(path_prefix)
            && !self.state.closed.load(Ordering::Acquire);
        if !wanted || !self.chooser.choose() {
            return;
        }
        let session = self.sessions.of(head, client);
        if let Some(draft) = Draft::new(head, session, &self.state.counts, &self.memory) {
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

    /// Ends the file. Waits until it is written.
    pub(super) fn finish(&self) {
        self.close();
        self.state.ending.store(true, Ordering::Release);
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            // It does not panic, and is gone if it did.
            let _ = writer.join();
        }
    }
}

/// The writer's side.
struct Writing {
    drafts: Receiver<Draft>,
    redactor: Redactor,
    state: Arc<State>,
    closed_at: Option<Instant>,
    /// Of what the kernel does not have yet.
    unflushed: Vec<Ticket>,
    /// How long the file was then, and when.
    flushed: u64,
    flushed_at: Instant,
    until: Option<Instant>,
    bytes_max: u64,
}

impl Writing {
    fn run(mut self, file: File, pack: bool) {
        if let Err(error) = self.write(file, pack) {
            let why = chain(&error);
            tracing::warn!(why, "a capture cannot be written");
            self.state.close(Over::Failed(why));
            self.drop_rest();
        }
    }

    fn write(&mut self, file: File, pack: bool) -> Result<(), WriteError> {
        let mut writer = Writer::new(BufWriter::with_capacity(BUFFER_BYTES, file), pack)?;
        loop {
            // Read before the queue: what came before the end is then seen in it.
            let ending = self.state.ending.load(Ordering::Acquire);
            match self.drafts.recv_timeout(if ending { Duration::ZERO } else { NAP }) {
                Ok(draft) => self.put(draft, &mut writer)?,
                Err(RecvTimeoutError::Timeout) if !ending => self.flush(&mut writer)?,
                Err(_) => break,
            }
            if writer.written() >= self.flushed + BUFFER_BYTES as u64
                || self.flushed_at.elapsed() >= FLUSH_TIME
            {
                self.flush(&mut writer)?;
            }
            self.state.written.store(writer.written(), Ordering::Relaxed);
            self.close_in_time(writer.written());
        }
        self.flush(&mut writer)?;
        let counted = self.state.counts.now();
        let tally = Tally {
            eligible: counted.eligible,
            captured: counted.captured,
            dropped: counted.dropped(),
        };
        let file = writer.finish(tally)?.into_inner().map_err(|error| error.into_error())?;
        self.state.written.store(file.metadata()?.len(), Ordering::Relaxed);
        Ok(file.sync_all()?)
    }

    /// What the kernel took is captured, and not before.
    fn flush(&mut self, writer: &mut Writer<BufWriter<File>>) -> Result<(), WriteError> {
        if !self.unflushed.is_empty() {
            writer.flush()?;
            self.unflushed.drain(..).for_each(Ticket::captured);
        }
        (self.flushed, self.flushed_at) = (writer.written(), Instant::now());
        Ok(())
    }

    fn put(
        &mut self,
        draft: Draft,
        writer: &mut Writer<BufWriter<File>>,
    ) -> Result<(), WriteError> {
        let (mut exchange, ticket, _memory) = draft.into_exchange();
        let counts = &self.state.counts;
        let dropped = self.redactor.dropped();
        let is_cut = exchange.request.body.cut
            || exchange.answer.as_ref().is_some_and(|answer| {
                // One of which only the status is wanted is not counted.
                answer.body.cut && !answer.headers.is_empty()
            });
        self.redactor.redact(&mut exchange);
        match writer.put(&exchange) {
            Err(WriteError::TooLong) => {
                ticket.dropped(Dropped::TooLong);
                return Ok(());
            }
            Err(error) => {
                ticket.dropped(Dropped::File);
                return Err(error);
            }
            Ok(()) => self.unflushed.push(ticket),
        }
        if is_cut {
            counts.cut();
        }
        counts.bodies_dropped(self.redactor.dropped() - dropped);
        Ok(())
    }

    fn close_in_time(&mut self, written: u64) {
        if written >= self.bytes_max {
            self.state.close(Over::Bytes);
        } else if self.until.is_some_and(|until| Instant::now() >= until) {
            self.state.close(Over::Duration);
        }
        if !self.state.closed.load(Ordering::Acquire) {
            return;
        }
        let waited = self.closed_at.get_or_insert_with(Instant::now).elapsed();
        if waited >= UNDER_WAY_TIME || self.state.counts.now().under_way() == 0 {
            self.state.ending.store(true, Ordering::Release);
        }
    }

    /// Counts what was written for nothing, and what still comes for a file that cannot be
    /// written.
    fn drop_rest(&mut self) {
        self.unflushed.drain(..).for_each(|ticket| ticket.dropped(Dropped::File));
        while !self.state.ending.load(Ordering::Acquire) {
            match self.drafts.recv_timeout(NAP) {
                Ok(draft) => draft.ticket.dropped(Dropped::File),
                Err(RecvTimeoutError::Timeout) => {
                    if self.state.counts.now().under_way() == 0 {
                        return;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            name: "a".into(),
            file: "/dev/full".into(),
            fraction: Fraction::ALL,
            methods: Vec::new(),
            path_prefix: String::new(),
            duration: None,
            bytes_max: u64::MAX,
            body_bytes_max: 100,
            answers: false,
            pack: false,
            whose: Whose::Connection,
            secrets: Secrets::default(),
        }
    }

    fn ask(capture: &Arc<Capture>, path: &str) {
        let request = hyper::Request::builder().uri(path).body(()).expect("a request");
        let client = Client::new(([192, 0, 2, 1], 80).into());
        let mut tapes = Tapes::default();
        capture.tape(&request.into_parts().0, &client, &mut tapes);
    }

    #[test]
    fn a_full_disk_drops_everything_and_is_told() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
        let memory = Arc::new(Semaphore::new(64 << 20));
        let capture = Capture::begin(settings(), full, Arc::clone(&memory), 1).expect("begun");
        // More than is written at once.
        (0..1000).for_each(|_| ask(&capture, &format!("/{}", "a".repeat(1000))));
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
