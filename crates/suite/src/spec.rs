//! Checked specifications of tests: plain values the recipe parser makes.
//!
//! Nothing here can be malformed any more: globs, patterns and thresholds are parsed, and
//! every number has its range. Defaults are the ones a recipe that says nothing gets.

use std::time::Duration;

use umbra_state::TestKind;

use crate::pattern::Globs;

pub use crate::check::goss::GossFile;
pub use crate::check::http::{
    Endpoint, HttpCheck, HttpExpect, HttpRequest, JsonExpect, JsonPath, Scheme, Tls,
};
pub use crate::check::load::{Arrival, Extract, Journey, LoadCheck, LoadStep, Place, Threshold};
pub use crate::check::lynis::LynisCheck;
pub use crate::check::openscap::OpenScapCheck;
pub use crate::check::run::{RunCheck, RunFormat};
pub use crate::check::security::{Allow, SecurityCheck, Severity};

/// One expectation about a shadow.
#[derive(Debug, Clone)]
pub struct Test {
    /// Unique within a recipe.
    pub name: String,
    /// What it is about.
    pub kind: TestKind,
    /// How to look.
    pub check: Check,
    /// After which deltas it is due.
    pub after: After,
    /// If given, a delta that meets none of these leaves the earlier verdict standing.
    pub when_changed: Option<Globs>,
    /// How many more attempts a verdict other than `Pass` gets.
    pub retries: u32,
    /// How long to wait between attempts.
    pub retry_delay: Duration,
    /// How long one attempt may take; longer is a `Fail`.
    pub timeout: Duration,
    /// Whether the recipe's services must be up before it starts.
    pub services: bool,
    /// Whether a `Fail` is reported but does not halt the build.
    pub allow_failure: bool,
}

/// When a test that says nothing is killed.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);

impl Test {
    /// A test with every default: after each delta, once, 60 s, with services.
    pub fn new(name: impl Into<String>, kind: TestKind, check: Check) -> Self {
        Self {
            name: name.into(),
            kind,
            check,
            after: After::Each,
            when_changed: None,
            retries: 0,
            retry_delay: Duration::ZERO,
            timeout: TIMEOUT_DEFAULT,
            services: true,
            allow_failure: false,
        }
    }
}

/// After which deltas a test is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum After {
    /// After every step.
    Each,
    /// After these steps.
    Steps(Vec<String>),
    /// After the last step.
    Final,
}

/// How to look.
#[derive(Debug, Clone)]
pub enum Check {
    /// A command inside the shadow.
    Run(RunCheck),
    /// A request to it.
    Http(HttpCheck),
    /// A goss file.
    Goss(GossFile),
    /// Many requests at a given rate.
    Load(LoadCheck),
    /// The built-in scan of what a delta adds.
    Security(SecurityCheck),
    /// An XCCDF profile evaluated by OpenSCAP.
    OpenScap(OpenScapCheck),
    /// A lynis audit.
    Lynis(LynisCheck),
}

impl Check {
    /// Whether what it finds is about the whole machine, so that only another such look, at an
    /// earlier state, can tell what is new.
    pub fn needs_baseline(&self) -> bool {
        matches!(self, Self::OpenScap(_) | Self::Lynis(_))
    }

    /// Whether what it reports are findings, each new or known.
    pub fn has_findings(&self) -> bool {
        self.needs_baseline() || matches!(self, Self::Security(_))
    }

    /// The word a recipe uses for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Run(_) => "run",
            Self::Http(_) => "http",
            Self::Goss(_) => "goss",
            Self::Load(_) => "load",
            Self::Security(_) => "security",
            Self::OpenScap(_) => "openscap",
            Self::Lynis(_) => "lynis",
        }
    }
}
