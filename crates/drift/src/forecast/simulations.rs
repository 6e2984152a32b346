//! Forecasts of series whose future is known.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

const MINUTE_MS: i64 = 60_000;

/// Numbers that look random and are the same each time (xorshift64*).
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Between 0 and 1, neither included.
    fn part(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let bits = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11;
        (bits as f64 + 0.5) / (1u64 << 53) as f64
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.part()
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.part().ln()).sqrt() * (std::f64::consts::TAU * self.part()).cos()
    }

    /// With tails much longer than the normal distribution's.
    fn laplace(&mut self) -> f64 {
        let sign = if self.part() < 0.5 { -1.0 } else { 1.0 };
        -sign * self.part().ln() / std::f64::consts::SQRT_2
    }
}

fn series(count: usize, mut value: impl FnMut(usize) -> f64) -> Vec<Point> {
    let point = |at: usize| Point { at_ms: at as i64 * MINUTE_MS, value: value(at) };
    (0..count).map(point).collect()
}

fn outlook(points: &[Point], bound: Bound) -> Outlook {
    forecast(points, bound, &Rules::default())
}

/// Of many lines with noise: the part whose true crossing lies in the interval, and the median
/// of the intervals' lengths in parts of the time to the crossing.
fn coverage(noise: impl Fn(&mut Random, f64) -> f64) -> (f64, f64) {
    let (mut inside, mut outside, mut lengths) = (0.0, 0.0, Vec::new());
    for seed in 0..400 {
        let random = &mut Random::new(seed);
        let (slope, start) = (random.between(0.05, 0.5), random.between(0.0, 50.0));
        let count = random.between(40.0, 150.0) as usize;
        // As much as the line moves in a few to a few tens of readings.
        let size = slope * random.between(1.0, 12.0);
        let mut before = 0.0;
        let points = series(count, |at| {
            before = noise(random, before);
            start + slope * at as f64 + size * before
        });
        let crossing = count as f64 * random.between(1.4, 2.5);
        let Outlook::Breach(breach) = outlook(&points, Bound::Above(start + slope * crossing))
        else {
            continue;
        };
        let crossing = crossing * MINUTE_MS as f64;
        let latest = breach.latest_ms.map_or(f64::INFINITY, |at| at as f64);
        let covers = breach.earliest_ms as f64 <= crossing && crossing <= latest;
        *(if covers { &mut inside } else { &mut outside }) += 1.0;
        lengths.push((latest - breach.earliest_ms as f64) / (crossing - breach.basis.to_ms as f64));
    }
    assert!(inside + outside > 250.0, "only {inside} and {outside}");
    lengths.sort_by(f64::total_cmp);
    (inside / (inside + outside), lengths[lengths.len() / 2])
}

#[test]
fn intervals_hold_what_they_promise() {
    // Three standard errors of some 400 simulations are 3.3 %.
    for (name, (held, length)) in [
        ("normal", coverage(|random, _| random.normal())),
        ("laplace", coverage(|random, _| random.laplace())),
        ("uniform", coverage(|random, _| random.between(-1.7, 1.7))),
        ("following", coverage(|random, before| 0.6 * before + 0.8 * random.normal())),
    ] {
        println!("{name}: {held:.3} inside, median length {length:.2}");
        assert!(held >= 0.917, "{name}: {held}");
        assert!(length < 0.6, "{name}: {length}");
    }
}

#[test]
fn no_reading_is_there_much_before_it_may_be() {
    let mut early = 0;
    for seed in 0..400 {
        let random = &mut Random::new(seed);
        let points = series(100, |at| at as f64 + 4.0 * random.normal());
        let Outlook::Breach(breach) = outlook(&points, Bound::Above(200.0)) else {
            panic!("no forecast for {seed}");
        };
        let first = (100..400).find(|at| *at as f64 + 4.0 * random.normal() > 200.0);
        early += usize::from(first.is_some_and(|at| (at as i64) * MINUTE_MS < breach.first_ms));
    }
    println!("{early} of 400 before");
    assert!(early <= 40, "{early}");
}

#[test]
fn a_series_without_noise_is_met_exactly() {
    let points = series(40, |at| 90.0 - at as f64 / 1440.0);
    let Outlook::Breach(breach) = outlook(&points, Bound::Below(89.95)) else { panic!() };
    let expected = 72 * MINUTE_MS;
    for at in [breach.expected_ms, breach.first_ms, breach.latest_ms.expect("bounded")] {
        assert!((at - expected).abs() < 1000, "{breach:?}");
    }
    assert!((breach.per_day + 1.0).abs() < 1e-6, "{breach:?}");
    assert!(matches!(outlook(&points, Bound::Below(14.0)), Outlook::Far { .. }));
    assert!(matches!(outlook(&points, Bound::Above(100.0)), Outlook::Steady(_)));
}

#[test]
fn a_certificates_whole_days_are_a_line() {
    // Read every hour for two weeks.
    let hour = 3_600_000;
    let point = |at: i64| Point { at_ms: at * hour, value: (40 - at / 24) as f64 };
    let points: Vec<Point> = (0..14 * 24).map(point).collect();
    let Outlook::Breach(breach) = outlook(&points, Bound::Below(7.0)) else {
        panic!("{:?}", outlook(&points, Bound::Below(7.0)))
    };
    let day = 24 * hour;
    assert!((breach.expected_ms - 33 * day).abs() <= day + hour, "{breach:?}");
}

#[test]
fn what_stays_never_alarms() {
    let flat = series(200, |_| 42.0);
    assert!(matches!(outlook(&flat, Bound::Above(42.5)), Outlook::Steady(_)));
    let week = Duration::from_secs(7 * 86_400);
    let (mut alarms, mut following) = (0, 0);
    for seed in 0..400 {
        let random = &mut Random::new(seed);
        let count = random.between(20.0, 200.0) as usize;
        let points = series(count, |_| 88.0 + 0.3 * random.normal());
        let now = points[count - 1].at_ms;
        let near = |points: &[Point]| match outlook(points, Bound::Above(90.0)) {
            Outlook::Breached => false,
            outlook => outlook.is_near(now, week),
        };
        alarms += usize::from(near(&points));
        let mut before = 0.0;
        let points = series(count, |_| {
            before = 0.7 * before + 0.7 * random.normal();
            88.0 + 0.3 * before
        });
        following += usize::from(near(&points));
    }
    println!("{alarms} and {following} of 400");
    assert!(alarms <= 1 && following <= 4, "{alarms} and {following}");
}

/// Fills and is emptied, by about as much each time.
fn sawtooth(seed: u64, count: usize, growth: f64) -> Vec<Point> {
    let random = &mut Random::new(seed);
    let teeth = random.between(0.05, 0.5);
    let period = (count as f64 * teeth).max(8.0);
    let (height, noise) = (random.between(5.0, 40.0), random.between(0.0, 0.02));
    let mut level = height * random.part();
    let mut top = height * random.between(0.9, 1.1);
    series(count, |at| {
        level += height / period;
        if level > top {
            level = height * random.between(0.0, 0.05);
            top = height * random.between(0.9, 1.1);
        }
        40.0 + growth * at as f64 + level + noise * height * random.normal()
    })
}

#[test]
fn what_is_emptied_again_and_again_never_alarms() {
    let month = Duration::from_secs(30 * 86_400);
    for seed in 0..1500 {
        let points = sawtooth(seed, 300, 0.0);
        let highest = points.iter().map(|point| point.value).fold(0.0, f64::max);
        // In the midst of the last tooth and at any other moment.
        for end in [120, 177, 240, 288, 300] {
            let points = &points[..end];
            // A window with one tooth that nobody saw being emptied is a line to anybody.
            if super::jumps::jumps(points).is_empty() {
                continue;
            }
            let outlook = outlook(points, Bound::Above(highest + 12.0));
            let now = points[end - 1].at_ms;
            assert!(!outlook.is_near(now, month), "{seed} at {end}: {outlook:?}");
        }
    }
}

#[test]
fn what_is_emptied_and_still_grows_is_seen_by_its_peaks() {
    let random = &mut Random::new(7);
    let points = series(400, |at| (at % 40) as f64 * 0.5 + at as f64 * 0.1 + 0.1 * random.normal());
    let Outlook::Breach(breach) = outlook(&points, Bound::Above(80.0)) else {
        panic!("{:?}", outlook(&points, Bound::Above(80.0)))
    };
    assert_eq!(breach.basis.of, Of::Peaks);
    let expected = 605 * MINUTE_MS;
    assert!((breach.expected_ms - expected).abs() < 30 * MINUTE_MS, "{breach:?}");
}

#[test]
fn a_jump_is_told_from_a_trend() {
    for seed in 0..300 {
        let random = &mut Random::new(seed);
        let at_jump = random.between(30.0, 80.0) as usize;
        let up = random.between(10.0, 30.0);
        let slope = if seed % 2 == 0 { 0.0 } else { 0.2 };
        let points = series(120, |at| {
            let since = at.saturating_sub(at_jump) as f64;
            40.0 + if at > at_jump { up + slope * since } else { 0.0 } + 0.2 * random.normal()
        });
        let found = outlook(&points, Bound::Above(95.0));
        let basis = match found {
            Outlook::Steady(basis) if slope == 0.0 => basis,
            Outlook::Breach(Breach { basis, per_day, .. }) if slope > 0.0 => {
                assert!((per_day - 288.0).abs() < 40.0, "{per_day}");
                basis
            }
            Outlook::Far { basis, .. } if slope > 0.0 => basis,
            _ => panic!("{seed}: {found:?}"),
        };
        let Of::AfterJump { at_ms, by } = basis.of else { panic!("{seed}: {basis:?}") };
        assert_eq!(at_ms, (at_jump as i64 + 1) * MINUTE_MS);
        assert!((by - up).abs() < 2.0, "{by} for {up}");
    }
}

#[track_caller]
fn refused(points: &[Point], bound: Bound, expected: Refusal) {
    assert_eq!(outlook(points, bound), Outlook::Unknown(expected));
}

#[test]
fn without_enough_there_is_no_forecast() {
    let bound = Bound::Above(1000.0);
    let rising = |count| series(count, |at| at as f64);
    refused(&[], bound, Refusal::Few { have: 0, need: 12 });
    refused(&rising(5), bound, Refusal::Few { have: 5, need: 12 });
    let not_numbers = series(30, |at| if at % 3 == 0 { 1.0 } else { f64::NAN });
    refused(&not_numbers, bound, Refusal::Few { have: 10, need: 12 });
    let quick: Vec<Point> =
        rising(30).iter().map(|p| Point { at_ms: p.at_ms / 60, ..*p }).collect();
    refused(&quick, bound, Refusal::Short { have_ms: 29_000, need_ms: 600_000 });
    refused(&rising(30), Bound::Below(f64::NAN), Refusal::NoBound);
    let jumped = series(40, |at| if at > 35 { 30.0 } else { 10.0 });
    refused(&jumped, bound, Refusal::Jumped { at_ms: 36 * MINUTE_MS });
    let fell = series(60, |at| if at < 30 { at as f64 } else { at as f64 - 30.0 });
    refused(&fell, bound, Refusal::FallsBack { times: 1 });
    // A slow wave: each reading is where the last one was.
    let wave = series(60, |at| (at as f64 / 19.0).sin());
    refused(&wave, bound, Refusal::NoLine);
    assert_eq!(outlook(&rising(30), Bound::Above(20.0)), Outlook::Breached);
}

#[test]
fn near_is_what_somebody_should_be_told() {
    let points = series(60, |at| at as f64);
    let outlook = outlook(&points, Bound::Above(119.0));
    let now = 59 * MINUTE_MS;
    assert!(outlook.is_near(now, Duration::from_secs(61 * 60)), "{outlook:?}");
    assert!(!outlook.is_near(now, Duration::from_secs(59 * 60)), "{outlook:?}");
    assert!(Outlook::Breached.is_near(0, Duration::ZERO));
}

#[test]
fn bounds_are_the_tolerances_and_the_expected() {
    let expect = Expect { one_of: Vec::new(), ge: Some(5.0), le: Some(90.0) };
    let tolerance = Tolerance::Distance { abs: 2.0, rel: 0.1, hysteresis: 0.0 };
    let all = [Bound::Above(44.0), Bound::Below(36.0), Bound::Above(90.0), Bound::Below(5.0)];
    assert_eq!(bounds(&tolerance, &expect, Some(40.0)), all);
    assert_eq!(bounds(&tolerance, &expect, None), all[2..]);
    let set = Tolerance::Set { added: 0, removed: 0 };
    assert_eq!(bounds(&set, &Expect::default(), Some(1.0)), []);
    assert_eq!(bounds(&Tolerance::Any, &expect, Some(40.0)), all[2..]);
}

#[test]
fn what_falls_by_one_a_day_is_counted() {
    #[track_caller]
    fn check(value: f64, bound: Bound, in_ms: Option<i64>) {
        let outlook = counted_down(Point { at_ms: 1000, value }, bound);
        let at_ms = match outlook {
            Outlook::Breach(breach) => {
                assert_eq!((Some(breach.expected_ms), breach.per_day), (breach.latest_ms, -1.0));
                assert_eq!(breach.earliest_ms, breach.expected_ms);
                Some(breach.expected_ms - 1000)
            }
            Outlook::Breached => Some(0),
            _ => None,
        };
        assert_eq!(at_ms, in_ms, "{outlook:?}");
    }
    check(15.5, Bound::Below(14.0), Some(36 * 3_600_000));
    check(13.9, Bound::Below(14.0), Some(0));
    check(13.9, Bound::Above(14.0), None);
    check(14.1, Bound::Above(14.0), Some(0));
    check(1.0, Bound::Below(f64::NEG_INFINITY), None);
    check(f64::MAX, Bound::Below(0.0), Some(i64::MAX - 1000));
}

proptest! {
    #[test]
    fn any_series_has_an_outlook(
        points in proptest::collection::vec((any::<i64>(), any::<f64>()), 0..60),
        above: bool, limit: f64,
    ) {
        let points: Vec<Point> =
            points.into_iter().map(|(at_ms, value)| Point { at_ms, value }).collect();
        let bound = if above { Bound::Above(limit) } else { Bound::Below(limit) };
        if let Outlook::Breach(breach) = outlook(&points, bound) {
            prop_assert!(breach.earliest_ms <= breach.expected_ms, "{:?}", breach);
            prop_assert!(breach.first_ms <= breach.earliest_ms, "{:?}", breach);
            prop_assert!(breach.latest_ms.is_none_or(|at| at >= breach.expected_ms));
            prop_assert!(breach.first_ms >= breach.basis.to_ms);
        }
    }

    #[test]
    fn both_directions_are_one(
        values in proptest::collection::vec(-100.0f64..100.0, 12..60), limit in -100.0f64..100.0,
    ) {
        let up = series(values.len(), |at| values[at] + at as f64);
        let down: Vec<Point> = up.iter().map(|p| Point { value: -p.value, ..*p }).collect();
        let (up, down) = (outlook(&up, Bound::Above(limit)), outlook(&down, Bound::Below(-limit)));
        match (up, down) {
            (Outlook::Breach(up), Outlook::Breach(down)) => {
                prop_assert_eq!(up.expected_ms, down.expected_ms);
                prop_assert_eq!(up.per_day, -down.per_day);
            }
            (up, down) => {
                prop_assert_eq!(std::mem::discriminant(&up), std::mem::discriminant(&down));
            }
        }
    }
}
