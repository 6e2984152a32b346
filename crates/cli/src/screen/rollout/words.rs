//! Numbers and phases of rollouts in words.

use umbra_api::rollout::{
    AnalysisStatus, InstancePhase, InstanceStatus, Range, RolloutPhase, RolloutStatus, StepProgress,
};

use crate::screen::{safe, units};
use crate::ui::Paint;

/// A phase, as one reads it.
pub fn phase(phase: RolloutPhase) -> &'static str {
    match phase {
        RolloutPhase::Starting => "starting",
        RolloutPhase::Running => "running",
        RolloutPhase::Paused => "paused",
        RolloutPhase::Promoting => "promoting",
        RolloutPhase::RollingBack => "rolling back",
        RolloutPhase::Successful => "successful",
        RolloutPhase::Failed => "failed",
        RolloutPhase::Inconclusive => "inconclusive",
        RolloutPhase::Error => "error",
    }
}

/// The same with colour added; in capitals once it is over, which is what one greps for.
pub fn painted_phase(at: RolloutPhase, paint: Paint) -> String {
    let word = phase(at);
    let word = if at.is_over() { word.to_uppercase() } else { word.to_owned() };
    match at {
        RolloutPhase::Successful | RolloutPhase::Promoting => paint.good(&word),
        RolloutPhase::Failed | RolloutPhase::RollingBack | RolloutPhase::Error => paint.bad(&word),
        RolloutPhase::Inconclusive | RolloutPhase::Paused => paint.warn(&word),
        RolloutPhase::Starting | RolloutPhase::Running => paint.bold(&word),
    }
}

/// Where a step is, as one reads it.
pub fn progress(progress: StepProgress) -> &'static str {
    match progress {
        StepProgress::Done => "done",
        StepProgress::Current => "now",
        StepProgress::Ahead => "ahead",
        StepProgress::Skipped => "skipped",
    }
}

/// An instance: its name, where it is, its phase.
pub fn instance(instance: &InstanceStatus) -> String {
    let phase = match instance.phase {
        InstancePhase::Starting => "starting",
        InstancePhase::Ready => "ready",
        InstancePhase::Draining => "draining",
        InstancePhase::Unwell => "unwell",
        InstancePhase::Gone => "gone",
    };
    let name = instance.name.as_ref().map_or(String::new(), |name| format!("{} ", safe(name)));
    format!("{name}{} {phase}", safe(&instance.to))
}

/// What is replaced by what.
pub fn from_to(status: &RolloutStatus) -> String {
    format!("{} -> {}", safe(&status.baseline), candidate(status))
}

/// The candidate, with its state where it is not named by that.
pub fn candidate(status: &RolloutStatus) -> String {
    let name = safe(&status.candidate);
    match status.state.map(|state| state.short()) {
        Some(state) if !name.contains(&state) => format!("{name} (state {state})"),
        _ => name,
    }
}

/// A part of requests, without digits that say nothing.
pub fn percent(percent: f64) -> String {
    let rounded = (percent * 1000.0).round() / 1000.0;
    format!("{rounded} %")
}

/// A part of a count in percent; nothing of nothing.
pub fn part(part: u64, of: u64) -> String {
    if of == 0 {
        return "-".to_owned();
    }
    format!("{:.2} %", part as f64 * 100.0 / of as f64)
}

/// How many times as often or as long.
pub fn times(ratio: f64) -> String {
    match ratio {
        _ if ratio.is_nan() => "unknown".to_owned(),
        _ if ratio < 2.0 => format!("{ratio:.2}"),
        _ if ratio < 100.0 => format!("{ratio:.1}"),
        _ if ratio < 1e6 => format!("{ratio:.0}"),
        _ => "over a million".to_owned(),
    }
}

/// Where a ratio is for certain, in brackets; nothing where nobody can say.
pub fn range(range: &Range) -> String {
    match range.most {
        Some(most) => format!(" ({} to {})", times(range.least), times(most)),
        None if range.least > 0.0 => format!(" (at least {})", times(range.least)),
        None => String::new(),
    }
}

/// An e-value by its natural logarithm.
pub fn e_value(log: f64) -> String {
    let value = log.exp();
    match log {
        _ if log.is_nan() => "unknown".to_owned(),
        _ if value < 0.01 => "< 0.01".to_owned(),
        _ if value < 10.0 => format!("{value:.2}"),
        _ if value < 100.0 => format!("{value:.1}"),
        _ if value < 1e6 => units::count(value.round() as u64),
        _ => format!("10^{:.0}", (log / std::f64::consts::LN_10).floor()),
    }
}

/// A measurement in a line.
pub fn analysis(one: &AnalysisStatus) -> String {
    let value = one.value.as_ref().map_or(String::new(), |value| format!(" {}", safe(value)));
    let counts = [
        (one.counts.successful, "good"),
        (one.counts.failed, "bad"),
        (one.counts.inconclusive, "unclear"),
        (one.counts.error, "not measured"),
    ];
    let counts: Vec<String> = counts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    let why =
        if one.message.is_empty() { String::new() } else { format!(": {}", safe(&one.message)) };
    let counts =
        if counts.is_empty() { String::new() } else { format!(" ({})", counts.join(", ")) };
    format!("{} {}{value}{counts}{why}", safe(&one.name), safe(&one.phase))
}

/// How long ago, or how long, in milliseconds.
pub fn lasted(ms: i64) -> String {
    units::micros(u64::try_from(ms).unwrap_or(0).saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e_values_have_digits_that_matter() {
        for (value, shown) in [
            (0.0001, "< 0.01"),
            (0.25, "0.25"),
            (1.0, "1.00"),
            (12.44, "12.4"),
            (99.99, "100.0"),
            (100.0, "100"),
            (25_000.4, "25,000"),
            (3.2e9, "10^9"),
            (f64::NAN, "unknown"),
        ] {
            assert_eq!(e_value(f64::ln(value)), shown, "{value}");
        }
        assert_eq!(e_value(f64::NEG_INFINITY), "< 0.01");
        assert_eq!(e_value(1e6), "10^434294");
    }

    #[test]
    fn parts_of_nothing_are_nothing() {
        assert_eq!((part(0, 0), part(41, 1312)), ("-".into(), "3.12 %".into()));
        assert_eq!((percent(5.0), percent(0.1234567)), ("5 %".into(), "0.123 %".into()));
    }

    #[test]
    fn a_range_may_have_no_upper_end() {
        let mut shown = Range { seen: None, least: 1.9, most: None };
        assert_eq!(range(&shown), " (at least 1.90)");
        shown.most = Some(52.0);
        assert_eq!(range(&shown), " (1.90 to 52.0)");
        assert_eq!(range(&Range { seen: None, least: 0.0, most: None }), "");
    }
}
