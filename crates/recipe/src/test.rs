//! Tests as a recipe spells them, checked; `crate::suite` turns them into what runs.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Serialize, Serializer};
use umbra_document::units::serialize;
use umbra_state::TestKind;
use umbra_suite::spec::Severity;

use crate::recipe::{CommandLine, Env};

/// One expectation about a shadow of the image.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Test {
    /// Its name, unique among the tests.
    pub name: String,
    /// What it is about.
    pub kind: TestKind,
    /// After which steps it is due.
    pub after: After,
    /// When an earlier verdict no longer stands; after every delta if `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<When>,
    /// How long one attempt may take.
    #[serde(serialize_with = "serialize::duration")]
    pub timeout: Duration,
    /// How many more attempts it gets.
    pub retries: u32,
    /// How long to wait between attempts; no time if `None`.
    #[serde(
        serialize_with = "serialize::duration_option",
        skip_serializing_if = "Option::is_none"
    )]
    pub retry_delay: Option<Duration>,
    /// Whether the recipe's services are up first.
    pub services: bool,
    /// Whether a failure is reported but does not halt the build.
    pub allow_failure: bool,
    /// How to look.
    #[serde(flatten)]
    pub check: Check,
}

/// After which steps a [`Test`] is due; serialised as a word or a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum After {
    /// After every step.
    Each,
    /// After these, in the order given.
    Steps(Vec<String>),
    /// After the last step.
    Final,
}

/// When an earlier verdict no longer stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct When {
    /// The delta changes a path that one of these patterns meets.
    pub changed: Vec<String>,
}

/// How a [`Test`] looks at a shadow.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Check {
    /// A request and the answer it must get.
    Http(Http),
    /// A goss file: its path below the recipe's directory.
    Goss(String),
    /// Requests of simulated users.
    Load(Load),
    /// A scan of what the delta adds.
    Security(Security),
    /// An XCCDF profile evaluated by OpenSCAP.
    OpenScap(OpenScap),
    /// An audit by lynis.
    Lynis(Lynis),
    /// A command in it. Its settings stand beside the test's own, so it has no key above them.
    #[serde(untagged)]
    Run(Run),
}

/// A command in the shadow and what it should do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Run {
    /// The command.
    pub run: CommandLine,
    /// What it prints.
    pub format: RunFormat,
    /// The exit code that is right.
    pub exit: u8,
    /// The file in the shadow that holds its JUnit report, if it is not standard output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<String>,
    /// What standard output must contain.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stdout: Vec<String>,
    /// What standard error must contain.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stderr: Vec<String>,
    /// Its variables, the recipe's own included.
    #[serde(skip_serializing_if = "Env::is_empty")]
    pub env: Env,
    /// Who runs it; root if `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Where it runs; `/` if `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
}

/// What a command prints on standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RunFormat {
    /// TAP if it looks like it, else nothing of meaning.
    Auto,
    /// Nothing of meaning: the exit code alone counts.
    Plain,
    /// TAP 13 or 14.
    Tap,
    /// JUnit XML.
    Junit,
}

/// Header values by name.
pub type Headers = BTreeMap<String, String>;

/// A request and the answer it must get.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Http {
    /// The address as seen from inside the shadow.
    pub url: String,
    /// The method.
    pub method: String,
    /// Headers to send.
    #[serde(skip_serializing_if = "Headers::is_empty")]
    pub headers: Headers,
    /// The body to send.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Whom to trust.
    #[serde(flatten)]
    pub trust: Trust,
    /// How many redirects to follow.
    pub redirects: u32,
    /// What the answer must be.
    pub expect: Expect,
}

/// Which server certificates are good enough.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Trust {
    /// All of them.
    pub insecure: bool,
    /// Those signed by a certificate in this file of the shadow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
}

/// What an answer must be. Texts between two slashes are regular expressions.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Expect {
    /// Good statuses; 200 to 299 if empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<u16>,
    /// Headers it has, by name: the exact value or an expression.
    #[serde(skip_serializing_if = "Headers::is_empty")]
    pub headers: Headers,
    /// What the body contains.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub body: Vec<String>,
    /// Values in a JSON body by path.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub json: BTreeMap<String, serde_json::Value>,
    /// How long it may take at most.
    #[serde(
        serialize_with = "serialize::duration_option",
        skip_serializing_if = "Option::is_none"
    )]
    pub latency: Option<Duration>,
}

/// Requests of simulated users at a given rate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Load {
    /// The address as seen from inside the shadow.
    pub url: String,
    /// Users arriving per second.
    pub rate: f64,
    /// For how long users arrive.
    #[serde(serialize_with = "serialize::duration")]
    pub duration: Duration,
    /// For how long users arrive beforehand without being counted; no time if `None`.
    #[serde(
        serialize_with = "serialize::duration_option",
        skip_serializing_if = "Option::is_none"
    )]
    pub warm_up: Option<Duration>,
    /// In which rhythm.
    pub arrival: Arrival,
    /// How many users are under way at most.
    pub in_flight: u32,
    /// How long a request may take before it counts as an error.
    #[serde(serialize_with = "serialize::duration")]
    pub request_timeout: Duration,
    /// Whom to trust.
    #[serde(flatten)]
    pub trust: Trust,
    /// What users do; one GET of the address if empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scenario: Vec<Journey>,
    /// What must hold.
    pub thresholds: Vec<String>,
}

/// The rhythm in which users arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Arrival {
    /// Evenly.
    Constant,
    /// By chance, as independent people do.
    Poisson,
}

/// What one sort of users does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Journey {
    /// Its name.
    pub name: String,
    /// Its share of all users.
    pub weight: u32,
    /// The requests in order.
    pub requests: Vec<Request>,
}

/// A request of a simulated user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Request {
    /// Path and query.
    pub path: String,
    /// The method.
    pub method: String,
    /// Headers to send.
    #[serde(skip_serializing_if = "Headers::is_empty")]
    pub headers: Headers,
    /// The body to send.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// How long the user thinks before asking; no time if `None`.
    #[serde(
        serialize_with = "serialize::duration_option",
        skip_serializing_if = "Option::is_none"
    )]
    pub think: Option<Duration>,
    /// Statuses that are no error; those below 400 if empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<u16>,
    /// What is taken from the answer for later requests.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extract: Vec<Extract>,
}

/// What is taken from an answer; later requests have it as `${name}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Extract {
    /// What later requests call it.
    pub name: String,
    /// Where it is.
    #[serde(flatten)]
    pub from: Place,
}

/// Where in an answer something is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// A path into a JSON body.
    Json(String),
    /// A header's value.
    Header(String),
    /// An expression for the body.
    Regex(String),
}

/// A scan of what a delta adds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Security {
    /// The least severity that fails.
    pub fail_on: Severity,
    /// Ports that may be listened on; ports are not looked at if `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ports: Option<Vec<u16>>,
    /// A certificate that ends within so many days is a finding.
    pub certificate_days: u32,
    /// Findings that are all right.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<Allow>,
}

/// Findings that are all right; what is not given matches all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Allow {
    /// Only findings of the rule with this id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Only on paths this pattern meets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Why.
    pub reason: String,
}

/// An XCCDF profile evaluated by OpenSCAP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OpenScap {
    /// The benchmark or data stream: on the building machine, or in the shadow with `inside`.
    pub datastream: String,
    /// The profile's id; the default profile if `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Whether the benchmark is a file of the shadow.
    pub inside: bool,
    /// The least severity that fails.
    pub fail_on: Severity,
}

/// An audit by lynis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lynis {
    /// The least hardening index, of 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hardening_index: Option<u8>,
    /// The least severity of a new finding that fails.
    pub fail_on: Severity,
    /// Tests of lynis whose findings do not count, by id.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skip: Vec<String>,
    /// The groups of lynis's tests to make; all if empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
}

impl Serialize for After {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Each => serializer.serialize_str("each"),
            Self::Final => serializer.serialize_str("final"),
            Self::Steps(names) => names.serialize(serializer),
        }
    }
}
