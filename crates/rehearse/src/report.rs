//! What a rehearsal found, as a value.

use std::fmt;

use serde::{Deserialize, Serialize};
use umbra_api::blob::Blob;
use umbra_drift::config::Attribute;
use umbra_drift::discrepancy::KeyChange;
use umbra_drift::render::is_secret_name;
use umbra_state::escape::escape;
use umbra_state::{Evidence, Verdict};
use umbra_suite::report::sentence;

use crate::what::{Combination, Kind};

/// What a rehearsal found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What was rehearsed.
    pub what: Kind,
    /// How real the machine was that it was tried on.
    pub level: Level,
    /// What a more real one would add, as a sentence; `None` if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub higher: Option<String>,
    /// The worst of all combinations; `Inconclusive` where they say nothing.
    pub verdict: Verdict,
    /// What it comes to.
    pub risk: Risk,
    /// Why it is `Inconclusive`, as a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What was tried, the baseline first.
    pub runs: Vec<Run>,
    /// What fails with them, and because of what.
    pub failures: Vec<Failure>,
    /// Changes that could not be made on the shadow.
    pub untried: Vec<Untried>,
    /// What else could not be looked at, as sentences.
    pub unseen: Vec<String>,
    /// All of it, in microseconds.
    pub took_us: u64,
}

/// How real the machine is that something is tried on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Only the files' own validators were asked.
    Validators,
    /// The machine's files and services, isolated on this machine's kernel.
    Sandbox,
    /// A machine with a kernel of its own.
    Machine,
}

/// What a rehearsal comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// Nothing that was tried breaks.
    NoneFound,
    /// Nobody can say.
    Unknown,
    /// Something breaks.
    Breaks,
}

/// One combination of edits that was tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Which.
    pub combination: Combination,
    /// What it says.
    pub verdict: Verdict,
    /// What was looked at, in order.
    pub seen: Vec<Seen>,
    /// Making the views in which that was done, in microseconds.
    pub setup_us: u64,
    /// All of it, in microseconds.
    pub took_us: u64,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// Its name: a test's, or what was run.
    pub name: String,
    /// Of which sort it is.
    pub part: Part,
    /// What it says.
    pub verdict: Verdict,
    /// Whether that counts: false for a test that may fail, and for what does not pass on the
    /// baseline either.
    pub counts: bool,
    /// What was seen.
    pub evidence: Vec<Evidence>,
    /// Why nobody could look, as a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The end of what was printed, escaped.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub output: String,
    /// How long it took, in microseconds.
    pub took_us: u64,
}

/// Of which sort something that was looked at is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// A program that accepts a good file.
    Validator,
    /// The machine's own system and its services, until they are ready.
    Startup,
    /// The units of the machine's own system.
    Units,
    /// A test of the suite.
    Test,
}

/// What fails with a combination, and because of what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// Which combination.
    pub combination: Combination,
    /// What fails, by its name.
    pub check: String,
    /// Of which sort that is.
    pub part: Part,
    /// What was seen then.
    pub evidence: Vec<Evidence>,
    /// The smallest part of the changes with which it still fails; empty where none was found.
    pub changes: Vec<Changed>,
    /// Of how many changed paths.
    pub of: u64,
    /// Whether it passes as soon as any of those is left out.
    pub minimal: bool,
    /// Why no smallest part was found, as a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// How many fresh views that took.
    pub probes: u64,
    /// How long it took, in microseconds.
    pub took_us: u64,
}

/// What of a path makes something fail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// The path.
    pub path: Blob,
    /// The keys of its text; their `shadow` is the value before, `primary` the one after.
    pub keys: Vec<KeyChange>,
    /// The attributes. Where neither these nor keys are listed, it is the path as a whole.
    pub attributes: Vec<Attribute>,
}

/// A change that could not be made on the shadow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Untried {
    /// Of what.
    pub path: Blob,
    /// Why not, as a sentence.
    pub why: String,
}

/// How much of what was not seen is told.
const UNSEEN_SHOWN: usize = 3;

/// How many paths or keys a line names.
const NAMED_MAX: usize = 3;

impl Report {
    /// The run of a combination, if it was tried.
    pub fn run(&self, combination: Combination) -> Option<&Run> {
        self.runs.iter().find(|run| run.combination == combination)
    }

    /// Lines that say what matters, the verdict first. Names from outside are escaped.
    pub fn summary(&self) -> Vec<String> {
        let mut lines = vec![self.headline()];
        for failure in &self.failures {
            lines.push(failure.headline());
            lines.extend(failure.evidence.first().map(|seen| format!("seen: {}", sentence(seen))));
            lines.extend(failure.because());
        }
        if self.verdict != Verdict::Pass {
            lines.extend(self.why.clone());
        }
        for untried in &self.untried {
            let path = escape(&untried.path.0).to_string();
            lines.push(format!("not tried: {path}: {}", untried.why));
        }
        let shown = self.unseen.iter().take(UNSEEN_SHOWN);
        lines.extend(shown.map(|what| format!("not seen: {what}")));
        let more = self.unseen.len().saturating_sub(UNSEEN_SHOWN);
        if more > 0 {
            lines.push(format!("not seen: {more} more; --json lists them"));
        }
        lines.push(format!("tried on {}", self.level));
        lines.extend(self.higher.clone());
        lines
    }

    /// Says that the machine's own system did not run, so that nobody saw it start.
    pub(crate) fn unrebooted(&mut self) {
        self.doubt("the machine's own system was not run: only its services were started");
    }

    /// Some changes were not even handed to the shadow.
    pub fn leave_out(&mut self, untried: Vec<Untried>) {
        match untried.len() {
            0 => return,
            1 => self.doubt("1 more change could not be tried"),
            count => self.doubt(&format!("{count} more changes could not be tried")),
        }
        self.untried.extend(untried);
    }

    /// There is a reason, as a sentence, for which what was seen is not enough for a pass.
    pub fn doubt(&mut self, why: &str) {
        self.why = Some(match self.why.take() {
            Some(before) => format!("{before}; {why}"),
            None => why.to_owned(),
        });
        self.verdict = self.verdict.max(Verdict::Inconclusive);
        self.risk = Risk::of(self.verdict);
    }

    fn headline(&self) -> String {
        let noun = self.what.noun();
        match self.risk {
            Risk::NoneFound => format!("{}: {noun} breaks nothing that was tried", self.verdict),
            Risk::Unknown => format!("{}: nobody knows what {noun} breaks", self.verdict),
            Risk::Breaks => {
                let breaks = self.failures.iter().map(|failure| escape(failure.check.as_bytes()));
                let mut names: Vec<String> = breaks.map(|name| name.to_string()).collect();
                names.dedup();
                format!("{}: {noun} breaks {}", self.verdict, names.join(", "))
            }
        }
    }
}

impl Failure {
    fn headline(&self) -> String {
        let check = escape(self.check.as_bytes()).to_string();
        format!("{check} fails {}", self.combination.words())
    }

    fn because(&self) -> Option<String> {
        if let Some(why) = &self.why {
            return Some(why.clone());
        }
        let mut named: Vec<String> = self.changes.iter().map(Changed::words).collect();
        let more = named.len().saturating_sub(NAMED_MAX);
        named.truncate(NAMED_MAX);
        if more > 0 {
            named.push(format!("{more} more"));
        }
        let because = if self.minimal { "because of" } else { "because of some of" };
        Some(format!("{because} {} (of {} changed paths)", named.join(", "), self.of))
    }
}

impl Changed {
    /// The path with what of it counts.
    fn words(&self) -> String {
        let path = escape(&self.path.0).to_string();
        let keys = self.keys.iter().map(|key| {
            let is_secret = is_secret_name(&key.key);
            let value = |value: &Option<Blob>| match value {
                Some(_) if is_secret => "(hidden)".to_owned(),
                Some(value) => escape(&value.0).to_string(),
                None => "nothing".to_owned(),
            };
            let (from, to) = (value(&key.shadow), value(&key.primary));
            format!("{} from {from} to {to}", escape(key.key.as_bytes()))
        });
        let attributes = self.attributes.iter().map(ToString::to_string);
        let mut parts: Vec<String> = keys.chain(attributes).collect();
        let more = parts.len().saturating_sub(NAMED_MAX);
        parts.truncate(NAMED_MAX);
        if more > 0 {
            parts.push(format!("{more} more"));
        }
        if parts.is_empty() { path } else { format!("{path}: {}", parts.join(", ")) }
    }
}

impl Level {
    /// Its word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Validators => "validators",
            Self::Sandbox => "sandbox",
            Self::Machine => "machine",
        }
    }

    /// What the next one would add to what was rehearsed.
    pub(crate) fn higher(self, what: Kind) -> Option<String> {
        let adds = match (self, what) {
            (Self::Machine, _) => return None,
            (Self::Validators, _) => {
                "services and tests on the shadow would show what a validator cannot"
            }
            (Self::Sandbox, Kind::Reboot) => {
                "a virtual machine would add a kernel and its drivers, mounts and the network's \
                 own start: --provider qemu"
            }
            (Self::Sandbox, _) => {
                "a virtual machine would add kernel settings, mounts and drivers: --provider qemu"
            }
        };
        Some(adds.to_owned())
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Validators => "the files' validators only",
            Self::Sandbox => "a sandbox, without a kernel of its own",
            Self::Machine => "a machine with a kernel of its own",
        })
    }
}

impl Risk {
    pub(crate) fn of(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Pass => Self::NoneFound,
            Verdict::Inconclusive => Self::Unknown,
            Verdict::Fail => Self::Breaks,
        }
    }
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::NoneFound => "none found",
            Self::Unknown => "unknown",
            Self::Breaks => "breaks",
        })
    }
}
