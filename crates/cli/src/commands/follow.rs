//! Following a build to its end: events, the clock, Ctrl-C and answers meet in one loop.
//!
//! ```text
//! events (thread) --+
//! Ctrl-C (thread) --+--> loop --> screen, answers, reports --> exit code
//! a line (thread) --+      every 100 ms without news: redraw
//! ```
//!
//! Ctrl-C once cancels the build and waits for it to clean up; twice leaves it alone.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use umbra_api::build::{Answer, BuildEvent, BuildInfo, BuildPhase, Event, Failure};
use umbra_api::client::{Client, ClientError};
use umbra_state::Verdict;

use super::{Done, prompt, reports};
use crate::args::Reports;
use crate::error::{CliError, Finish};
use crate::interrupt;
use crate::screen::model::{Ended, Model};
use crate::screen::{failure, live, plain, summary};
use crate::tty;
use crate::ui::Ui;

const REDRAW: Duration = Duration::from_millis(100);

enum Input {
    Event(Box<Result<BuildEvent, ClientError>>),
    EventsEnded,
    Interrupt,
    Line(Option<String>),
}

impl Clone for Input {
    /// Only the interrupt is sent more than once.
    fn clone(&self) -> Self {
        Self::Interrupt
    }
}

/// Follows the build and turns its end into an exit code.
///
/// `vars` are those it was started with, as far as they are known here.
pub(super) fn follow(
    ui: &Ui,
    client: &Client,
    info: &BuildInfo,
    vars: &[(String, String)],
    args: &Reports,
) -> Done {
    let (sender, inputs) = channel();
    start_reading(client, info.id, sender.clone())?;
    let watching = sender.clone();
    if !interrupt::watch(watching, Input::Interrupt) {
        ui.story("warning: Ctrl-C will leave the build running");
    }
    let mut follower = Follower {
        ui,
        client,
        id: info.id,
        again: failure::build_again(&info.recipe, vars),
        shown: None,
        verbose: args.verbose,
        model: Model::default(),
        bar: if ui.json() { None } else { bar(ui) },
        clock: Clock::new(),
        cancelled: false,
        sender,
    };
    let outcome = follower.run(&inputs)?;
    reports::write(&follower.model, args)?;
    Ok(outcome)
}

fn start_reading(client: &Client, id: u64, sender: Sender<Input>) -> Result<(), CliError> {
    let events = client.events(id, 0)?;
    let read = move || {
        for event in events {
            if sender.send(Input::Event(Box::new(event))).is_err() {
                return;
            }
        }
        // Who does not listen any more misses nothing.
        let _ = sender.send(Input::EventsEnded);
    };
    std::thread::Builder::new()
        .name("umbra-events".into())
        .spawn(read)
        .map(drop)
        .map_err(|error| CliError::because(Finish::Environment, "start a thread", &error))
}

/// Lines that are drawn anew in place, where a person watches.
pub(super) fn bar(ui: &Ui) -> Option<ProgressBar> {
    if !ui.is_watched() {
        return None;
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{msg}").ok()?;
    bar.set_style(style);
    Some(bar)
}

/// The build's own time: that of its last event, and what has passed here since.
struct Clock {
    at_us: u64,
    seen: Instant,
}

impl Clock {
    fn new() -> Self {
        Self { at_us: 0, seen: Instant::now() }
    }

    fn set(&mut self, at_us: u64) {
        (self.at_us, self.seen) = (at_us, Instant::now());
    }

    fn now_us(&self) -> u64 {
        let since = u64::try_from(self.seen.elapsed().as_micros()).unwrap_or(0);
        self.at_us.saturating_add(since)
    }
}

struct Follower<'a> {
    ui: &'a Ui,
    client: &'a Client,
    id: u64,
    /// The command that builds again.
    again: String,
    /// The failure whose page was shown last.
    shown: Option<Failure>,
    verbose: bool,
    model: Model,
    bar: Option<ProgressBar>,
    clock: Clock,
    cancelled: bool,
    sender: Sender<Input>,
}

impl Follower<'_> {
    fn run(&mut self, inputs: &Receiver<Input>) -> Done {
        loop {
            match inputs.recv_timeout(REDRAW) {
                Ok(Input::Event(event)) => self.on_event((*event)?)?,
                Ok(Input::EventsEnded) => return self.finish(),
                Ok(Input::Interrupt) if self.cancelled => return Ok(self.leave()),
                Ok(Input::Interrupt) => self.cancel()?,
                Ok(Input::Line(line)) => self.on_line(line)?,
                Err(RecvTimeoutError::Timeout) => self.redraw(),
                Err(RecvTimeoutError::Disconnected) => return self.finish(),
            }
        }
    }

    fn on_event(&mut self, event: BuildEvent) -> Result<(), CliError> {
        self.clock.set(event.at_us);
        self.model.on(&event);
        if self.ui.json() {
            let line = serde_json::to_string(&event)
                .map_err(|error| CliError::because(Finish::Bug, "write JSON", &error))?;
            self.ui.answer(&format!("{line}\n"))?;
        } else if self.bar.is_none() {
            let lines = plain::lines(&self.model, &event, self.verbose);
            lines.iter().for_each(|line| self.ui.story(line));
        } else {
            self.above_live(&event);
        }
        match &event.event {
            Event::Asked { failure } => self.show_failure(failure, true),
            // The same may fail again after another try.
            Event::Answered { answer: Answer::Retry } => self.shown = None,
            // Who was asked about it has its page already.
            Event::Halted { failure } if !self.was_shown(failure) => {
                self.show_failure(failure, false);
            }
            _ => {}
        }
        Ok(())
    }

    /// What is worth keeping above the live screen.
    fn above_live(&self, event: &BuildEvent) {
        let keep = match &event.event {
            Event::Warning { .. } => true,
            Event::TestEnded { result, .. } => result.verdict != Verdict::Pass,
            Event::StepOutput { .. } => self.verbose,
            _ => false,
        };
        if keep {
            self.print(&plain::lines(&self.model, event, self.verbose));
        }
        self.redraw();
    }

    /// Prints above the live screen where there is one.
    fn print(&self, lines: &[String]) {
        let print = || lines.iter().for_each(|line| self.ui.story(line));
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    fn redraw(&self) {
        let Some(bar) = &self.bar else { return };
        if self.model.asked.is_some() || self.model.ended.is_some() {
            return;
        }
        let width = usize::from(tty::size().columns).saturating_sub(1).max(20);
        let lines = live::lines(&self.model, self.clock.now_us(), width, self.ui.paint());
        bar.set_message(lines.join("\n"));
        bar.tick();
    }

    fn was_shown(&self, failure: &Failure) -> bool {
        let what =
            |failure: &Failure| (failure.step, failure.test.as_ref().map(|test| test.name.clone()));
        self.shown.as_ref().is_some_and(|shown| what(shown) == what(failure))
    }

    fn show_failure(&mut self, failure: &Failure, asks: bool) {
        if self.ui.json() {
            return;
        }
        self.shown = Some(failure.clone());
        let (build, paint) = (self.id, self.ui.paint());
        let mut lines = failure::lines(failure, build, &self.again, paint);
        if asks {
            lines.push(String::new());
            lines.extend(prompt::question(
                build,
                failure.shadow.is_some(),
                self.ui.can_ask(),
                paint,
            ));
        }
        if let Some(bar) = &self.bar {
            bar.set_message("");
        }
        self.print(&lines);
        if asks && self.ui.can_ask() {
            self.read_line();
        }
    }

    /// Reads one line beside the loop, so that Ctrl-C still works.
    fn read_line(&self) {
        let sender = self.sender.clone();
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = std::io::stdin().read_line(&mut line);
            let line = matches!(read, Ok(count) if count > 0).then_some(line);
            // A loop that is gone asks no more.
            let _ = sender.send(Input::Line(line));
        });
    }

    fn on_line(&mut self, line: Option<String>) -> Result<(), CliError> {
        let Some(failure) = self.model.asked.clone() else { return Ok(()) };
        // The end of input answers like a person who leaves.
        let line = line.unwrap_or_else(|| "h".to_owned());
        match prompt::parse(&line) {
            Some(prompt::Choice::Answer(answer)) => {
                self.client.answer_build(self.id, answer)?;
            }
            Some(prompt::Choice::Shell) if failure.shadow.is_some() => {
                prompt::shell(self.ui, self.client, failure.shadow.as_deref().unwrap_or_default());
                self.ask_again(&failure);
            }
            _ => self.ask_again(&failure),
        }
        Ok(())
    }

    fn ask_again(&self, failure: &Failure) {
        let paint = self.ui.paint();
        self.print(&prompt::question(self.id, failure.shadow.is_some(), true, paint));
        self.read_line();
    }

    fn cancel(&mut self) -> Result<(), CliError> {
        self.cancelled = true;
        let note = format!(
            "cancelling build {} and waiting for it to clean up; Ctrl-C again leaves it alone",
            self.id
        );
        self.print(&[note]);
        match self.client.cancel_build(self.id) {
            // It may have ended in the meantime; its events say so.
            Ok(_) | Err(ClientError::Refused(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn leave(&self) -> Finish {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.ui.story(&format!(
            "left build {0}, which still cleans up; see it with: umbra follow {0}",
            self.id
        ));
        Finish::Inconclusive
    }

    fn finish(&self) -> Done {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let Some(ended) = &self.model.ended else { return Err(ClientError::Cut.into()) };
        if !self.ui.json() {
            let lines = summary::lines(&self.model, self.ui.paint());
            lines.iter().for_each(|line| self.ui.story(line));
            if let Some((_, state)) = &self.model.sealed {
                self.ui.answer(&format!("{state}\n"))?;
            }
        }
        Ok(exit_of(ended))
    }
}

/// How a build's end ends this program.
fn exit_of(ended: &Ended) -> Finish {
    match (ended.phase, ended.verdict) {
        (BuildPhase::Done, Verdict::Pass) => Finish::Pass,
        (BuildPhase::Done | BuildPhase::Halted, Verdict::Fail) => Finish::Fail,
        (BuildPhase::Broken, _) => Finish::Environment,
        _ => Finish::Inconclusive,
    }
}

#[cfg(test)]
mod tests {
    use umbra_api::build::Figures;

    use super::*;

    #[test]
    fn ends_become_exit_codes() {
        use BuildPhase::{Broken, Cancelled, Done, Halted};
        for (phase, verdict, code) in [
            (Done, Verdict::Pass, 0),
            (Done, Verdict::Fail, 1),
            (Done, Verdict::Inconclusive, 4),
            (Halted, Verdict::Fail, 1),
            (Halted, Verdict::Inconclusive, 4),
            (Cancelled, Verdict::Pass, 4),
            (Broken, Verdict::Pass, 3),
        ] {
            let ended = Ended { phase, verdict, reason: None, figures: Figures::default() };
            assert_eq!(exit_of(&ended).code(), code, "{phase:?} {verdict}");
        }
    }
}
