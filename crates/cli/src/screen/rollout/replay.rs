//! Whether a journal's decisions come out the same, and what they rest on.

use serde::Serialize;
use umbra_api::rollout::JudgedStatus;
use umbra_judge::outcome::Decision;
use umbra_judge::settings::Settings;

use super::{chart, explain, words};
use crate::screen::{safe, units};

/// Columns of the picture.
const WIDTH: usize = 80;

/// A journal that was judged again.
#[derive(Debug, Clone, Serialize)]
pub struct Shown {
    /// The file.
    pub journal: String,
    /// What was recorded, outcomes above all.
    pub records: u64,
    /// Decisions among that.
    pub decisions: u64,
    /// Decisions that come out differently.
    pub different: u64,
    /// The first of these.
    pub first_different: Option<Different>,
    /// Why reading ended before the file did.
    pub broken: Option<Broken>,
    /// What the judge was to keep.
    pub settings: Settings,
    /// How the judge stands at the end.
    pub judged: JudgedStatus,
    /// The natural logarithm of the e-value after so many records.
    pub way: Vec<(u64, f64)>,
}

/// A decision that comes out differently.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Different {
    /// Its number among the records, from 0.
    pub record: u64,
    /// As it was recorded.
    pub recorded: Decision,
    /// As it is now.
    pub again: Decision,
}

/// Bytes that are no whole batch, and all behind them.
#[derive(Debug, Clone, Serialize)]
pub struct Broken {
    /// Where they begin.
    pub at_byte: u64,
    /// How many there are.
    pub bytes: u64,
    /// What they are.
    pub what: String,
    /// Whether only the last batch is cut off, as a crash does it.
    pub by_a_crash: bool,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Every decision is the same to the last bit.
    Reproduced,
    /// At least one is not.
    Different,
    /// None was recorded.
    Nothing,
    /// A part could not be read, whatever is in it.
    Damaged,
}

impl Shown {
    /// What came of it.
    pub fn outcome(&self) -> Outcome {
        let damaged = self.broken.as_ref().is_some_and(|broken| !broken.by_a_crash);
        match (self.different, self.decisions) {
            (1.., _) => Outcome::Different,
            _ if damaged => Outcome::Damaged,
            (0, 0) => Outcome::Nothing,
            (0, _) => Outcome::Reproduced,
        }
    }
}

/// All of it.
pub fn text(shown: &Shown) -> String {
    let mut out = head(shown);
    let mut section = |title: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            out.extend([String::new(), title.to_owned()]);
            out.extend(lines.into_iter().map(|line| format!("  {line}").trim_end().to_owned()));
        }
    };
    let judged = &shown.judged;
    section(&explain::counted_title(judged), explain::stages(judged));
    section("ratios, candidate to baseline", explain::ratios(judged));
    section("evidence", explain::metrics(judged));
    section("left out", explain::left_out(judged));
    section("the way of the e-value", chart::lines(&shown.way, judged.log_limit, WIDTH));
    out.push(String::new());
    out.join("\n")
}

fn head(shown: &Shown) -> Vec<String> {
    let count = |count: u64, what: &str| {
        format!("{} {what}{}", units::count(count), if count == 1 { "" } else { "s" })
    };
    let decisions = count(shown.decisions, "decision");
    let verdict = match shown.outcome() {
        Outcome::Reproduced => format!("REPRODUCED: {decisions}, the same to the last bit"),
        Outcome::Different => {
            format!("DIFFERENT: {} of {decisions}", units::count(shown.different))
        }
        Outcome::Nothing => "NOTHING DECIDED: no decision is recorded".to_owned(),
        Outcome::Damaged => format!("DAMAGED: {decisions} came out the same before that"),
    };
    let journal = safe(&shown.journal);
    let mut out = vec![verdict, format!("  {} in {journal}", count(shown.records, "record"))];
    if let Some(broken) = &shown.broken {
        let (at, bytes) = (units::count(broken.at_byte), count(broken.bytes, "byte"));
        out.push(format!("  behind byte {at} is {}: {bytes} not looked at", safe(&broken.what)));
    }
    if let Some(first) = &shown.first_different {
        let record = units::count(first.record);
        let (recorded, again) = (decision(&first.recorded), decision(&first.again));
        out.push(format!("  record {record}: recorded {recorded}"));
        out.push(format!("  {:>1$}  again    {again}", "", record.len() + 6));
    }
    out
}

/// With as many digits as tell any two numbers apart.
fn decision(decision: &Decision) -> String {
    format!(
        "e-value {}, its logarithm {}{}{}",
        words::e_value(decision.log_e),
        decision.log_e,
        if decision.worse { ", worse" } else { ", not worse" },
        if decision.proved { ", proved" } else { "" }
    )
}
