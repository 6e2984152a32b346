//! `umbra replay`.

mod scenario;

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use umbra_gateway::replay::rewrite::{Rewrite, header};
use umbra_gateway::replay::{Plan, Progress, SPEEDS, run};
use umbra_suite::spec::Threshold;

use super::Done;
use super::capture::{open, tell};
use crate::args::replay::{Replay, Sessions};
use crate::error::{CliError, Finish};
use crate::interrupt;
use crate::screen::replay as screen;
use crate::ui::Ui;

/// How often it is told how far it is.
const TELL_TIME: Duration = Duration::from_secs(1);
/// A secret in a file is no longer.
const TOKEN_BYTES_MAX: usize = 64 << 10;

/// Sends a capture's requests; the verdict is the exit code.
pub(super) fn replay(ui: &Ui, asked: Replay) -> Done {
    if is_scenario(&asked) {
        return scenario::play(ui, &asked);
    }
    if asked.rate.is_some() {
        return Err(usage("replay at --rate: a capture has its own, and --speed changes it"));
    }
    let plan = plan(&asked)?;
    let mut source = open(&asked.file, asked.format.as_deref())?;
    let progress = Arc::new(Progress::default());
    watch(*ui, &progress);
    let report = run(&mut source, &plan, &progress).map_err(|error| {
        CliError::because(Finish::Environment, "replay it", &error)
            .with_hint("a higher limit of open files or fewer --in-flight may help")
    })?;
    tell(ui, &asked.file, &source.notes());
    ui.answer_with(&report, |report| screen::report(report, ui.paint()))?;
    Ok(report.verdict.into())
}

fn is_scenario(asked: &Replay) -> bool {
    let end = asked.file.extension().and_then(|end| end.to_str());
    asked.format.is_none() && matches!(end, Some("yaml" | "yml"))
}

/// Tells how far it is, until the program ends, and ends it early if that is wanted.
fn watch(ui: Ui, progress: &Arc<Progress>) {
    let (ask, asked) = std::sync::mpsc::channel();
    // Without it Ctrl-C ends the program, and there is no report.
    let _ = interrupt::watch(ask.clone(), ());
    let progress = Arc::clone(progress);
    std::thread::spawn(move || {
        // Keeps the channel open where nothing is watched.
        let _ask = ask;
        loop {
            match asked.recv_timeout(TELL_TIME) {
                Ok(()) => progress.cancel.store(true, Ordering::Relaxed),
                Err(_) if ui.is_watched() => ui.story(&screen::progress(&progress)),
                Err(_) => {}
            }
        }
    });
}

fn usage(message: impl Into<String>) -> CliError {
    CliError::new(Finish::Usage, message)
}

fn plan(asked: &Replay) -> Result<Plan, CliError> {
    if !SPEEDS.contains(&asked.speed) {
        return Err(usage(format!("replay at {} times: it is not from 0.1 to 100", asked.speed)));
    }
    Ok(Plan {
        to: resolved(&asked.to)?,
        speed: asked.speed,
        ordered: asked.sessions == Sessions::Ordered,
        rewrite: rewrite(asked)?,
        limit: asked.limit,
        duration: asked.duration.map(seconds).transpose()?,
        in_flight_max: asked.in_flight as usize,
        timeout: Duration::from_millis(asked.timeout_ms),
        thresholds: thresholds(asked)?,
    })
}

fn seconds(seconds: f64) -> Result<Duration, CliError> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| usage(format!("replay for {seconds} s: it is no duration")))
}

fn thresholds(asked: &Replay) -> Result<Vec<Threshold>, CliError> {
    let thresholds = asked.thresholds.iter().map(|text| {
        let read = text.parse();
        read.map_err(|error| CliError::because(Finish::Usage, format!("take `{text}`"), &error))
    });
    thresholds.collect()
}

fn rewrite(asked: &Replay) -> Result<Rewrite, CliError> {
    let methods = asked.methods.iter().map(|method| {
        let read = method.parse();
        read.map_err(|_| usage(format!("read {method:?} as a method")))
    });
    let host = asked.host.as_deref().map(|host| {
        let (_, host) = header(&format!("host:{host}")).map_err(usage)?;
        Ok::<_, CliError>(host)
    });
    let headers = asked.headers.iter().map(|text| header(text).map_err(usage));
    Ok(Rewrite {
        methods: methods.collect::<Result<_, _>>()?,
        allow_writes: asked.allow_writes,
        host: host.transpose()?,
        headers: headers.collect::<Result<_, _>>()?,
        tokens: asked.tokens.iter().map(|text| token(text)).collect::<Result<_, _>>()?,
    })
}

/// `FROM=TO`, or `FROM=@FILE`: what stands in a command is seen by everybody on the machine.
fn token(text: &str) -> Result<(String, String), CliError> {
    let (from, to) = text
        .split_once('=')
        .filter(|(from, _)| !from.is_empty())
        .ok_or_else(|| usage("rewrite a token: expected FROM=TO or FROM=@FILE"))?;
    let Some(file) = to.strip_prefix('@') else { return Ok((from.to_owned(), to.to_owned())) };
    let read = std::fs::read_to_string(file);
    let read = read.map_err(|error| {
        CliError::because(Finish::Environment, format!("read the token in {file}"), &error)
    })?;
    let line = read.lines().next().unwrap_or_default();
    if line.is_empty() || line.len() > TOKEN_BYTES_MAX {
        return Err(usage(format!("take a token from {file}: its first line holds none")));
    }
    Ok((from.to_owned(), line.to_owned()))
}

fn resolved(to: &str) -> Result<SocketAddr, CliError> {
    let to = to.strip_prefix("http://").unwrap_or(to).trim_end_matches('/');
    let found = to.to_socket_addrs().map_err(|error| {
        CliError::because(Finish::Usage, format!("find {to:?}"), &error)
            .with_hint("expected HOST:PORT")
    })?;
    found.into_iter().next().ok_or_else(|| usage(format!("find {to:?}: it has no address")))
}
