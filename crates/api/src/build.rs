//! Asking for a build, following it, and answering when it asks back.

use serde::{Deserialize, Serialize};
use umbra_state::diff::DeltaCounts;
use umbra_state::{Evidence, Exit, StateId, TestKind, Verdict};

/// What `POST /v1/builds` takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildRequest {
    /// Absolute path of the recipe on the daemon's machine.
    pub recipe: String,
    /// Values that override the recipe's `vars`.
    #[serde(default)]
    pub vars: Vec<(String, String)>,
    /// Stop well after this step, sealing nothing.
    #[serde(default)]
    pub until: Option<String>,
    /// Run every step, whatever the cache holds.
    #[serde(default)]
    pub no_cache: bool,
    /// What to do at a failed verdict; `None` takes the recipe's word.
    #[serde(default)]
    pub on_error: Option<OnError>,
}

/// What a failed verdict or step does to a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// Stop; keep the state before, the state after and the failed shadow.
    Halt,
    /// Freeze and ask whoever follows the build.
    Ask,
    /// Go on; the build's verdict is still a failure.
    Continue,
}

/// What a person may answer to [`Event::Asked`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// Halt, as `on_error: halt` would have.
    Halt,
    /// Go on as if the test had passed; the verdict stays.
    Continue,
    /// Run the failed step again from the state before it.
    Retry,
}

/// Where a build is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BuildPhase {
    /// Steps or tests are running.
    Running,
    /// Frozen at a failure, waiting for an [`Answer`].
    Asking,
    /// A failed verdict or step stopped it.
    Halted,
    /// Its last state is an image (or `until` was reached).
    Done,
    /// Somebody cancelled it.
    Cancelled,
    /// It could not go on: the environment failed, not the image.
    Broken,
}

impl BuildPhase {
    /// Whether nothing more will happen.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Running | Self::Asking)
    }
}

/// One build as lists and pages show it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BuildInfo {
    /// Its number, counted per daemon.
    pub id: u64,
    /// The image's name from the recipe.
    pub name: String,
    /// The recipe's path.
    pub recipe: String,
    /// Where it is.
    pub phase: BuildPhase,
    /// All verdicts combined so far.
    pub verdict: Verdict,
    /// The last state reached.
    pub state: Option<StateId>,
    /// Milliseconds since 1970 UTC.
    pub started_at_ms: i64,
    /// Likewise; `None` while it runs.
    pub ended_at_ms: Option<i64>,
    /// One line about why it ended, where that is no plain success.
    pub reason: Option<String>,
}

/// One line of `GET /v1/builds/{id}/events`: newline-delimited JSON, in order, without gaps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BuildEvent {
    /// 0, 1, 2, … within the build.
    pub seq: u64,
    /// Microseconds since the build began.
    pub at_us: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What can happen in a build. Steps and tests are named by their position and name in the
/// recipe; times are durations in microseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// The recipe was read and the build began.
    Started {
        /// The build's number.
        build: u64,
        /// The image's name.
        name: String,
        /// The steps' names, in order.
        steps: Vec<String>,
        /// The tests' names, in order.
        tests: Vec<String>,
    },
    /// The state that `from` names is there.
    BaseReady {
        /// The state.
        state: StateId,
        /// Where it came from, in words.
        source: String,
        /// It was in the store already.
        cached: bool,
        /// Names in it.
        entries: u64,
        /// How long it took.
        took_us: u64,
    },
    /// A shadow joined or left the build's pool.
    Pool {
        /// Names of the shadows in it now.
        shadows: Vec<String>,
        /// Why it changed.
        reason: String,
    },
    /// A step's state was taken from the cache.
    StepCached {
        /// Which step.
        step: usize,
        /// The state after it.
        state: StateId,
        /// Its delta.
        delta: DeltaCounts,
    },
    /// A step began to run.
    StepStarted {
        /// Which step.
        step: usize,
        /// Why the cache could not serve it.
        why: String,
        /// It runs while tests of an earlier step are not finished.
        speculative: bool,
    },
    /// A step printed something.
    StepOutput {
        /// Which step.
        step: usize,
        /// The text, outside bytes escaped, newlines kept.
        text: String,
    },
    /// A step ended.
    StepEnded {
        /// Which step.
        step: usize,
        /// How.
        exit: Exit,
        /// How long it ran.
        took_us: u64,
    },
    /// A step's delta is on a shadow.
    DeltaApplied {
        /// Which step.
        step: usize,
        /// Which shadow.
        shadow: String,
        /// From the step's end to the shadow having it.
        took_us: u64,
    },
    /// A step's result is in the store under its id.
    StepIngested {
        /// Which step.
        step: usize,
        /// The state after it.
        state: StateId,
        /// Its delta.
        delta: DeltaCounts,
        /// How long hashing and writing took, beside the tests.
        took_us: u64,
    },
    /// A test began on a shadow.
    TestStarted {
        /// After which step.
        step: usize,
        /// Which test.
        test: String,
        /// Its kind.
        kind: TestKind,
        /// On which shadow.
        shadow: String,
        /// From the step's end to the test's start, services included.
        since_step_us: u64,
    },
    /// A test was not run because its earlier verdict still holds.
    TestKept {
        /// After which step.
        step: usize,
        /// Which test.
        test: String,
        /// The verdict that holds.
        verdict: Verdict,
        /// Why nothing in this delta can change it.
        reason: String,
    },
    /// A test has a verdict.
    TestEnded {
        /// After which step.
        step: usize,
        /// What it found.
        result: TestResult,
    },
    /// The build froze at a failure and waits for an answer.
    Asked {
        /// What failed and what can be entered.
        failure: Failure,
    },
    /// Somebody answered.
    Answered {
        /// What.
        answer: Answer,
    },
    /// A failed verdict or step stopped the build.
    Halted {
        /// What failed and what can be entered.
        failure: Failure,
    },
    /// The last state is an image now.
    Sealed {
        /// The image's name.
        image: String,
        /// Its state.
        state: StateId,
    },
    /// An export was written.
    Exported {
        /// Its format.
        format: String,
        /// Where.
        path: String,
        /// Bytes written.
        bytes: u64,
        /// How long it took.
        took_us: u64,
    },
    /// Something a person should know that stops nothing.
    Warning {
        /// In words.
        message: String,
    },
    /// Nothing more will come.
    Ended {
        /// How it ended.
        phase: BuildPhase,
        /// All verdicts combined.
        verdict: Verdict,
        /// One line about why, where that is no plain success.
        reason: Option<String>,
        /// What was measured.
        figures: Figures,
    },
}

/// A failure and the three things to enter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// Which step.
    pub step: usize,
    /// The step's name.
    pub step_name: String,
    /// The failed test; `None` where the step itself failed.
    pub test: Option<TestResult>,
    /// The end of what the step printed, where the step itself failed.
    pub step_output: Option<String>,
    /// The state before the step.
    pub before: StateId,
    /// The state after it; of a failed step, what it left behind.
    pub after: StateId,
    /// The shadow on which the test failed, frozen as it was.
    pub shadow: Option<String>,
    /// Lines of the step's delta, at most [`Failure::DELTA_LINES_MAX`].
    pub delta: Vec<String>,
    /// Changed paths that are not among `delta`'s lines.
    pub delta_omitted: u64,
    /// Steps that had run or begun speculatively and were thrown away.
    pub discarded: Vec<String>,
    /// From the failing test's end to the build being frozen.
    pub frozen_after_us: u64,
}

impl Failure {
    /// How many lines of a delta travel with a failure.
    pub const DELTA_LINES_MAX: usize = 40;
}

/// What a test found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestResult {
    /// Its name in the recipe.
    pub name: String,
    /// Its kind.
    pub kind: TestKind,
    /// The verdict.
    pub verdict: Verdict,
    /// What it rests on.
    pub evidence: Vec<Evidence>,
    /// Why it could not look, where it could not: never a failure of the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// An excerpt of what it printed, escaped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// Which shadow it ran on.
    pub shadow: String,
    /// How often it was tried.
    pub attempts: u32,
    /// How long it took, all attempts together.
    pub took_us: u64,
    /// Numbers it measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Metric>,
    /// What a security test found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
}

/// A number a test measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Such as `p99`.
    pub name: String,
    /// How much.
    pub value: f64,
    /// Of what: `ms`, `1/s`, `%`.
    pub unit: String,
}

/// One finding of a security test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The rule's stable id, such as `setuid-file`.
    pub rule: String,
    /// `critical`, `high`, `medium` or `low`.
    pub severity: String,
    /// The path it is about, escaped, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Which line of it, from 1, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub advice: String,
    /// The same for the same finding in every state; empty from a daemon that does not tell.
    #[serde(default)]
    pub fingerprint: String,
    /// Whether it does not count: it was there before this delta, or is allowed.
    pub baseline: bool,
    /// Why the recipe allows it, where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed: Option<String>,
}

/// What a build measured about itself; absent where there was nothing to measure.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Figures {
    /// Steps that ran and steps that the cache served.
    pub steps_run: u64,
    /// See `steps_run`.
    pub steps_cached: u64,
    /// Tests that ran.
    pub tests_run: u64,
    /// Tests whose verdict was kept.
    pub tests_kept: u64,
    /// From a step's end to its delta being on the first shadow, each time.
    pub delta_applied_us: Vec<u64>,
    /// From a step's end to the first test beginning, each time a step had a test that waits
    /// neither for a service nor for the step to be captured.
    pub first_test_us: Vec<u64>,
    /// Ingestion beside the tests, each time.
    pub ingested_us: Vec<u64>,
    /// From a failing test's end to the build being frozen.
    pub frozen_after_us: Option<u64>,
    /// The whole build.
    pub total_us: u64,
}
