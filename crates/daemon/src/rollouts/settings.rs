//! What the gateway's judge is told of a rollout's document.

use umbra_judge::settings::{Control, Metrics, Settings};
use umbra_rollout::spec::{self, Spec};

/// See the module. `sticky`: sessions stay with their target.
pub(super) fn settings(spec: &Spec, sticky: bool) -> Settings {
    let usual = Settings::default();
    let judge = &spec.judge;
    let (errors, latency) = (judge.errors, judge.latency);
    Settings {
        alpha: judge.alpha,
        beta: judge.beta,
        tolerated_ratio: errors.map_or(usual.tolerated_ratio, |errors| errors.tolerated_ratio),
        excess_min: errors.map_or(usual.excess_min, |errors| errors.excess_min),
        sessions_min: judge.sessions_min,
        worse_ratio: errors.map_or(usual.worse_ratio, |errors| errors.refuted_ratio),
        slower_tolerated: latency.map_or(usual.slower_tolerated, |latency| latency.tolerated),
        slower_refuted: latency.map_or(usual.slower_refuted, |latency| latency.refuted),
        metrics: Metrics {
            errors: errors.is_some(),
            latency: latency.is_some(),
            differences: judge.differences,
            // A split that is broken makes all other evidence worthless.
            weight: true,
        },
        sticky,
        control: match spec.control {
            spec::Control::Production => Control::Production,
            spec::Control::Fresh => Control::Fresh,
        },
    }
}
