//! A line to an agent: what it says arrives in an inbox, until it is gone.
//!
//! ```text
//! desk ── says ──> mouth ──> agent ──> ears ── what may be said ──> inbox
//!   └──── looks every second ──> pulse: when was something heard last? ─┘
//! ```
//!
//! The desk waits for nothing here: neither for an agent to be started, nor for one that takes
//! nothing, nor for one that says nothing.

use std::collections::BTreeSet;
use std::io::{self, BufRead, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, SyncSender, TrySendError, channel, sync_channel,
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use umbra_drift::remote::Remote;
use umbra_drift::wire::{self, Ask, Begin, Say, Tell};

use super::admission::Admission;
use super::agents::{Agent, Agents, Leash, There};
use super::desk::Input;
use super::pulse::{Heard, Next, Pulse};

/// How long an agent has to end once nobody speaks with it any more.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a full inbox is left alone.
const FULL: Duration = Duration::from_millis(2);
/// What waits to be said.
const SAYINGS_MAX: usize = 1024;
/// Bytes of what was said and waits at the desk; the agent waits with more.
const WAITING_BYTES_MAX: u64 = 64 << 20;

/// Whom a line leads to, and what for.
pub(super) struct Whom {
    pub(super) agents: Arc<dyn Agents>,
    pub(super) at: Option<Remote>,
    pub(super) begin: Begin,
    /// The parameters it may tell of.
    pub(super) parameters: BTreeSet<String>,
}

/// An open line.
pub(super) struct Line {
    says: Option<SyncSender<Say>>,
    call: Arc<Call>,
    ears: Option<JoinHandle<()>>,
    asked: u64,
    pulse: Option<Pulse>,
    patience: Duration,
}

/// What both ends of a line on this machine know.
struct Call {
    /// What the agent says does not matter any more.
    deaf: AtomicBool,
    stage: Mutex<Stage>,
    heard: Mutex<Heard>,
    waiting_bytes: Arc<AtomicU64>,
}

enum Stage {
    /// The agent is being started.
    Starting,
    Up(Arc<dyn Leash>),
    HungUp,
}

/// What was said and waits to be looked at.
#[derive(Debug)]
pub(super) struct Weight {
    bytes: u64,
    all: Arc<AtomicU64>,
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Line {
    /// Begins to start an agent, and tells it to begin. What it says goes to `inbox` under
    /// `generation`; so does that it cannot be started.
    pub(super) fn open(whom: Whom, inbox: SyncSender<Input>, generation: u64) -> io::Result<Self> {
        let (says, sayings) = sync_channel(SAYINGS_MAX);
        let heard = Heard { at: Instant::now(), answered: 0, busy: None };
        let call = Arc::new(Call {
            deaf: AtomicBool::new(false),
            stage: Mutex::new(Stage::Starting),
            heard: Mutex::new(heard),
            waiting_bytes: Arc::default(),
        });
        let (told, thread) = (Arc::clone(&call), std::thread::Builder::new());
        let ears = thread.name("umbra-agent".into()).spawn(move || {
            let why = told.converse(whom, sayings, &inbox, generation);
            told.deliver(Input::Lost { generation, why }, &inbox);
        })?;
        let (ears, pulse) = (Some(ears), None);
        Ok(Self { says: Some(says), call, ears, asked: 0, pulse, patience: PATIENCE })
    }

    /// Asks; the answer has the number that is returned.
    pub(super) fn ask(&mut self, ask: Ask) -> io::Result<u64> {
        self.asked += 1;
        self.say(Say::Ask { number: self.asked, ask })?;
        Ok(self.asked)
    }

    /// Looks whether the agent lives; if it is taken for dead, because of what.
    pub(super) fn feel(&mut self, now: Instant) -> Option<String> {
        if !matches!(*self.call.stage(), Stage::Up(_)) {
            return None;
        }
        let heard = *self.call.heard();
        let next = self.pulse.get_or_insert_with(|| Pulse::new(now)).on(now, heard);
        match next {
            Next::Wait => None,
            Next::Ask(number) => self.say(Say::Alive { number }).err().map(|why| why.to_string()),
            Next::Dead(why) => {
                // Whoever does not answer would not end by being asked to.
                self.patience = Duration::ZERO;
                Some(why)
            }
        }
    }

    fn say(&self, say: Say) -> io::Result<()> {
        let says = self.says.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        says.try_send(say).map_err(|error| match error {
            TrySendError::Full(_) => io::Error::other("it takes nothing any more"),
            TrySendError::Disconnected(_) => io::ErrorKind::BrokenPipe.into(),
        })
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.call.deaf.store(true, Ordering::Relaxed);
        // The end of its input is what an agent ends for.
        self.says = None;
        let stage = std::mem::replace(&mut *self.call.stage(), Stage::HungUp);
        if let Stage::Up(leash) = stage {
            leash.end(self.patience);
        }
        if let Some(ears) = self.ears.take() {
            // A panic of the thread was printed already.
            let _ = ears.join();
        }
    }
}

impl Call {
    /// From the agent's start to its end; because of what it ended.
    fn converse(
        self: &Arc<Self>,
        whom: Whom,
        sayings: Receiver<Say>,
        inbox: &SyncSender<Input>,
        generation: u64,
    ) -> String {
        let Whom { agents, at, begin, parameters } = whom;
        let Agent { to, from, leash, there } = match agents.start(at.as_ref(), &self.deaf) {
            Ok(agent) => agent,
            Err(error) => return format!("its agent cannot be started: {error}"),
        };
        if !self.is_up(&leash) {
            leash.end(Duration::ZERO);
            return "nobody waits for it any more".to_owned();
        }
        self.deliver(Input::Started { generation, there }, inbox);
        let mouth = std::thread::Builder::new().name("umbra-agent".into());
        // It ends when nobody has anything to say any more, or nobody is there to take it.
        let spoken = mouth.spawn(move || speak(to, begin, &sayings));
        if let Err(error) = spoken {
            return format!("a thread cannot be made: {error}");
        }
        let admission = Admission::new(parameters, Instant::now());
        let why = self.listen(from, inbox, generation, admission);
        match (why, leash.complaint()) {
            (Some(why), _) => why,
            (None, Some(complaint)) => format!("its agent has ended: {complaint}"),
            (None, None) => "its agent has ended".to_owned(),
        }
    }

    /// Whether somebody still wants the agent that was started.
    fn is_up(&self, leash: &Arc<dyn Leash>) -> bool {
        let mut stage = self.stage();
        self.heard().at = Instant::now();
        match *stage {
            Stage::HungUp => false,
            Stage::Starting | Stage::Up(_) => {
                *stage = Stage::Up(Arc::clone(leash));
                true
            }
        }
    }

    /// Passes on what may be said until nothing comes, or something that may not; why, if it
    /// is not just over.
    fn listen(
        &self,
        from: Box<dyn BufRead + Send>,
        inbox: &SyncSender<Input>,
        generation: u64,
        mut admission: Admission,
    ) -> Option<String> {
        let mut from = Ear { from, call: self, bytes: 0 };
        loop {
            let before = from.bytes;
            let mut tell = match wire::read::<Tell>(&mut from) {
                Ok(Some(tell)) => tell,
                Ok(None) => return None,
                // Cut off in the middle: who is at the other end has ended.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return None,
                Err(error) => return Some(format!("what it says is not understood: {error}")),
            };
            let bytes = from.bytes - before;
            if let Tell::Alive { number, busy_ms } = tell {
                let mut heard = self.heard();
                (heard.answered, heard.busy) = (number, busy_ms.map(Duration::from_millis));
                continue;
            }
            if let Err(why) = admission.admit(&mut tell, bytes, Instant::now()) {
                return Some(format!("what its agent says is refused: {why}"));
            }
            let weight = self.weigh(bytes);
            if !self.deliver(Input::Told { generation, tell: Box::new(tell), weight }, inbox) {
                return None;
            }
        }
    }

    /// Waits while too much waits already.
    fn weigh(&self, bytes: u64) -> Weight {
        let all = Arc::clone(&self.waiting_bytes);
        while all.load(Ordering::Relaxed) > WAITING_BYTES_MAX && !self.is_deaf() {
            self.rest();
        }
        all.fetch_add(bytes, Ordering::Relaxed);
        Weight { bytes, all }
    }

    /// Waits for room unless nobody wants to hear it: the desk that would make room may be the
    /// one that waits for this thread.
    fn deliver(&self, input: Input, inbox: &SyncSender<Input>) -> bool {
        let mut waiting = input;
        loop {
            if self.is_deaf() {
                return true;
            }
            match inbox.try_send(waiting) {
                Ok(()) => return true,
                Err(TrySendError::Full(input)) => waiting = input,
                Err(TrySendError::Disconnected(_)) => return false,
            }
            self.rest();
        }
    }

    /// It is not the agent that keeps anybody waiting.
    fn rest(&self) {
        std::thread::sleep(FULL);
        self.heard().at = Instant::now();
    }

    fn is_deaf(&self) -> bool {
        self.deaf.load(Ordering::Relaxed)
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says what there is to say; that it is not taken is noticed by who listens.
fn speak(mut to: Box<dyn Write + Send>, begin: Begin, sayings: &Receiver<Say>) {
    let begun = wire::write(&mut to, &Say::Begin(begin));
    let spoken = begun.and_then(|()| sayings.iter().try_for_each(|say| wire::write(&mut to, &say)));
    if let Err(error) = spoken {
        tracing::debug!(%error, "an agent does not listen");
    }
}

/// What is heard, counted, and when.
struct Ear<'a> {
    from: Box<dyn BufRead + Send>,
    call: &'a Call,
    bytes: u64,
}

impl Read for Ear<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.bytes += count as u64;
        Ok(count)
    }
}

impl BufRead for Ear<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let bytes = self.from.fill_buf()?;
        if !bytes.is_empty() {
            self.call.heard().at = Instant::now();
        }
        Ok(bytes)
    }

    fn consume(&mut self, count: usize) {
        self.bytes += count as u64;
        self.from.consume(count);
    }
}

/// Why an agent did not do the one thing it was told.
#[derive(Debug, thiserror::Error)]
pub(super) enum Undone {
    /// It cannot be started, or does not answer in time.
    #[error("{0}")]
    Unreached(String),
    /// It says that it will not.
    #[error("its agent refuses: {0}")]
    Refused(String),
}

/// Starts an agent for one thing that it is told instead of to begin, and ends it. What it said,
/// and where it is.
///
/// # Errors
/// It cannot be spoken with, or refuses.
pub(super) fn once(
    agents: &dyn Agents,
    at: Option<&Remote>,
    say: &Say,
    limit: Duration,
    cancelled: &AtomicBool,
) -> Result<(Tell, Option<There>), Undone> {
    let agent = agents.start(at, cancelled);
    let Agent { mut to, mut from, leash, there } = agent
        .map_err(|error| Undone::Unreached(format!("its agent cannot be started: {error}")))?;
    let (heard, hears) = channel();
    let ears = std::thread::Builder::new().name("umbra-agent".into());
    let listening = ears.spawn(move || {
        // Nobody may wait for it any more.
        let _ = heard.send(wire::read::<Tell>(&mut from));
    });
    let said = listening.and_then(|_| wire::write(&mut to, say));
    let answer = match hears.recv_timeout(limit) {
        Ok(Ok(Some(tell))) => Ok(tell),
        Ok(Ok(None)) | Err(RecvTimeoutError::Disconnected) => {
            let why = said.err().map(|error| error.to_string());
            Err(leash.complaint().or(why).unwrap_or_else(|| "it has ended".to_owned()))
        }
        Ok(Err(error)) => Err(leash.complaint().unwrap_or_else(|| error.to_string())),
        Err(RecvTimeoutError::Timeout) => Err(format!("it says nothing for {} s", limit.as_secs())),
    };
    drop(to);
    leash.end(if answer.is_ok() { PATIENCE } else { Duration::ZERO });
    match answer.map_err(Undone::Unreached)? {
        Tell::Refused { why } => Err(Undone::Refused(why)),
        tell => Ok((tell, there)),
    }
}
