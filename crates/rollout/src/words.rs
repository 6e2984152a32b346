//! Numbers and steps as people read them.

use std::time::Duration;

use umbra_document::units::print_duration;

use crate::spec::Step;

/// `5 %`, `0.5 %`.
pub(crate) fn percent(percent: f64) -> String {
    let rounded = format!("{percent:.3}");
    let short = rounded.trim_end_matches('0').trim_end_matches('.');
    format!("{short} %")
}

/// `10 s`, `90 s`, `10 min`, in the largest unit that leaves no rest.
pub(crate) fn time_ms(ms: u64) -> String {
    let text = print_duration(Duration::from_millis(ms));
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    match unit {
        "" => format!("{number} s"),
        "m" => format!("{number} min"),
        _ => format!("{number} {unit}"),
    }
}

/// In whole seconds, rounded up: how long something still takes.
pub(crate) fn left_ms(ms: u64) -> String {
    time_ms(ms.div_ceil(1_000).saturating_mul(1_000))
}

/// `1.5 ms`.
pub(crate) fn time_us(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} us"),
        1_000..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.2} s", us as f64 / 1e6),
    }
}

/// `1 request`, `2 requests`.
pub(crate) fn requests(count: u64) -> String {
    if count == 1 { "1 request".to_owned() } else { format!("{count} requests") }
}

/// `weight 5 %`, `mirror 100 %`, `pause 10 min`, `analysis success-rate`.
pub(crate) fn step(step: &Step) -> String {
    match step {
        Step::SetWeight(weight) => format!("weight {}", percent(*weight)),
        Step::SetMirror(mirror) => format!("mirror {}", percent(mirror.percent)),
        Step::Pause(Some(ms)) => format!("pause {}", time_ms(*ms)),
        Step::Pause(None) => "pause until somebody promotes".to_owned(),
        Step::Analysis(names) => format!("analysis {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_units() {
        assert_eq!(
            [5.0, 0.5, 100.0, 33.333_333].map(percent),
            ["5 %", "0.5 %", "100 %", "33.333 %"]
        );
        assert_eq!([0, 10_000, 90_000, 600_000].map(time_ms), ["0 s", "10 s", "90 s", "10 min"]);
        assert_eq!(left_ms(9_001), "10 s");
        assert_eq!([900, 1_500, 2_000_000].map(time_us), ["900 us", "1.5 ms", "2.00 s"]);
    }
}
