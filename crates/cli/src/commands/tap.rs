//! `umbra tap`: requests read from what passes an interface, shown or kept in a file.

use std::io::{self, BufWriter, Stdout, Write};
use std::sync::mpsc::{TryRecvError, channel};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use umbra_gateway::capture::captures::CaptureStatus;
use umbra_gateway::capture::in_force::{Over, Settings as Kept};
use umbra_gateway::capture::{Alone, Exchange, wanted};
use umbra_gateway::tap::counts::Counts;
use umbra_gateway::tap::filter::PORTS_MAX;
use umbra_gateway::tap::flows::Settings;
use umbra_gateway::tap::live::{Live, Options, TapError, Through};
use umbra_gateway::tap::mirred::MirredError;

use super::Done;
use super::follow::bar;
use crate::args::capture::Keeping;
use crate::args::tap::Tap;
use crate::error::{CliError, Finish};
use crate::interrupt;
use crate::screen::{capture as kept, tap as screen};
use crate::ui::Ui;

/// How long to wait for packets before the time and Ctrl-C are looked at.
const WAIT: Duration = Duration::from_millis(100);

/// Between two lines about how it goes.
const REDRAW: Duration = Duration::from_secs(1);

/// Taps an interface until the time is over, the file is full or somebody ends it.
pub(super) fn tap(ui: &Ui, mut asked: Tap) -> Done {
    super::serve::log_to_stderr();
    let until = asked.duration.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let (sender, interrupts) = channel();
    if !interrupt::watch(sender, ()) {
        return Err(CliError::new(Finish::Environment, "listen for Ctrl-C"));
    }
    let interface = asked.interface.clone();
    let to_file = to_file(&mut asked)?;
    let mut tap = Live::open(options(asked)?).map_err(failed)?;
    let file =
        to_file.map(|(kept, force, memory)| Alone::begin(kept, force, memory)).transpose()?;
    ui.story(&screen::begun(&interface, tap.device(), until.is_some()));
    let mut found = Found { shown: Shown::new(ui), file };
    let mut ended = Ok(());
    let over = || until.is_some_and(|until| Instant::now() >= until);
    while ended.is_ok()
        && !found.is_over()
        && !over()
        && interrupts.try_recv() == Err(TryRecvError::Empty)
    {
        ended = tap.step(WAIT, &mut |exchange| found.exchange(exchange));
        found.shown.flush();
        found.shown.progress(|| screen::progress(&tap.counts()));
    }
    let counts = tap.finish(&mut |exchange| found.exchange(exchange));
    found.shown.flush();
    found.shown.clear();
    let kept = found.file.map(Alone::finish);
    answer(ui, &counts.map_err(failed)?, kept.as_ref())?;
    ended.map_err(failed)?;
    kept.map_or(Ok(Finish::Pass), |kept| written(&kept))
}

/// What was found, and what became of it where it was to be kept.
fn answer(ui: &Ui, counts: &Counts, capture: Option<&CaptureStatus>) -> Result<(), CliError> {
    let text = match ui.json() {
        true => {
            let capture = capture.map(|capture| screen::json("capture", capture) + "\n");
            format!("{}\n{}", screen::json("counts", counts), capture.unwrap_or_default())
        }
        false => screen::summary(counts) + &capture.map(kept::stopped).unwrap_or_default(),
    };
    ui.answer(&text)
}

/// Whether the file holds what it is to hold.
fn written(capture: &CaptureStatus) -> Done {
    match &capture.over {
        Some(Over::Failed(why)) => {
            let message = format!("capture to {}: {why}", capture.file);
            Err(CliError::new(Finish::Environment, message))
        }
        _ => Ok(Finish::Pass),
    }
}

/// The file requests are to be kept in, if there is one: what of them, whether it replaces
/// another, and the memory what waits for it takes.
fn to_file(asked: &mut Tap) -> Result<Option<(Kept, bool, usize)>, CliError> {
    let keeping = std::mem::take(&mut asked.keeping);
    let Some(file) = asked.to_file.take() else {
        let nothing = keeping == Keeping::default();
        let usage = "keep requests so: nothing says in which file";
        let refused = || CliError::new(Finish::Usage, usage).with_hint("`--to-file FILE` does");
        return nothing.then_some(None).ok_or_else(refused);
    };
    let wanted = super::capture::all_to(&file, keeping)?;
    Ok(Some((wanted::settings("tap", &wanted)?, wanted.force, memory(asked.memory))))
}

fn memory(mib: u32) -> usize {
    (mib as usize) << 20
}

fn options(asked: Tap) -> Result<Options, CliError> {
    let usage = |text: String| CliError::new(Finish::Usage, text);
    if asked.ports.len() > PORTS_MAX {
        return Err(usage(format!("tap more than {PORTS_MAX} ports")));
    }
    let through = match asked.direct {
        true => Through::Direct,
        false => Through::Copies { device: asked.mirror_device },
    };
    let settings = Settings {
        memory_bytes_max: memory(asked.memory),
        ports: asked.ports,
        fraction: asked.percent.parse().map_err(|error| usage(format!("{error}")))?,
        body_bytes_max: asked.body_bytes as usize,
        ..Settings::default()
    };
    let ring_bytes = memory(asked.ring_memory);
    Ok(Options { interface: asked.interface, through, ring_bytes, settings })
}

fn failed(error: TapError) -> CliError {
    let finish = match &error {
        TapError::Mirred(MirredError::Name { .. } | MirredError::Device { .. }) => Finish::Usage,
        _ => Finish::Environment,
    };
    let direct = matches!(
        &error,
        TapError::Mirred(
            MirredError::OnlyIngress { .. }
                | MirredError::NotEthernet { .. }
                | MirredError::NoKind(_)
                | MirredError::NoClassifier { .. }
        )
    );
    let message = error.to_string();
    let failure = match std::error::Error::source(&error) {
        Some(cause) => CliError::because(finish, message, cause),
        None => CliError::new(finish, message),
    };
    if direct {
        return failure.with_hint("`--direct` reads the interface itself, without rules");
    }
    failure
}

/// Where exchanges go as they are found.
struct Found {
    shown: Shown,
    /// Instead of being shown, where what is not to be kept would be seen.
    file: Option<Alone>,
}

impl Found {
    fn exchange(&mut self, exchange: Exchange) {
        match &self.file {
            Some(file) => file.keep(exchange),
            None => self.shown.exchange(&exchange),
        }
    }

    /// Nobody takes them any more.
    fn is_over(&self) -> bool {
        self.shown.gone || self.file.as_ref().is_some_and(|file| file.over().is_some())
    }
}

/// Exchanges as they are found, and a line about how it goes where somebody watches.
struct Shown {
    out: BufWriter<Stdout>,
    /// Nobody reads it any more.
    gone: bool,
    json: bool,
    bar: Option<ProgressBar>,
    drawn: Instant,
}

impl Shown {
    fn new(ui: &Ui) -> Self {
        let out = BufWriter::new(io::stdout());
        Self { out, gone: false, json: ui.json(), bar: bar(ui), drawn: Instant::now() }
    }

    fn exchange(&mut self, exchange: &Exchange) {
        let line = match self.json {
            true => screen::json("exchange", &screen::Line::of(exchange)),
            false => screen::exchange(exchange),
        };
        self.gone |= writeln!(self.out, "{line}").is_err();
    }

    fn flush(&mut self) {
        if self.out.buffer().is_empty() {
            return;
        }
        let out = &mut self.out;
        let mut flush = || out.flush().is_err();
        // The line about how it goes stays below.
        let failed = match &self.bar {
            Some(bar) => bar.suspend(flush),
            None => flush(),
        };
        self.gone |= failed;
    }

    fn progress(&mut self, line: impl FnOnce() -> String) {
        if let Some(bar) = &self.bar
            && self.drawn.elapsed() >= REDRAW
        {
            self.drawn = Instant::now();
            bar.set_message(line());
        }
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
