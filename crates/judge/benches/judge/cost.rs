//! What an outcome costs.

use std::hint::black_box;
use std::time::Instant;

use fastrand::Rng;
use umbra_judge::settings::Settings;

use crate::ours::{ERRORS, Ours, settings};
use crate::table::{head, row};
use crate::traffic::{Answer, Change, Route, Traffic};

pub(crate) fn tables() {
    head("What an outcome costs, at 5 %", &["metrics", "ns"]);
    let route = Route::calm(0.01, 0.5);
    for (name, settings) in [("errors", settings(0.01, ERRORS)), ("every", Settings::default())] {
        let mut rng = Rng::with_seed(51);
        let mut ours = Ours::new(&mut rng, settings, route);
        ours.stage(0.05);
        let mut traffic = Traffic::new(&mut rng, route, Change::NONE);
        let told: Vec<_> = (0..1_000_000)
            .map(|_| {
                let arm = ours.arm(&mut rng);
                (arm, traffic.answer(&mut rng, arm))
            })
            .collect();
        let began = Instant::now();
        for &(arm, Answer { failed, latency_us }) in &told {
            ours.request(arm, Answer { failed, latency_us });
        }
        black_box(ours.trial.is_worse());
        let each = began.elapsed().as_nanos() / told.len() as u128;
        row(&[name.to_owned(), each.to_string()]);
    }
}
