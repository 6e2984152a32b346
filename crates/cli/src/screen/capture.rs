//! Captures: those in force, and what is in files.

use std::path::Path;

use serde::Serialize;
use umbra_gateway::capture::Exchange;
use umbra_gateway::capture::captures::CaptureStatus;
use umbra_gateway::capture::in_force::Over;
use umbra_gateway::capture::source::Notes;
use umbra_gateway::replay::learn::Learned;
use umbra_gateway::replay::learn::request::Unfit;
use umbra_state::escape::line;

use super::summary::{right, table, trimmed};
use super::{safe, units};

/// As much of a path as is shown.
const PATH_CHARS_MAX: usize = 100;

/// What is said of a capture that was begun.
pub fn started(capture: &CaptureStatus) -> String {
    format!(
        "{} % of the requests are captured to {} as {}\n  umbra capture status\n",
        capture.percent,
        safe(&capture.file),
        safe(&capture.name)
    )
}

/// What is said of a capture that was ended.
pub fn stopped(capture: &CaptureStatus) -> String {
    let counted = &capture.counted;
    let mut text = format!(
        "{} of {} exchanges in {}, {}\n",
        counted.captured,
        counted.eligible,
        safe(&capture.file),
        units::bytes(capture.written)
    );
    text.push_str(&causes(capture));
    text
}

/// How all stand.
pub fn status(all: &[CaptureStatus]) -> String {
    if all.is_empty() {
        return "no captures; `umbra capture start FILE` begins\n".to_owned();
    }
    let mut table = table(&[
        "capture",
        "file",
        "percent",
        "seen",
        "eligible",
        "captured",
        "dropped",
        "under way",
        "bytes",
        "",
    ]);
    for one in all {
        let counted = &one.counted;
        let mut row =
            vec![safe(&one.name).into(), safe(&one.file).into(), right(one.percent.to_string())];
        let numbers =
            [one.seen, counted.eligible, counted.captured, counted.dropped(), one.under_way];
        row.extend(numbers.map(|number| right(number.to_string())));
        row.push(right(units::bytes(one.written)));
        row.push(over(one.over.as_ref()).into());
        table.add_row(row);
    }
    let mut text = trimmed(&table);
    all.iter().for_each(|one| text.push_str(&causes(one)));
    text
}

fn over(over: Option<&Over>) -> String {
    match over {
        None => "in force".to_owned(),
        Some(Over::Stopped) => "stopped".to_owned(),
        Some(Over::Duration) => "over: its time".to_owned(),
        Some(Over::Bytes) => "over: its length".to_owned(),
        Some(Over::Failed(why)) => format!("failed to {}", safe(why)),
    }
}

/// Why not everything was captured whole.
fn causes(capture: &CaptureStatus) -> String {
    let counted = &capture.counted;
    let causes = [
        (counted.dropped_memory, "dropped: no memory for copies"),
        (counted.dropped_queue, "dropped: the file's disk is too slow"),
        (counted.dropped_too_long, "dropped: too long for a record"),
        (counted.dropped_file, "dropped: the file cannot be written"),
        (counted.dropped_stopped, "dropped: under way when it ended"),
        (counted.cut, "captured with a body that is cut"),
        (counted.bodies_dropped, "bodies dropped: not JSON, so they cannot be redacted"),
    ];
    let told = causes.iter().filter(|(count, _)| *count > 0);
    told.map(|(count, why)| format!("  {}: {count} {why}\n", safe(&capture.name))).collect()
}

/// What is in a file.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Shown {
    /// The format.
    pub format: String,
    /// How many exchanges there are.
    pub exchanges: u64,
    /// How many of them have an answer.
    pub answered: u64,
    /// The first ones.
    pub first: Vec<Line>,
    /// Where the file breaks off, if it does.
    pub cut: Option<u64>,
    /// What was not taken, by cause.
    pub refused: std::collections::BTreeMap<String, u64>,
}

/// One exchange.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    /// In microseconds since 1970.
    pub began_us: u64,
    /// Whose it is, in hexadecimal digits.
    pub session: String,
    /// What was asked.
    pub method: String,
    /// What for.
    pub target: String,
    /// Bytes of the request's body.
    pub body_bytes: u64,
    /// The answer's status.
    pub status: Option<u16>,
    /// When it came.
    pub after_us: Option<u64>,
    /// Bytes of its body.
    pub answer_bytes: Option<u64>,
}

impl Shown {
    /// One more.
    pub fn add(&mut self, exchange: &Exchange, limit: u64) {
        self.exchanges += 1;
        self.answered += u64::from(exchange.answer.is_some());
        if self.exchanges > limit {
            return;
        }
        let answer = exchange.answer.as_ref();
        self.first.push(Line {
            began_us: exchange.began_us,
            session: format!("{:016x}", exchange.session),
            method: exchange.request.method.clone(),
            target: exchange.request.target.clone(),
            body_bytes: exchange.request.body.bytes.len() as u64,
            status: answer.map(|answer| answer.status),
            after_us: answer.map(|answer| answer.after_us),
            answer_bytes: answer.map(|answer| answer.body.bytes.len() as u64),
        });
    }

    /// What is known once all are read.
    pub fn end(&mut self, notes: &Notes) {
        self.cut = notes.cut;
        self.refused.clone_from(&notes.refused);
    }
}

/// As lines.
pub fn shown(shown: &Shown) -> String {
    let mut text = String::new();
    let began = shown.first.first().map_or(0, |line| line.began_us);
    for one in &shown.first {
        let answer = match (one.status, one.after_us) {
            (Some(status), Some(after)) => format!("{status} in {}", units::micros(after)),
            _ => "no answer".to_owned(),
        };
        let at = one.began_us as i128 - i128::from(began);
        text.push_str(&format!(
            "{:>+12.6} s  {}  {} {}  {answer}\n",
            at as f64 / 1e6,
            &one.session[..8],
            line(one.method.as_bytes(), 20),
            line(one.target.as_bytes(), PATH_CHARS_MAX),
        ));
    }
    let more = shown.exchanges - shown.first.len() as u64;
    if more > 0 {
        text.push_str(&format!("and {more} more (--limit)\n"));
    }
    text.push_str(&format!(
        "{} exchanges, {} with an answer ({})\n",
        shown.exchanges, shown.answered, shown.format
    ));
    text
}

/// What a file does not hold.
pub fn notes(file: &Path, notes: &Notes) -> Vec<String> {
    let name = safe(&file.display().to_string());
    let cut = notes.cut.map(|at| {
        format!("{name} is cut: it breaks off behind byte {at}, and what is before it is good")
    });
    let tally = notes.tally.filter(|tally| tally.dropped > 0).map(|tally| {
        format!("{} of {} eligible exchanges are not in {name}", tally.dropped, tally.eligible)
    });
    let refused = notes
        .refused
        .iter()
        .map(|(cause, count)| format!("{count} in {name} not taken: {}", safe(cause)));
    cut.into_iter().chain(tally).chain(refused).collect()
}

/// What was learned.
pub fn learned(learned: &Learned, file: &Path) -> String {
    let name = safe(&file.display().to_string());
    let mut text = format!(
        "{} journeys of {} of {} sessions in {name}\n",
        learned.journeys.len(),
        learned.used,
        learned.sessions
    );
    for journey in learned.journeys.iter().take(10) {
        let taken: usize = journey.requests.iter().map(|request| request.extract.len()).sum();
        text.push_str(&format!(
            "  {:>6} x {}: {} requests, {taken} values taken from answers\n",
            journey.weight,
            safe(&journey.name),
            journey.requests.len()
        ));
    }
    let unfit = learned.unfit.iter().map(|(why, count)| {
        let what = match why {
            Unfit::Method => "a method that scenarios do not have",
            Unfit::Path => "a path that is too long or no text",
            Unfit::Body => "a body that is cut, too long or no text",
        };
        (*count, format!("left out: {what}"))
    });
    let counts = [
        (learned.rare, "left out: too few did the same".to_owned()),
        (learned.shortened, "shortened to 100 requests".to_owned()),
    ];
    for (count, what) in counts.into_iter().chain(unfit).filter(|(count, _)| *count > 0) {
        text.push_str(&format!("  {count} sessions {what}\n"));
    }
    if learned.part_only {
        text.push_str("  the capture is longer than what was looked at\n");
    }
    text.push_str(&format!(
        "  umbra replay {name} --to HOST:PORT --rate {:.2} --duration 60\n",
        learned.per_second
    ));
    text
}
