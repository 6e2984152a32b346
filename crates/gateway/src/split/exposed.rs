//! What Prometheus reads of splits.

use std::sync::atomic::Ordering;

use umbra_api::exposition::Page;

use super::wire::SplitArm;
use super::{Split, lock};
use crate::routes::Routes;

/// All splits of these routes.
pub(crate) fn page(routes: &Routes) -> String {
    let splits = routes.all().iter().filter_map(|route| route.arms()).map(|arms| &*arms.split);
    let splits: Vec<&Split> = splits.collect();
    let mut page = Page::default();
    if !splits.is_empty() {
        of_arms(&mut page, &splits);
        of_judges(&mut page, &splits);
    }
    page.into_text()
}

fn of_arms(page: &mut Page, splits: &[&Split]) {
    page.family("umbra_split_weight", "gauge", "The candidate's part of all sessions.");
    for split in splits {
        page.part("", &[("route", &split.route)], split.weight());
    }
    let mut family = |name, kind, help, value: &dyn Fn(&Split, SplitArm) -> u64| {
        page.family(name, kind, help);
        for split in splits {
            for arm in split.arms() {
                let labels = [("route", split.route.as_str()), ("arm", arm.word())];
                page.sample(&labels, value(split, arm));
            }
        }
    };
    let help = "Requests that were assigned to an arm.";
    family("umbra_split_requests_total", "counter", help, &|split, arm| split.requests(arm));
    let help = "Those that failed, whoever answered them.";
    family("umbra_split_errors_total", "counter", help, &|split, arm| {
        lock(&split.judged).tallies[arm as usize].errors
    });
    let help = "Requests of an arm that are under way.";
    family("umbra_split_in_flight", "gauge", help, &|split, arm| split.count(arm).in_flight());
}

fn of_judges(page: &mut Page, splits: &[&Split]) {
    let mut family = |name, help, value: &dyn Fn(&Split) -> Option<f64>| {
        page.family(name, "gauge", help);
        for split in splits {
            if let Some(value) = value(split) {
                page.part("", &[("route", &split.route)], value);
            }
        }
    };
    let help = "Natural logarithm of the e-value of \"the candidate is worse\".";
    family("umbra_split_log_e", help, &|split| {
        lock(&split.judged).trial.as_ref().map(|trial| trial.log_e())
    });
    let help = "Natural logarithm of the e-value at which it is rolled back.";
    family("umbra_split_log_limit", help, &|split| Some(-split.start.settings.alpha.ln()));
    let help = "Whether the candidate was found to be worse and rolled back.";
    family("umbra_split_rolled_back", help, &|split| {
        Some(f64::from(u8::from(split.is_rolled_back())))
    });
    let help = "How long the judge was behind requests lately.";
    family("umbra_split_judge_lag_seconds", help, &|split| {
        Some(lock(&split.judged).lag_us as f64 / 1e6)
    });
    page.family("umbra_split_left_out_total", "counter", "Requests that did not count.");
    for split in splits {
        let unheard = split.unheard.load(Ordering::Relaxed);
        let not_compared = lock(&split.judged).not_compared;
        for (cause, count) in [("queue", unheard), ("not_compared", not_compared)] {
            page.sample(&[("route", split.route.as_str()), ("cause", cause)], count);
        }
    }
}
