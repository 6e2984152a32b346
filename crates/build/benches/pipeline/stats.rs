//! Samples, and how they are printed beside their goals.

use std::time::Duration;

/// Durations of one thing done many times.
#[derive(Debug, Default)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    pub(crate) fn add(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    /// The duration that this share (0 to 1) of the samples does not exceed; zero without any.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }

    pub(crate) fn p50(&self) -> Duration {
        self.quantile(0.5)
    }

    /// One line: what, middle, tail, how many, and the goals where there are some.
    pub(crate) fn print(&self, what: &str, p50_max: Option<Duration>, p99_max: Option<Duration>) {
        let (p50, p99) = (self.p50(), self.quantile(0.99));
        let goals = [("p50", p50, p50_max), ("p99", p99, p99_max)];
        let goals: String =
            goals.iter().filter_map(|(name, is, max)| goal(name, *is, *max)).collect();
        println!(
            "  {what:<58} p50 {:>9}  p99 {:>9}  n {:<4}{goals}",
            ms(p50),
            ms(p99),
            self.0.len()
        );
    }
}

fn goal(name: &str, is: Duration, max: Option<Duration>) -> Option<String> {
    let max = max?;
    let word = if is <= max { "reached" } else { "MISSED" };
    Some(format!("  [{name} <= {}: {word}]", ms(max)))
}

/// One duration beside its goal.
pub(crate) fn print_one(what: &str, is: Duration, max: Option<Duration>) {
    println!("  {what:<58}     {:>9}{}", ms(is), goal("goal", is, max).unwrap_or_default());
}

/// A ratio beside its goal, which is a least one or a greatest one.
pub(crate) fn print_ratio(what: &str, is: f64, reached: bool, goal: &str) {
    let word = if reached { "reached" } else { "MISSED" };
    println!("  {what:<58}     {is:>8.2}x  [{goal}: {word}]");
}

pub(crate) fn ms(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}
