//! Following a rollout to its end.
//!
//! ```text
//! events (thread) --+
//! Ctrl-C (thread) --+--> loop --> screen or lines --> exit code
//!                          every 100 ms without news: redraw
//! ```
//!
//! Ctrl-C leaves the rollout alone. A daemon that goes away, as one that is updated does, is
//! waited for: the gateway goes on without it.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use umbra_api::client::{Client, ClientError};
use umbra_api::error::ErrorCode;
use umbra_api::rollout::{RolloutEvent, RolloutStatus};

use super::{Done, exit_of, now_ms};
use crate::commands::follow::bar;
use crate::error::{CliError, Finish};
use crate::interrupt;
use crate::screen::rollout::model::Model;
use crate::screen::rollout::{ending, live, plain};
use crate::screen::safe;
use crate::tty;
use crate::ui::Ui;

const REDRAW: Duration = Duration::from_millis(100);

/// How often a daemon that is away is asked again, and for how long.
const AGAIN: Duration = Duration::from_secs(1);
const AWAY_MAX: Duration = Duration::from_secs(60);

enum Input {
    Event(Box<RolloutEvent>),
    /// It is over, and how it stands then.
    Over(Box<RolloutStatus>),
    /// The daemon is away, and why that is thought.
    Away(String),
    Failed(ClientError),
    Interrupt,
}

impl Clone for Input {
    /// Only the interrupt is sent more than once.
    fn clone(&self) -> Self {
        Self::Interrupt
    }
}

/// Follows it; the exit code says how it ended.
pub(super) fn follow(ui: &Ui, client: &Client, status: RolloutStatus) -> Done {
    let (sender, inputs) = channel();
    if !interrupt::watch(sender.clone(), Input::Interrupt) {
        ui.story("warning: Ctrl-C ends this program without a word; the rollout goes on");
    }
    let mut reader =
        Reader { client: client.clone(), id: status.id, from: 0, away_since: None, sender };
    std::thread::Builder::new()
        .name("umbra-events".into())
        .spawn(move || reader.read())
        .map_err(|error| CliError::because(Finish::Environment, "start a thread", &error))?;
    let bar = if ui.json() { None } else { bar(ui) };
    let writer = plain::Writer::new(status.began_at_ms);
    Follower { ui, model: Model::new(status), writer, bar }.run(&inputs)
}

/// Hears the events, also from a daemon that was away meanwhile.
struct Reader {
    client: Client,
    id: u64,
    /// The number of the next event.
    from: u64,
    /// When it was first noticed that the daemon is away, if it is.
    away_since: Option<Instant>,
    sender: Sender<Input>,
}

impl Reader {
    fn read(&mut self) {
        loop {
            let input = match self.hear() {
                Ok(None) => return,
                Ok(Some(status)) if status.phase.is_over() => Some(Input::Over(Box::new(status))),
                // It is there, and had to end the connection.
                Ok(Some(_)) => None,
                Err(error) => Some(self.away(error)),
            };
            let goes_on = matches!(input, None | Some(Input::Away(_)));
            let heard = input.is_none_or(|input| self.sender.send(input).is_ok());
            if !heard || !goes_on {
                return;
            }
            std::thread::sleep(AGAIN);
        }
    }

    /// Passes events on until there are no more, and asks how it stands then. `None` if nobody
    /// listens any more.
    fn hear(&mut self) -> Result<Option<RolloutStatus>, ClientError> {
        let events = self.client.rollout_events(self.id, self.from)?;
        self.away_since = None;
        for event in events {
            let event = event?;
            self.from = event.seq.saturating_add(1);
            if self.sender.send(Input::Event(Box::new(event))).is_err() {
                return Ok(None);
            }
        }
        self.client.rollout(&self.id.to_string()).map(Some)
    }

    /// Whether a failure is one of a daemon that may come back.
    fn away(&mut self, error: ClientError) -> Input {
        let since = *self.away_since.get_or_insert_with(Instant::now);
        let comes_back = match &error {
            ClientError::Connect { .. }
            | ClientError::Http(_)
            | ClientError::Cut
            | ClientError::Io(_) => true,
            ClientError::Refused(refused) => refused.code == ErrorCode::ShuttingDown,
            _ => false,
        };
        match comes_back && since.elapsed() < AWAY_MAX {
            true => Input::Away(error.to_string()),
            false => Input::Failed(error),
        }
    }
}

struct Follower<'a> {
    ui: &'a Ui,
    model: Model,
    writer: plain::Writer,
    bar: Option<ProgressBar>,
}

impl Follower<'_> {
    fn run(&mut self, inputs: &Receiver<Input>) -> Done {
        loop {
            match inputs.recv_timeout(REDRAW) {
                Ok(Input::Event(event)) => self.on_event(&event)?,
                Ok(Input::Over(status)) => return Ok(self.finish(*status)),
                Ok(Input::Away(why)) => self.on_away(why),
                Ok(Input::Failed(error)) => return Err(self.lost(error)),
                Ok(Input::Interrupt) => return Ok(self.leave()),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(self.lost(ClientError::Cut)),
            }
            self.redraw();
        }
    }

    fn on_event(&mut self, event: &RolloutEvent) -> Result<(), CliError> {
        self.model.on(event);
        self.model.away = None;
        if self.ui.json() {
            let line = serde_json::to_string(event)
                .map_err(|error| CliError::because(Finish::Bug, "write JSON", &error))?;
            return self.ui.answer(&format!("{line}\n"));
        }
        if self.bar.is_none()
            && let Some(line) = self.writer.line(event)
        {
            self.ui.story(&line);
        }
        Ok(())
    }

    fn on_away(&mut self, why: String) {
        if self.bar.is_none() && self.model.away.is_none() {
            self.ui.story(&format!(
                "warning: failed to {}; the gateway goes on, and the daemon is waited for",
                safe(&why)
            ));
        }
        self.model.away = Some(why);
    }

    fn redraw(&self) {
        let Some(bar) = &self.bar else { return };
        let size = tty::size();
        let width = usize::from(size.columns).saturating_sub(1).max(20);
        let mut lines = live::lines(&self.model, now_ms(), width, self.ui.paint());
        // What scrolls away cannot be redrawn.
        lines.truncate(usize::from(size.rows).saturating_sub(2).max(5));
        lines.push(self.ui.paint().dim("Ctrl-C leaves; the rollout goes on"));
        bar.set_message(lines.join("\n"));
        bar.tick();
    }

    fn finish(&mut self, status: RolloutStatus) -> Finish {
        self.clear();
        if !self.ui.json() {
            let lines = ending::lines(&status, self.ui.paint());
            lines.iter().for_each(|line| self.ui.story(line));
        }
        exit_of(status.phase)
    }

    fn leave(&self) -> Finish {
        self.clear();
        self.ui.story(&format!(
            "left rollout {0}, which goes on; see it with `umbra rollout watch {0}`, end it with \
             `umbra rollout abort {0}`",
            self.model.status.id
        ));
        Finish::Inconclusive
    }

    fn lost(&self, error: ClientError) -> CliError {
        self.clear();
        let failure = CliError::from(error);
        if failure.finish != Finish::Environment {
            return failure;
        }
        failure.with_hint(format!(
            "the gateway goes on without the daemon, and takes a worse candidate back by itself; \
             once `umbra serve` runs again: umbra rollout watch {}",
            self.model.status.id
        ))
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
