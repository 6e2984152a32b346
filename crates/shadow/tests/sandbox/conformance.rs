//! The suite every provider runs: with root mapped to nobody and without, and with sites made
//! ahead.

use libtest_mimic::Trial;
use umbra_shadow::conformance::{CASES, Done};

use crate::support::Ground;
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for kind in ["userns", "no-userns", "warm"] {
        for case in CASES {
            let name = format!("conformance::{kind}::{}", case.name.replace([' ', ','], "-"));
            trials.push(trial(&name, move || {
                let ground = match kind {
                    "warm" => Ground::warm(),
                    _ => Ground::with(kind == "userns"),
                };
                if let Done::Skipped(reason) = (case.check)(ground.provider(), &ground.layers()) {
                    println!("skipped: {reason}");
                }
            }));
        }
    }
    trials
}
