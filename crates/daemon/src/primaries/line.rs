//! A line to an agent: what it says arrives in an inbox, until it is gone.

use std::io::{self, BufRead};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::thread::JoinHandle;
use std::time::Duration;

use umbra_drift::wire::{self, Ask, Begin, Say, Tell};

use super::agents::{Agent, Agents};
use super::desk::Input;

/// How long a full inbox is left alone.
const FULL: Duration = Duration::from_millis(2);

/// An open line.
pub(super) struct Line {
    to: Option<Box<dyn io::Write + Send>>,
    ended: Option<Box<dyn FnOnce() + Send>>,
    ears: Option<JoinHandle<()>>,
    /// What the agent says does not matter any more.
    deaf: Arc<AtomicBool>,
    asked: u64,
}

impl Line {
    /// Starts an agent and tells it to begin. What it says goes to `inbox` under `generation`.
    pub(super) fn open(
        agents: &dyn Agents,
        begin: Begin,
        inbox: SyncSender<Input>,
        generation: u64,
    ) -> io::Result<Self> {
        let Agent { to, from, ended } = agents.start()?;
        let deaf = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&deaf);
        let mut line = Self { to: Some(to), ended: Some(ended), ears: None, deaf, asked: 0 };
        let ears = std::thread::Builder::new().name("umbra-agent".into());
        line.ears = Some(ears.spawn(move || listen(from, &inbox, generation, &told))?);
        line.say(&Say::Begin(begin))?;
        Ok(line)
    }

    /// Asks; the answer has the number that is returned.
    pub(super) fn ask(&mut self, ask: Ask) -> io::Result<u64> {
        self.asked += 1;
        self.say(&Say::Ask { number: self.asked, ask })?;
        Ok(self.asked)
    }

    fn say(&mut self, say: &Say) -> io::Result<()> {
        let to = self.to.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        wire::write(to, say)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.deaf.store(true, Ordering::Relaxed);
        // The end of its input is what an agent ends for.
        self.to = None;
        if let Some(ended) = self.ended.take() {
            ended();
        }
        if let Some(ears) = self.ears.take() {
            // A panic of the thread was printed already.
            let _ = ears.join();
        }
    }
}

fn listen(
    mut from: Box<dyn BufRead + Send>,
    inbox: &SyncSender<Input>,
    generation: u64,
    deaf: &AtomicBool,
) {
    loop {
        let (input, last) = match wire::read::<Tell>(&mut from) {
            Ok(Some(tell)) => (Input::Told { generation, tell: Box::new(tell) }, false),
            Ok(None) => (Input::Lost { generation, why: "it ended".to_owned() }, true),
            Err(error) => (Input::Lost { generation, why: error.to_string() }, true),
        };
        if !deliver(input, inbox, deaf) || last {
            return;
        }
    }
}

/// Waits for room unless nobody wants to hear it: the desk that would make room may be the one
/// that waits for this thread.
fn deliver(input: Input, inbox: &SyncSender<Input>, deaf: &AtomicBool) -> bool {
    let mut waiting = input;
    loop {
        if deaf.load(Ordering::Relaxed) {
            return true;
        }
        match inbox.try_send(waiting) {
            Ok(()) => return true,
            Err(TrySendError::Full(input)) => waiting = input,
            Err(TrySendError::Disconnected(_)) => return false,
        }
        std::thread::sleep(FULL);
    }
}
