//! `umbra capture`.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;

use umbra_api::client::{Client, percent};
use umbra_gateway::capture::captures::CaptureStatus;
use umbra_gateway::capture::file::Tally;
use umbra_gateway::capture::source::{Notes, new_file};
use umbra_gateway::capture::wanted::StartCapture;
use umbra_gateway::capture::{Format, ReadError, Sink, Source, WriteError};
use umbra_gateway::replay::learn::write;

use super::gateway::{reached, socket};
use super::{Done, absolute};
use crate::args::capture::{Capture, Keeping, Start};
use crate::args::gateway::Control;
use crate::error::{CliError, Finish};
use crate::screen::capture as screen;
use crate::ui::Ui;

/// Asks and tells a gateway, and reads and writes files.
pub(super) fn capture(ui: &Ui, state_dir: &Path, command: Capture) -> Done {
    let client = |control: Control| Client::new(socket(state_dir, control));
    let target = |name: &str| format!("/v1/captures/{}", percent(name));
    match command {
        Capture::Start(start) => {
            let target = target(&start.name);
            let (control, wanted) = wanted(start)?;
            let status: CaptureStatus = client(control).post(&target, &wanted).map_err(reached)?;
            ui.answer_with(&status, screen::started)?;
        }
        Capture::Stop { name, control } => {
            let status: CaptureStatus = client(control).remove(target(&name)).map_err(reached)?;
            ui.answer_with(&status, screen::stopped)?;
        }
        Capture::Status { control } => {
            let all: Vec<CaptureStatus> = client(control).get("/v1/captures").map_err(reached)?;
            ui.answer_with(&all, |all| screen::status(all))?;
        }
        Capture::Show { file, format, limit } => show(ui, &file, format.as_deref(), limit)?,
        Capture::Learn { file, output, format, force } => {
            learn(ui, &file, &output, format.as_deref(), force)?;
        }
        Capture::Convert { from, to, format, to_format, pack, force } => {
            let source = open(&from, format.as_deref())?;
            let format = format_of(to_format.as_deref())?.unwrap_or_else(|| Format::of_name(&to));
            convert(ui, source, &from, &to, (format, pack, force))?;
        }
    }
    Ok(Finish::Pass)
}

fn wanted(start: Start) -> Result<(Control, StartCapture), CliError> {
    let wanted = StartCapture {
        percent: start.percent,
        methods: start.methods,
        path_prefix: start.path,
        duration_ms: start.duration.map(|seconds| seconds * 1000),
        body_bytes_max: start.body_bytes,
        session: Some(start.session),
        ..all_to(&start.file, start.keeping)?
    };
    Ok((start.control, wanted))
}

/// Every request in a file, so.
pub(super) fn all_to(file: &Path, keeping: Keeping) -> Result<StartCapture, CliError> {
    Ok(StartCapture {
        file: absolute(file)?,
        force: keeping.force,
        percent: "100".to_owned(),
        bytes_max: keeping.bytes_max,
        answers: keeping.answers,
        pack: keeping.pack,
        redact_headers: keeping.redact_headers,
        redact_json: keeping.redact_json,
        redact_query: keeping.redact_query,
        ..StartCapture::default()
    })
}

fn format_of(text: Option<&str>) -> Result<Option<Format>, CliError> {
    let format = text.map(|text| text.parse::<Format>()).transpose();
    format.map_err(|error| CliError::new(Finish::Usage, error.to_string()))
}

/// A capture to read.
pub(super) fn open(file: &Path, format: Option<&str>) -> Result<Source<BufReader<File>>, CliError> {
    Source::open(file, format_of(format)?).map_err(|error| unread(file, &error))
}

/// What cannot be read is the environment's fault, or the file's.
pub(super) fn unread(file: &Path, error: &ReadError) -> CliError {
    let finish = match error {
        ReadError::Io(_) => Finish::Environment,
        _ => Finish::Usage,
    };
    CliError::because(finish, format!("read the capture {}", file.display()), error)
}

fn show(ui: &Ui, file: &Path, format: Option<&str>, limit: u64) -> Result<(), CliError> {
    let mut source = open(file, format)?;
    let mut shown = screen::Shown { format: source.format().to_string(), ..Default::default() };
    while let Some(exchange) = source.next_exchange().map_err(|error| unread(file, &error))? {
        shown.add(&exchange, limit);
    }
    let notes = source.notes();
    shown.end(&notes);
    tell(ui, file, &notes);
    ui.answer_with(&shown, screen::shown)
}

/// What the file does not hold.
pub(super) fn tell(ui: &Ui, file: &Path, notes: &Notes) {
    screen::notes(file, notes).iter().for_each(|line| ui.story(line));
}

/// What simulated users do, by what real ones did.
fn learn(
    ui: &Ui,
    file: &Path,
    output: &Path,
    format: Option<&str>,
    force: bool,
) -> Result<(), CliError> {
    let mut source = open(file, format)?;
    let learned = umbra_gateway::replay::learn::learn(&mut source);
    let learned = learned.map_err(|error| unread(file, &error))?;
    tell(ui, file, &source.notes());
    if learned.journeys.is_empty() {
        return Err(CliError::new(Finish::Usage, "learn: no session can be a journey"));
    }
    let text = write::yaml(&learned);
    // What is written is read again by recipes and by `umbra replay`.
    let name = output.display().to_string();
    umbra_recipe::scenario::parse(&name, &text).map_err(|problems| {
        CliError::new(Finish::Bug, format!("learn\n{}", problems.render(false)))
    })?;
    let written = make(output, force)?.write_all(text.as_bytes());
    written
        .map_err(|error| CliError::because(Finish::Environment, format!("write {name}"), &error))?;
    ui.answer_with(&learned, |learned| screen::learned(learned, output))
}

fn make(path: &Path, force: bool) -> Result<File, CliError> {
    new_file(path, force).map_err(|error| {
        let finish = match error.kind() {
            std::io::ErrorKind::AlreadyExists => Finish::Usage,
            _ => Finish::Environment,
        };
        let failure =
            CliError::because(finish, format!("make the file {}", path.display()), &error);
        match finish {
            Finish::Usage => failure.with_hint("--force replaces a file"),
            _ => failure,
        }
    })
}

fn convert(
    ui: &Ui,
    mut source: Source<BufReader<File>>,
    from: &Path,
    to: &Path,
    (format, pack, force): (Format, bool, bool),
) -> Result<(), CliError> {
    let file = make(to, force)?;
    let failed = |error: &WriteError| {
        CliError::because(Finish::Environment, format!("write {}", to.display()), error)
    };
    let mut sink = Sink::new(BufWriter::new(file), format, pack).map_err(|error| failed(&error))?;
    let (mut captured, mut unfit) = (0, std::collections::BTreeMap::<String, u64>::new());
    while let Some(exchange) = source.next_exchange().map_err(|error| unread(from, &error))? {
        match sink.put(&exchange) {
            Ok(()) => captured += 1,
            Err(error @ WriteError::Io(_)) => return Err(failed(&error)),
            Err(error) => *unfit.entry(error.to_string()).or_default() += 1,
        }
    }
    let notes = source.notes();
    tell(ui, from, &notes);
    for (why, count) in &unfit {
        ui.story(&format!("{count} not written: failed to {why}"));
    }
    let unfit: u64 = unfit.values().sum();
    let eligible = notes.tally.map_or(captured + unfit, |tally| tally.eligible.max(captured));
    sink.finish(Tally { eligible, captured, dropped: eligible - captured })
        .map_err(|error| failed(&error))?;
    ui.story(&format!("{captured} exchanges written as {format}"));
    Ok(())
}
