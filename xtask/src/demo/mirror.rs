//! The third act: what comes to production is mirrored to a shadow, which is killed in the middle.
//!
//! Production is one instance of the image, its shadow another one. The load is an open loop, so
//! that a moment in which nobody is answered is seen by everybody who would have asked then.
//!
//! ```text
//! two instances -> gateway before one -> load ── nobody mirrors ── mirrored ── the shadow is dead
//!               -> what was chosen = mirrored + dropped, and how each copy ended
//!               -> load ── nobody mirrors, again
//!                                                        judged: nothing lost, latency stays
//! ```

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::latency::{Phases, felt};
use super::load::{Load, Schedule};
use super::server::{Places, Server};
use super::{ends, json};
use crate::interrupt;
use crate::stop::Stop;

const PRODUCTION: &str = "production";
const SHADOW: &str = "candidate";
/// As `umbra mirror` is told, which is the image's plain port.
const PORT: u16 = 80;
/// Requests a second: an unoptimised gateway on a small machine has time left.
const RATE: u32 = 500;
const CONNECTIONS: u32 = 8;
/// How long each phase lasts.
const PHASE: Duration = Duration::from_secs(3);
/// Copies to a dead shadow end by then.
const COPY_TIME_MS: &str = "1000";
const REST_MAX: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);

/// Plays it. Says in a line what production felt.
pub(super) fn play(places: &Places) -> Result<String, Stop> {
    ends(places, &["shadow", "create", "--from", "web", "--name", PRODUCTION, "--services"], 0)?;
    ends(places, &["shadow", "create", "--from", "web", "--name", SHADOW, "--services"], 0)?;
    let primary = format!("{}:{PORT}", address(places, PRODUCTION)?);
    let serve = ["gateway", "--listen", "127.0.0.1:0", "--primary", &primary];
    eprintln!("$ umbra {} &", serve.join(" "));
    let gateway = Server::gateway(places, &serve)?;
    let told = act(places)?;
    gateway.stop()?;
    ends(places, &["shadow", "rm", PRODUCTION], 0)?;
    Ok(told)
}

fn act(places: &Places) -> Result<String, Stop> {
    let at = listens(&status(places)?)?;
    eprintln!("  {RATE} requests a second come to {at} from now on, whether answered or not");
    let schedule = Schedule { at, rate: RATE, connections: CONNECTIONS };
    let load = Load::begin(schedule);
    let alone = phase("nobody mirrors")?;
    ends(places, &["mirror", "start", SHADOW, "--to", SHADOW, "--timeout-ms", COPY_TIME_MS], 0)?;
    let mirrored = phase("the shadow gets a copy of each")?;
    ends(places, &["mirror", "status"], 0)?;
    let killed = Instant::now();
    ends(places, &["shadow", "rm", SHADOW], 0)?;
    phase("copies are for a shadow that is dead")?;
    let mut samples = load.end();
    await_rest(places)?;
    ends(places, &["mirror", "status"], 0)?;
    check_counts(&status(places)?["mirrors"][0])?;
    ends(places, &["mirror", "stop", SHADOW], 0)?;
    let load = Load::begin(schedule);
    let again = phase("nobody mirrors again")?;
    samples.extend(load.end());
    let phases = Phases::split(&samples, [alone, mirrored, killed, again]);
    eprint!("\n{}", phases.table());
    felt(&phases, &status(places)?).map_err(Stop::Failed)
}

/// Lets it go on for a while, and says since when.
fn phase(what: &str) -> Result<Instant, Stop> {
    let began = Instant::now();
    eprintln!("  for {} s {what}", PHASE.as_secs());
    wait(PHASE)?;
    Ok(began)
}

fn wait(time: Duration) -> Result<(), Stop> {
    let until = Instant::now() + time;
    while Instant::now() < until {
        interrupt::check()?;
        std::thread::sleep(POLL);
    }
    Ok(())
}

/// Where a shadow is on this machine.
fn address(places: &Places, name: &str) -> Result<String, Stop> {
    let shadows = json(places, &["--json", "shadow", "ls"])?;
    let mut shadows = shadows.as_array().into_iter().flatten();
    let shadow = shadows.find(|shadow| shadow["name"] == name);
    let address = shadow.and_then(|shadow| shadow["address"].as_str());
    address.map(str::to_owned).ok_or_else(|| {
        Stop::missing(
            format!("the shadow {name} has no address on this machine"),
            "`umbra doctor` says what networks of shadows need",
        )
    })
}

pub(super) fn status(places: &Places) -> Result<Value, Stop> {
    json(places, &["--json", "mirror", "status"])
}

/// Where requests come to a gateway.
pub(super) fn listens(status: &Value) -> Result<SocketAddr, Stop> {
    let at = &status["listen"];
    let told = at.as_str().and_then(|at| at.parse().ok());
    told.ok_or_else(|| Stop::Failed(format!("the gateway listens at {at}")))
}

/// Until every copy has ended.
fn await_rest(places: &Places) -> Result<(), Stop> {
    let until = Instant::now() + REST_MAX;
    loop {
        let Copies { mirrored, answered, failed, .. } = copies(&status(places)?["mirrors"][0]);
        if mirrored == answered + failed {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(Stop::Failed("copies to a dead shadow do not end".to_owned()));
        }
        wait(POLL)?;
    }
}

/// What became of a mirror's copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Copies {
    eligible: u64,
    mirrored: u64,
    dropped: u64,
    answered: u64,
    failed: u64,
}

/// Every cause there is counts, also those this program does not know.
fn copies(mirror: &Value) -> Copies {
    let mut copies = Copies::default();
    for (name, count) in mirror["counted"].as_object().into_iter().flatten() {
        let sum = match name.as_str() {
            "truncated" => continue,
            "eligible" => &mut copies.eligible,
            "mirrored" => &mut copies.mirrored,
            "answered" => &mut copies.answered,
            name if name.starts_with("dropped_") => &mut copies.dropped,
            _ => &mut copies.failed,
        };
        *sum += count.as_u64().unwrap_or(0);
    }
    copies
}

/// The shadow got copies and then did not; none is lost from the account.
fn check_counts(mirror: &Value) -> Result<(), Stop> {
    let copies = copies(mirror);
    let Copies { eligible, mirrored, dropped, answered, failed } = copies;
    let exact = mirrored + dropped == eligible && mirror["seen"] == eligible;
    if exact && answered > 0 && failed > 0 {
        return Ok(());
    }
    Err(Stop::Failed(format!("the mirror's account is not as it must be: {copies:?}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_account_must_be_exact_and_tell_of_both_lives() {
        let counted = json!({"eligible": 9, "mirrored": 7, "dropped_in_flight": 1,
            "dropped_memory": 1, "truncated": 1, "answered": 5, "timed_out": 1, "new_cause": 1});
        let mirror = |seen: u64| json!({"seen": seen, "counted": counted.clone()});
        let (eligible, mirrored, dropped) = (9, 7, 2);
        assert_eq!(
            copies(&mirror(9)),
            Copies { eligible, mirrored, dropped, answered: 5, failed: 2 }
        );
        assert!(check_counts(&mirror(9)).is_ok());
        assert!(check_counts(&mirror(10)).is_err());
        assert!(check_counts(&json!({"seen": 0, "counted": {}})).is_err());
    }
}
