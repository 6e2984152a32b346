//! How soon a bad candidate is out of production, and how often a good one is put out of it.
//!
//! `cargo bench -p umbra-gateway --bench rollout -- [rollbacks] [healthy]`. Gateway, servers and
//! clients are one process here, and speak through the loopback interface.

#[path = "../../tests/support/controlled.rs"]
#[allow(dead_code, reason = "mirrors rest elsewhere")]
mod controlled;
#[path = "../../tests/split/place.rs"]
#[allow(dead_code, reason = "tests look closer")]
mod place;
#[path = "../../tests/split/rounds.rs"]
mod rounds;
#[path = "../../tests/split/server.rs"]
#[allow(dead_code, reason = "tests have servers of more kinds")]
mod server;
#[path = "../../tests/support/mod.rs"]
#[allow(dead_code, reason = "it is one route of many kinds here")]
mod support;

use std::time::Duration;

use umbra_judge::settings::Metrics;

const ROLLBACKS: usize = 1_000;
const TOOK_MAX: Duration = Duration::from_millis(50);
const HEALTHY: usize = 200;
const HEALTHY_ROLLED_BACK_MAX: usize = 2;
/// Requests at each of three weights.
const EACH: u64 = 400;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> =
        std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_wanted = |name: &str| words.is_empty() || words.iter().any(|word| word == name);
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build()?;
    let all = Metrics { differences: false, ..Metrics::default() };
    if is_wanted("rollbacks") {
        let came = runtime.block_on(rounds::bad(ROLLBACKS, all));
        let at = |part: usize| came.took[(came.took.len() * part / 1000).min(came.took.len() - 1)];
        println!(
            "{ROLLBACKS} rollbacks, from the end of the request that decided until the weight is 0: \
             p50 {:?}  p99 {:?}  max {:?} (asked: p99 {TOOK_MAX:?})",
            at(500),
            at(990),
            at(1000)
        );
        println!(
            "  {} requests, {} lost (asked: 0), {} at the candidate once those under way had ended \
             (asked: 0)",
            came.answered, came.lost, came.late
        );
        if at(990) > TOOK_MAX || came.lost + came.late > 0 {
            return Err("rollbacks are not as was asked".into());
        }
    }
    if is_wanted("healthy") {
        let rolled_back = runtime.block_on(rounds::healthy(HEALTHY, all, EACH));
        println!(
            "{HEALTHY} rollouts of what changes nothing, 5, 25 and 50 %, {EACH} requests each: \
             {rolled_back} rolled back (asked: {HEALTHY_ROLLED_BACK_MAX} at most)"
        );
        if rolled_back > HEALTHY_ROLLED_BACK_MAX {
            return Err("healthy candidates are rolled back".into());
        }
    }
    Ok(())
}
