//! A gateway's split, in the controller's words.

use umbra_gateway::split::wire::{SplitArm, SplitArmStatus, SplitStatus};
use umbra_rollout::controller::Seen;

/// See the module; `compared` requests were mirrored and compared.
pub(super) fn seen(split: &SplitStatus, compared: u64) -> Seen {
    let words = split.worse.as_ref().map(|worse| worse.words.clone());
    let left_out = split.left_out.iter().map(|one| one.count).sum();
    let standing = split.standing.as_ref();
    let both =
        |count: fn(&SplitArmStatus) -> u64| [sum(split, false, count), sum(split, true, count)];
    let p99 = |candidate: bool| {
        let latency = arms(split, candidate).filter_map(|arm| arm.latency);
        latency.map(|latency| latency.p99_us).max()
    };
    Seen {
        weight: split.weight,
        rolled_back: words.clone().filter(|_| split.rolled_back),
        worse: words,
        proved: standing.is_some_and(|standing| standing.proved),
        requests: both(|arm| arm.requests),
        errors: both(|arm| arm.errors),
        p99_us: [p99(false), p99(true)],
        compared,
        left_out,
        requests_needed: standing.and_then(|standing| standing.units_needed),
        unjudged: standing.is_none().then(|| "the gateway's judge is not at work".to_owned()),
    }
}

/// The candidate's arm, or all others.
pub(super) fn arms(split: &SplitStatus, candidate: bool) -> impl Iterator<Item = &SplitArmStatus> {
    split.arms.iter().filter(move |arm| (arm.arm == SplitArm::Candidate) == candidate)
}

fn sum(split: &SplitStatus, candidate: bool, count: fn(&SplitArmStatus) -> u64) -> u64 {
    arms(split, candidate).map(count).sum()
}
