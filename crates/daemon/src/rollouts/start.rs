//! From what is asked for to what a rollout goes by, or why there is none.

use std::path::{Path, PathBuf};

use umbra_api::error::{ErrorCode, WireError};
use umbra_api::rollout::{Candidate, StartRollout};
use umbra_gateway::routes::setup::TARGETS_MAX;
use umbra_gateway::upstream::Target;
use umbra_rollout::analysis::measure::About;
use umbra_rollout::analysis::placeholder::Names;
use umbra_rollout::analysis::trial;
use umbra_rollout::fetch::Outside;
use umbra_rollout::spec::{self, Control, Hold, Spec, Step};
use umbra_state::{StateId, chain};

use super::gate::{Gate, GateError};
use super::plan::{self, Plan, Record, Serving};
use super::{Rollouts, shown};
use crate::clock::now_ms;
use crate::enter;

/// The gateway's socket in a daemon's directory.
const GATEWAY: &str = "gateway.sock";
const NAME_BYTES_MAX: usize = 64;

/// Everything that can be known before anything is done. Blocking.
///
/// # Errors
/// It would not work, and why.
pub(super) fn plan(
    rollouts: &Rollouts,
    id: u64,
    request: &StartRollout,
) -> Result<Plan, WireError> {
    let service = &request.service;
    check_name(service)?;
    check_alone(rollouts, service)?;
    let mut spec = document(service, request.file.as_deref())?;
    let gateway = request.gateway.clone().unwrap_or_else(|| rollouts.state_dir.join(GATEWAY));
    absolute(&gateway, "the gateway's socket")?;
    let candidate = candidate(rollouts, &request.candidate)?;
    if let Some(state) = candidate.state {
        // What could not be started is said now.
        let (name, port) = (format!("i-{id}"), spec.instances.port);
        let spec = enter::instance_spec(&rollouts.db, service.clone(), name, state, port);
        rollouts.runtime.block_on(spec)?;
    }
    let gate = Gate::new(&gateway, &spec.route, id);
    let targets = leads_to(&gate, &gateway, &spec.route)?;
    let mut remarks = Vec::new();
    let baseline = baseline(rollouts, service, &gateway, &spec.route, targets, &mut remarks)?;
    suit(&mut spec, &baseline, &mut remarks)?;
    check_metrics(&spec, &baseline, id)?;
    let dir = plan::dir(&rollouts.state_dir, id);
    Ok(Plan { spec, gateway, candidate, baseline, dir, remarks })
}

/// What is asked for to have this again; `None` of nothing.
pub(super) fn again(serving: &Serving) -> Option<Candidate> {
    match serving.state {
        Some(state) => Some(Candidate::Image(state.to_string())),
        None if serving.targets.is_empty() => None,
        None => {
            let targets = serving.targets.iter().map(|target| target.to.clone());
            Some(Candidate::Targets(targets.collect()))
        }
    }
}

fn check_name(service: &str) -> Result<(), WireError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let is_name = (1..=NAME_BYTES_MAX).contains(&service.len()) && service.chars().all(plain);
    // A number means a rollout.
    if is_name && service.parse::<u64>().is_err() {
        return Ok(());
    }
    let message = format!(
        "roll out {}: a service's name has up to {NAME_BYTES_MAX} letters, digits, - _ . and is \
         no number",
        shown(service)
    );
    Err(WireError::new(ErrorCode::BadRequest, message))
}

/// One that goes on without a desk stands in the way as well.
fn check_alone(rollouts: &Rollouts, service: &str) -> Result<(), WireError> {
    match rollouts.runtime.block_on(rollouts.db.last_rollout(service))? {
        Some(row) if row.goes_on => Err(super::goes_on(service, row.id)),
        _ => Ok(()),
    }
}

fn document(service: &str, file: Option<&Path>) -> Result<Spec, WireError> {
    let Some(file) = file else { return Ok(Spec::usual(service)) };
    absolute(file, "the file")?;
    let spec = spec::load(file).map_err(|problems| {
        let rendered = problems.render(false);
        let message = format!("accept {}\n{}", file.display(), rendered.trim_end());
        WireError::new(ErrorCode::BadConfig, message)
    })?;
    if spec.service != service {
        let message = format!(
            "accept {}: it is about service {}, not {service}",
            file.display(),
            shown(&spec.service)
        );
        return Err(WireError::new(ErrorCode::BadConfig, message));
    }
    Ok(spec)
}

fn absolute(path: &Path, what: &str) -> Result<(), WireError> {
    if path.is_absolute() {
        return Ok(());
    }
    let message = format!("find {what} {}: its path must be absolute", path.display());
    Err(WireError::new(ErrorCode::BadRequest, message))
}

fn candidate(rollouts: &Rollouts, asked: &Candidate) -> Result<Serving, WireError> {
    match asked {
        Candidate::Image(name) => {
            let (words, state) = rollouts.runtime.block_on(image(rollouts, name))?;
            Ok(Serving { words, state: Some(state), ..Serving::default() })
        }
        Candidate::Targets(targets) => {
            if targets.is_empty() || targets.len() > TARGETS_MAX {
                let message =
                    format!("roll out to {} targets: expected 1 to {TARGETS_MAX}", targets.len());
                return Err(WireError::new(ErrorCode::BadRequest, message));
            }
            // As the gateway writes them, with whose targets they are compared later.
            let targets = targets.iter().map(|target| {
                let target = target.parse::<Target>();
                let target = target.map(|target| target.to_string());
                target.map_err(|error| WireError::new(ErrorCode::BadRequest, chain(&error)))
            });
            Ok(Serving::of_targets(&targets.collect::<Result<Vec<_>, _>>()?))
        }
    }
}

/// An image with the build it is of, or a state.
async fn image(rollouts: &Rollouts, name: &str) -> Result<(String, StateId), WireError> {
    if let Some((image, build)) = name.rsplit_once('@')
        && let Ok(build) = build.parse()
        && let Some(build) = rollouts.db.build(build).await?
        && build.name == image
        && let Some(state) = build.state
    {
        return Ok((name.to_owned(), state));
    }
    let state = rollouts.states.resolve(name).await?;
    if !rollouts.states.store().contains(state) {
        let message = format!("find state {} in the store", state.short());
        return Err(WireError::new(ErrorCode::NotFound, message).with_hint("build the image again"));
    }
    let words = match rollouts.db.image(name).await? {
        Some(image) => format!("{}@{}", image.name, image.build),
        None if name.parse::<StateId>().is_ok() => state.short().to_string(),
        None => shown(name),
    };
    Ok((words, state))
}

type Targets = Vec<umbra_gateway::routes::setup::TargetSetup>;

fn leads_to(gate: &Gate, gateway: &Path, route: &str) -> Result<Targets, WireError> {
    let failed = |error: GateError| {
        let message = format!("ask the gateway at {}", gateway.display());
        let code = match error {
            GateError::Away(_) => ErrorCode::NotFound,
            _ => ErrorCode::Environment,
        };
        WireError::new(code, message)
            .caused_by(error)
            .with_hint("`umbra gateway` runs one; --gateway says which socket it has")
    };
    let targets = gate.leads_to().map_err(failed)?.ok_or_else(|| {
        let message = format!("find route {} at the gateway {}", shown(route), gateway.display());
        WireError::new(ErrorCode::NotFound, message).with_hint(
            "`umbra route list` lists routes; `route:` in the rollout's file names another",
        )
    })?;
    match gate.split() {
        Ok(split) => {
            let message =
                format!("split route {}: rollout {} has done so", shown(route), split.rollout);
            let hint = format!("`umbra rollout status {}` shows it", split.rollout);
            Err(WireError::new(ErrorCode::Conflict, message).with_hint(hint))
        }
        Err(GateError::Nothing(_)) => Ok(targets),
        Err(error) => Err(failed(error)),
    }
}

/// What is in production: what the last rollout left, if the route still leads there.
fn baseline(
    rollouts: &Rollouts,
    service: &str,
    gateway: &PathBuf,
    route: &str,
    targets: Targets,
    remarks: &mut Vec<String>,
) -> Result<Serving, WireError> {
    let row = rollouts.runtime.block_on(rollouts.db.service(service))?;
    let record = row.and_then(|row| serde_json::from_str::<Record>(&row.record).ok());
    let Some(record) = record else { return Ok(Serving::of_route(targets)) };
    if record.gateway == *gateway && record.route == route && record.now.is_at(&targets) {
        return Ok(record.now);
    }
    remarks.push(format!(
        "the route leads elsewhere than rollout {} left it: that is what the candidate is held \
         against",
        record.rollout
    ));
    Ok(Serving::of_route(targets))
}

/// Makes a document fit what is in production.
fn suit(spec: &mut Spec, baseline: &Serving, remarks: &mut Vec<String>) -> Result<(), WireError> {
    if baseline.targets.is_empty() {
        remarks.push(
            "nothing is in production: all requests go to the candidate once it is healthy"
                .to_owned(),
        );
        spec.steps = vec![Step::SetWeight(100.0)];
        spec.hold = Hold { for_ms: 0, requests: 0, proved: true, within_ms: None };
        spec.control = Control::Production;
        spec.background = None;
        return Ok(());
    }
    if baseline.state.is_some() {
        return Ok(());
    }
    if spec.control == Control::Fresh {
        let message = "run a fresh baseline: it is not known which image is in production";
        return Err(WireError::new(ErrorCode::Conflict, message)
            .with_hint("roll out once with `control: production`; afterwards it is known"));
    }
    if spec.judge.differences && spec.steps.iter().any(|step| matches!(step, Step::SetMirror(_))) {
        remarks.push(
            "answers to mirrored requests are not compared: it is not known which image is in \
             production, so none of it can be run beside the candidate"
                .to_owned(),
        );
    }
    spec.judge.differences = false;
    Ok(())
}

/// Never a pass without evidence: something has to be able to tell good from bad.
fn check_metrics(spec: &Spec, baseline: &Serving, id: u64) -> Result<(), WireError> {
    // Where nothing is in production nothing can be worse than that.
    if !spec.is_judged() && !baseline.targets.is_empty() {
        let message = "judge the candidate: nothing is left that it is judged by";
        return Err(WireError::new(ErrorCode::BadConfig, message)
            .with_hint("add a weight below 100, judged by errors or latency, or an analysis"));
    }
    let names = Names { service: &spec.service, arm: "baseline", rollout: id };
    let now_ms = now_ms();
    let about = About { names, began_ms: now_ms, now_ms };
    let tried = trial::try_all(&spec.analyses, &Outside, about);
    match trial::refusal(&tried) {
        None => Ok(()),
        Some(why) => {
            let message = format!("begin without a metric that works: {why}");
            Err(WireError::new(ErrorCode::Environment, message)
                .with_hint("`umbra rollout check FILE` tries them again"))
        }
    }
}
