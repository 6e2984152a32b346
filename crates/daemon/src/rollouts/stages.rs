//! What counted at which weight, as the gateway's split was looked at: about once a second, so what
//! came just around a change may be counted on its other side.

use umbra_api::rollout::StageStatus;
use umbra_gateway::split::wire::SplitStatus;

/// Weights that are told; those of a rollout are few.
const STAGES_MAX: usize = 200;

/// Takes note of a look.
pub(super) fn note(stages: &mut Vec<StageStatus>, split: &SplitStatus) {
    let Some(standing) = &split.standing else { return };
    let weight_percent = split.weight * 100.0;
    let is_same = |stage: &StageStatus| (stage.weight_percent - weight_percent).abs() < 1e-6;
    if !stages.last().is_some_and(is_same) && stages.len() < STAGES_MAX {
        stages.push(StageStatus { weight_percent, units: [0; 2], errors: [0; 2] });
    }
    let Some((last, before)) = stages.split_last_mut() else { return };
    last.units = since(standing.units, before.iter().map(|stage| stage.units));
    last.errors = since(standing.errors, before.iter().map(|stage| stage.errors));
}

fn since(all: [u64; 2], before: impl Iterator<Item = [u64; 2]>) -> [u64; 2] {
    before.fold(all, |left, stage| [0, 1].map(|arm| left[arm].saturating_sub(stage[arm])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_since_is_the_last_stages() {
        assert_eq!(since([10, 5], [[4, 1], [3, 0]].into_iter()), [3, 4]);
        // A judge that begins anew has counted less.
        assert_eq!(since([2, 0], [[4, 1]].into_iter()), [0, 0]);
    }
}
