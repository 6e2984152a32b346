//! What judging costs: sessions split and judged, beside the same two targets by weight.

use umbra_api::client::Client;
use umbra_gateway::control::RouteStatus;
use umbra_gateway::routes::RoutesSetup;
use umbra_gateway::routes::setup::TargetSetup;
use umbra_gateway::split::wire::{OnWorse, SplitStatus, StartSplit};
use umbra_judge::settings::{Metrics, Settings};

use crate::measured::{Measured, in_turns};
use crate::middle::middle;
use crate::peers;
use crate::process::Outcome;
use crate::wrk::measure;

const ROUNDS: usize = 15;
/// The candidate's part.
const WEIGHT: f64 = 0.05;

pub(crate) fn split() -> Outcome {
    let dir = tempfile::tempdir()?;
    let dir = dir.path();
    let (old, new) = (peers::server(dir)?, peers::server(dir)?);
    let to = |port: u16, weight| TargetSetup {
        to: format!("127.0.0.1:{port}"),
        weight,
        send_proxy: None,
    };
    let (weighted, control) = peers::gateway(dir, old.port)?;
    let mut routes: RoutesSetup = control.get("/v1/routes")?;
    routes.routes[0].targets = vec![to(old.port, 1.0 - WEIGHT), to(new.port, WEIGHT)];
    let _: Vec<RouteStatus> = control.post("/v1/routes", &routes)?;
    let (judged, control) = peers::gateway(dir, old.port)?;
    let start = StartSplit {
        candidate: vec![to(new.port, 1.0)],
        control: Vec::new(),
        weight: WEIGHT,
        settings: Settings {
            metrics: Metrics { differences: false, ..Metrics::default() },
            ..Settings::default()
        },
        journal: dir.join("journal"),
        // Whatever chance says, it is measured to its end.
        on_worse: OnWorse::Tell,
        rollout: 1,
    };
    let _: SplitStatus = control.post("/v1/splits/all", &start)?;
    println!("split: {} % to another target, {ROUNDS} rounds in turns, middle:", WEIGHT * 100.0);
    let peers = [("by weight", weighted), ("split and judged", judged)];
    let rounds = std::cell::RefCell::new(Vec::new());
    let keep = |one: Outcome<Measured>| one.inspect(|one| rounds.borrow_mut().push(*one));
    in_turns(&peers, ROUNDS, |peer| keep(measure(peer)))?;
    // Of each round by itself: a slow minute hits both.
    let rounds = rounds.into_inner();
    let ratio = |of: fn(&Measured) -> f64| {
        middle(rounds.chunks_exact(2).map(|pair| of(&pair[1]) / of(&pair[0])))
    };
    println!("  judged / by weight, processor: {:.3} (asked: 1.02)", ratio(|one| one.us));
    println!("  judged / by weight, p99: {:.2}", ratio(|one| one.p99_ms));
    println!("  judged / by weight, throughput: {:.3}", ratio(|one| one.per_second));
    told(&control)
}

/// What the judge itself says of it.
fn told(control: &Client) -> Outcome {
    let status: SplitStatus = control.get("/v1/splits/all")?;
    let requests: u64 = status.arms.iter().map(|arm| arm.requests).sum();
    println!(
        "  {requests} requests judged, left out: {:?}, lag {} us",
        status.left_out, status.lag_us
    );
    Ok(())
}
