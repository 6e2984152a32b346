//! The suite every provider runs, with root mapped to nobody and without.

use libtest_mimic::Trial;
use umbra_shadow::conformance::{CASES, Done};

use crate::support::Ground;
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for (kind, user_namespaces) in [("userns", true), ("no-userns", false)] {
        for case in CASES {
            let name = format!("conformance::{kind}::{}", case.name.replace([' ', ','], "-"));
            trials.push(trial(&name, move || {
                let ground = Ground::with(user_namespaces);
                if let Done::Skipped(reason) = (case.check)(ground.provider(), &ground.layers()) {
                    println!("skipped: {reason}");
                }
            }));
        }
    }
    trials
}
