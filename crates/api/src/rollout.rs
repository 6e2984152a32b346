//! Rollouts: asking for one, following it, and telling it what to do.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use umbra_state::StateId;

/// What `POST /v1/rollouts` takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartRollout {
    /// What is rolled out: a service, which has a route of this name at a gateway.
    pub service: String,
    /// What becomes of it.
    pub candidate: Candidate,
    /// Absolute path of the file that says how, on the daemon's machine; the usual way if there
    /// is none.
    #[serde(default)]
    pub file: Option<PathBuf>,
    /// The gateway's socket; the one of the daemon's state directory if there is none.
    #[serde(default)]
    pub gateway: Option<PathBuf>,
}

/// What is to replace what is in production.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Candidate {
    /// An image (or a state) of which instances are run.
    Image(String),
    /// Instances that somebody else runs: `HOST:PORT`, or one behind `https://` or `h2c://`.
    Targets(Vec<String>),
}

/// Where a rollout is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutPhase {
    /// Instances are made, or a gate is asked: nobody gets to the candidate yet.
    Starting,
    /// A step goes on.
    Running,
    /// It waits for a person, a gate or requests; the weight stays as it is.
    Paused,
    /// Everything goes to the candidate; the previous instances are replaced one by one.
    Promoting,
    /// Everything goes to the baseline again; the candidate's instances are drained.
    RollingBack,
    /// The candidate is in production.
    Successful,
    /// The candidate was worse, or somebody ended it; the baseline is in production.
    Failed,
    /// Nobody can say; the baseline is in production.
    Inconclusive,
    /// Something that is needed does not work; the baseline is in production.
    Error,
}

impl RolloutPhase {
    /// Whether nothing more happens.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Successful | Self::Failed | Self::Inconclusive | Self::Error)
    }
}

/// What a person tells a rollout: `POST /v1/rollouts/{id}/tell`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// Go on with the next step, whatever this one waits for. Not past what was found worse.
    Promote,
    /// Skip every step that is left.
    PromoteFull,
    /// Stay where it is.
    Pause,
    /// Go on after a pause.
    Resume,
    /// Everything to the baseline.
    Abort,
    /// After it ended without success: the same again, as a new rollout.
    Retry,
    /// After it succeeded: the image from before, in the same steps, as a new rollout.
    Undo,
}

/// How a rollout stands: `GET /v1/rollouts/{id}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RolloutStatus {
    /// Its number.
    pub id: u64,
    /// The service.
    pub service: String,
    /// What is rolled out, in words: an image's name, or targets.
    pub candidate: String,
    /// Its state, if it is an image.
    pub state: Option<StateId>,
    /// What was in production before, in words.
    pub baseline: String,
    /// Where it is in its life.
    pub phase: RolloutPhase,
    /// Why it is there, in a sentence without a full stop.
    pub reason: String,
    /// All steps, in order.
    pub steps: Vec<StepStatus>,
    /// The candidate's part of requests, in percent.
    pub weight_percent: f64,
    /// The candidate's part of mirrored requests, in percent.
    pub mirror_percent: f64,
    /// Milliseconds since 1970 UTC.
    pub began_at_ms: i64,
    /// Likewise.
    pub ended_at_ms: Option<i64>,
    /// Baseline, then candidate.
    pub arms: [ArmStatus; 2],
    /// What the judge says; `None` before the first request was assigned.
    pub judged: Option<JudgedStatus>,
    /// Measurements beside the judge.
    pub analyses: Vec<AnalysisStatus>,
    /// Gates that hold it now, by name.
    pub held_by: Vec<String>,
    /// What the gateway kept of it, to be replayed.
    pub journal: Option<PathBuf>,
    /// How the candidate was taken away from everybody, if it was.
    #[serde(default)]
    pub rolled_back: Option<RolledBack>,
    /// Requests of both arms that the rollout sent itself, as there were too few.
    #[serde(default)]
    pub topped_up: u64,
}

/// A rollback.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RolledBack {
    /// When it was decided, in milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// From the decision until no request was assigned to the candidate any more.
    pub took_us: u64,
    /// The candidate's part of requests before, in percent.
    pub from_percent: f64,
    /// Whether the judge's evidence decided; somebody or something else did if not.
    pub judged: bool,
}

/// A step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepStatus {
    /// As people read it: `weight 5 %`, `mirror 100 %`, `pause 10 min`, `analysis success-rate`.
    pub words: String,
    /// Whether it lies behind, is the one, or comes.
    pub progress: StepProgress,
    /// When it began, in milliseconds since 1970 UTC.
    pub began_at_ms: Option<i64>,
}

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepProgress {
    /// It is over.
    Done,
    /// It goes on.
    Current,
    /// It is to come.
    Ahead,
    /// It never came, or was left out.
    Skipped,
}

/// One arm.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ArmStatus {
    /// Its instances.
    pub instances: Vec<InstanceStatus>,
    /// Requests that were assigned to it since the rollout began.
    pub requests: u64,
    /// Those that failed: no answer, one of 500 to 599, one that broke off, a bad gRPC status.
    pub errors: u64,
    /// Requests under way.
    pub in_flight: u64,
    /// Quantiles of the time until an answer begins.
    pub latency: Option<Quantiles>,
}

/// Quantiles, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantiles {
    /// The median.
    pub p50_us: u64,
    /// 90 % are not above it.
    pub p90_us: u64,
    /// 99 % are not.
    pub p99_us: u64,
    /// 99.9 % are not.
    pub p999_us: u64,
}

/// An instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// Its name, if we run it.
    pub name: Option<String>,
    /// Where it is.
    pub to: String,
    /// Where it is in its life.
    pub phase: InstancePhase,
}

/// Where an instance is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstancePhase {
    /// It starts, and is not healthy yet.
    Starting,
    /// Its checks are answered.
    Ready,
    /// It gets nothing new, and ends what it has.
    Draining,
    /// Its checks are not answered.
    Unwell,
    /// It is gone.
    Gone,
}

/// What the judge says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JudgedStatus {
    /// Natural logarithm of the e-value of "the candidate is worse".
    pub log_e: f64,
    /// The highest it ever was: what reached the limit once has reached it.
    pub log_e_peak: f64,
    /// Natural logarithm of the limit `1/alpha` at which it is rolled back.
    pub log_limit: f64,
    /// The same by metric, the strongest first.
    pub metrics: Vec<MetricStatus>,
    /// How many times as often the candidate fails, as seen, with its range that holds at all
    /// times at once.
    pub error_ratio: Option<Range>,
    /// By how much slower the candidate is at the median and at the 99th percentile: ratio, with
    /// its range.
    pub slower: Vec<(String, Range)>,
    /// By which metric the candidate was found worse, if it was: its evidence reached the limit,
    /// and what was seen is large enough to matter.
    #[serde(default)]
    pub worse_by: Option<String>,
    /// Whether it is proved that the candidate is not worse than is tolerated.
    pub proved: bool,
    /// About how many more requests of the candidate a decision needs at the rates seen.
    pub requests_needed: Option<u64>,
    /// Units that counted, of the baseline and of the candidate: sessions where the route is
    /// sticky, else requests.
    pub units: [u64; 2],
    /// Those of them that failed.
    #[serde(default)]
    pub errors: [u64; 2],
    /// Both by the weight that was in force when they were assigned, in order of time.
    #[serde(default)]
    pub stages: Vec<StageStatus>,
    /// What did not count, by cause.
    pub left_out: Vec<(String, u64)>,
}

/// What counted while one weight was in force.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StageStatus {
    /// The candidate's part of requests, in percent.
    pub weight_percent: f64,
    /// Units of the baseline and of the candidate.
    pub units: [u64; 2],
    /// Those that failed.
    pub errors: [u64; 2],
}

/// What the judge says of one metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricStatus {
    /// `errors`, `latency`, `differences` or `weight`.
    pub metric: String,
    /// Its part of the bet.
    pub share: f64,
    /// Natural logarithm of its e-value.
    pub log_e: f64,
    /// What it rests on, in words.
    pub evidence: String,
}

/// A number and where it is for certain.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Range {
    /// As seen; `None` where nothing was.
    pub seen: Option<f64>,
    /// Not below.
    pub least: f64,
    /// Not above; `None` where nothing says so.
    pub most: Option<f64>,
}

/// A measurement beside the judge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AnalysisStatus {
    /// Its name.
    pub name: String,
    /// How it stands: `running`, `successful`, `failed`, `inconclusive`, `error`.
    pub phase: String,
    /// The last value, in words.
    pub value: Option<String>,
    /// Measurements by what came of them.
    pub counts: AnalysisCounts,
    /// Why, of the last one.
    pub message: String,
}

/// Measurements by what came of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AnalysisCounts {
    /// Good ones.
    pub successful: u32,
    /// Bad ones.
    pub failed: u32,
    /// Neither.
    pub inconclusive: u32,
    /// Nobody could look.
    pub error: u32,
}

/// Something that happened, as `GET /v1/rollouts/{id}/events` tells it line by line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RolloutEvent {
    /// Its number within the rollout, from 1.
    pub seq: u64,
    /// When, in milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// What.
    pub what: Happened,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Happened {
    /// It is in another phase now.
    Phase {
        /// Which.
        phase: RolloutPhase,
        /// Why.
        reason: String,
    },
    /// A step began.
    Step {
        /// Its place, from 0.
        step: usize,
        /// As people read it.
        words: String,
    },
    /// The candidate's weight was changed.
    Weight {
        /// From, in percent.
        from_percent: f64,
        /// To, in percent.
        to_percent: f64,
    },
    /// An instance changed.
    Instance {
        /// `baseline`, `candidate` or `control`.
        arm: String,
        /// The instance.
        instance: InstanceStatus,
        /// Why, where that is not plain.
        why: Option<String>,
    },
    /// A measurement was made.
    Analysis {
        /// How it stands now.
        analysis: AnalysisStatus,
    },
    /// A gate or a webhook was asked.
    Hook {
        /// Its name.
        name: String,
        /// What came of it, in words.
        outcome: String,
    },
    /// The judge decided, or the screen is due: how everything stands.
    Standing {
        /// All of it.
        status: Box<RolloutStatus>,
    },
    /// Something that does not change the phase and that people should know.
    Warning {
        /// A sentence without a full stop.
        sentence: String,
    },
}

/// A service, as rollouts left it: `GET /v1/services`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceInfo {
    /// Its name.
    pub name: String,
    /// The socket of its gateway.
    pub gateway: PathBuf,
    /// The route there.
    pub route: String,
    /// The rollout that made it so.
    pub rollout: u64,
    /// Since when, in milliseconds since 1970 UTC.
    pub since_ms: i64,
    /// The rollout that goes on, if one does.
    pub goes_on: Option<u64>,
    /// What serves it.
    pub now: ServingInfo,
    /// What did before.
    pub before: ServingInfo,
}

/// What serves a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServingInfo {
    /// In words: an image's name, or targets.
    pub what: String,
    /// The state its instances show, if that is known.
    pub state: Option<StateId>,
    /// Where requests go.
    pub targets: Vec<String>,
    /// The instances among them that we run, by name.
    pub instances: Vec<String>,
}
