//! The thread that writes a capture, and what it shares with those who hand exchanges over.
//!
//! Exchanges that are over wait in a bounded queue; redacting, packing and writing are done here.

use std::fs::File;
use std::io::{self, BufWriter};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use umbra_state::chain;

use super::WriteError;
use super::counts::{Counts, Dropped, Ticket};
use super::file::{Tally, Writer};
use super::in_force::{Over, Settings};
use super::redact::Redactor;
use super::tape::Draft;

/// Exchanges that wait to be written.
const QUEUE: usize = 16_384;
/// How soon the writer notices that it is to end: who tells it does not wake it.
const NAP: Duration = Duration::from_millis(50);
/// What was written is in the file at the latest then.
const FLUSH_TIME: Duration = Duration::from_secs(1);
/// How long what is under way may take once nothing more is chosen.
const UNDER_WAY_TIME: Duration = Duration::from_secs(5);
const BUFFER_BYTES: usize = 256 << 10;

/// What the writer and everybody else know.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) counts: Arc<Counts>,
    /// Nothing more is chosen.
    pub(super) closed: AtomicBool,
    pub(super) written: AtomicU64,
    over: Mutex<Option<Over>>,
}

impl State {
    pub(super) fn over(&self) -> MutexGuard<'_, Option<Over>> {
        self.over.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first reason counts, but a failure counts more.
    pub(super) fn close(&self, why: Over) {
        self.closed.store(true, Ordering::Release);
        let mut over = self.over();
        if over.is_none() || matches!(why, Over::Failed(_)) {
            *over = Some(why);
        }
    }
}

/// Begins to write what comes through the queue to an empty file.
///
/// # Errors
/// There are no random bytes, or no thread.
pub(super) fn begin(
    settings: &Settings,
    file: File,
) -> io::Result<(SyncSender<Draft>, Arc<State>, JoinHandle<()>)> {
    let (queue, drafts) = sync_channel(QUEUE);
    let state = Arc::<State>::default();
    let writing = Writing {
        drafts,
        redactor: Redactor::new(settings.secrets.clone())?,
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
    let thread = thread.spawn(move || writing.run(file, pack))?;
    Ok((queue, state, thread))
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
        // What is queued then is still written, and no more.
        let mut ending = false;
        loop {
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
            ending = ending || self.had_its_time();
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
        let is_cut = exchange.request.body.cut
            || exchange.answer.as_ref().is_some_and(|answer| {
                // One of which only the status is wanted is not counted.
                answer.body.cut && !answer.headers.is_empty()
            });
        let dropped = self.redactor.redact(&mut exchange);
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
        counts.bodies_dropped(dropped);
        Ok(())
    }

    fn close_in_time(&mut self, written: u64) {
        if written >= self.bytes_max {
            self.state.close(Over::Bytes);
        } else if self.until.is_some_and(|until| Instant::now() >= until) {
            self.state.close(Over::Duration);
        }
    }

    /// Whether nothing more is chosen, and what was is over or is not waited for any longer.
    fn had_its_time(&mut self) -> bool {
        if !self.state.closed.load(Ordering::Acquire) {
            return false;
        }
        let waited = self.closed_at.get_or_insert_with(Instant::now).elapsed();
        waited >= UNDER_WAY_TIME || self.state.counts.now().under_way() == 0
    }

    /// Counts what was written for nothing, and what still comes for a file that cannot be
    /// written.
    fn drop_rest(&mut self) {
        self.unflushed.drain(..).for_each(|ticket| ticket.dropped(Dropped::File));
        while !self.had_its_time() {
            match self.drafts.recv_timeout(NAP) {
                Ok(draft) => draft.ticket.dropped(Dropped::File),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}
