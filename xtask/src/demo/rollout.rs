//! The fourth act: images are rolled out under load, a good one and two bad ones.
//!
//! The load goes on all the time, as an open loop: whoever would have been hurt asks then.
//!
//! ```text
//! gateway, its route without anybody -> first rollout: the image of the build
//!    -> load ── the next release: promoted ── 3 % errors: taken back ── a slow tail: taken back
//!    -> each decision is replayed from its journal, bit for bit
//!                                judged: as it must be, and of production nothing was lost
//! ```

use std::time::{Duration, Instant};

use serde_json::Value;

use super::load::{Load, Sample, Schedule};
use super::mirror::{self, listens};
use super::server::{Places, Server};
use super::table::micros;
use super::{build, ends, json};
use crate::process;
use crate::stop::Stop;

const SERVICE: &str = "web";
const ROUTES: &str = "examples/web/routes.yaml";
const FILE: &str = "examples/web/rollout.yaml";
/// Requests a second: an unoptimised gateway on a small machine has time left.
const RATE: u32 = 300;
const CONNECTIONS: u32 = 8;

/// An image, and how a rollout of it must end.
struct Act {
    title: &'static str,
    recipe: &'static str,
    vars: &'static [&'static str],
    image: &'static str,
    good: bool,
}

const ACTS: [Act; 3] = [
    Act {
        title: "the next release",
        recipe: "examples/web/umbra.yaml",
        vars: &["--var", "release=2"],
        image: "web",
        good: true,
    },
    Act {
        title: "3 % of its requests fail, behind a gateway only",
        recipe: "examples/web/errors.yaml",
        vars: &[],
        image: "web-errors",
        good: false,
    },
    Act {
        title: "5 % of its requests take 80 ms more, behind a gateway only",
        recipe: "examples/web/slow.yaml",
        vars: &[],
        image: "web-slow",
        good: false,
    },
];

/// Plays it. Says in lines what came of each rollout.
pub(super) fn play(places: &Places) -> Result<String, Stop> {
    let serve = ["gateway", "--listen", "127.0.0.1:0", "--routes", ROUTES];
    eprintln!("$ umbra {} &", serve.join(" "));
    forget(places);
    let gateway = Server::gateway(places, &serve)?;
    let told = acts(places);
    let stopped = ends(places, &["instances", "stop", "--all"], 0);
    let told = told?;
    stopped?;
    gateway.stop()?;
    Ok(told)
}

/// Where an earlier demo's rollouts led: its instances are gone.
fn forget(places: &Places) {
    let kept = places.gateway.with_file_name("splits");
    // Most often there are none.
    let _ = std::fs::remove_dir_all(kept);
}

fn acts(places: &Places) -> Result<String, Stop> {
    roll(places, "web", 0)?;
    let at = listens(&mirror::status(places)?)?;
    let mut told = Vec::new();
    for act in &ACTS {
        eprintln!("\n  {}", act.title);
        build(places, act.recipe, act.vars, 0)?;
        eprintln!("  {RATE} requests a second come to {at} from now on, whether answered or not");
        let load = Load::begin(Schedule { at, rate: RATE, connections: CONNECTIONS });
        let began = Instant::now();
        roll(places, act.image, if act.good { 0 } else { 1 })?;
        let took = began.elapsed();
        let samples = load.end();
        let status = json(places, &["--json", "rollout", "status", SERVICE])?;
        told.push(line(act, took, &samples, &status)?);
        if !act.good {
            ends(places, &["rollout", "explain", SERVICE], 0)?;
            let journal = status["journal"].as_str().unwrap_or_default();
            ends(places, &["rollout", "replay", journal], 0)?;
        }
    }
    Ok(told.join("\n"))
}

/// Rolls an image out on this terminal.
fn roll(places: &Places, image: &str, expected: i32) -> Result<(), Stop> {
    let args = ["rollout", "start", SERVICE, "--image", image, "--file", FILE, "--watch"];
    eprintln!("$ umbra {}", args.join(" "));
    let status = process::status(&mut places.client(&args))?;
    match status.code() {
        Some(code) if code == expected => Ok(()),
        _ => Err(Stop::Failed(format!(
            "the rollout of {image} ended with {status}, expected exit status: {expected}"
        ))),
    }
}

/// What came of one, in a line; why it is not as it must be.
fn line(act: &Act, took: Duration, samples: &[Sample], status: &Value) -> Result<String, Stop> {
    let hurt = samples.iter().filter(|sample| !sample.good).count();
    let candidate = &status["arms"][1];
    let (given, failed) = (candidate["requests"].as_u64(), candidate["errors"].as_u64());
    let (given, failed) = (given.unwrap_or(0), failed.unwrap_or(0));
    // Whoever got an answer that is none got it from the candidate, and from nobody else.
    if hurt as u64 > failed || (act.good && hurt > 0) {
        return Err(Stop::Failed(format!(
            "{hurt} of {} requests were lost while {} was rolled out",
            samples.len(),
            act.image
        )));
    }
    let end = match (act.good, status["rolled_back"]["took_us"].as_u64()) {
        (true, _) => "promoted".to_owned(),
        (false, Some(us)) => format!("taken back, in {}", micros(us)),
        (false, None) => "taken back before any user got to it".to_owned(),
    };
    Ok(format!(
        "rollout of {:<12}{end} after {:.0} s; {given} of {} requests went to it, {hurt} users saw \
         a failure",
        act.image,
        took.as_secs_f64(),
        samples.len()
    ))
}
