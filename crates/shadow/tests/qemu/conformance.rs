//! The suite every provider runs.

use libtest_mimic::Trial;
use umbra_shadow::conformance::{CASES, Done};

use crate::support::Ground;
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    let case = |case: &'static umbra_shadow::conformance::Case| {
        let name = format!("conformance::{}", case.name.replace([' ', ','], "-"));
        trial(&name, move || {
            let ground = Ground::new();
            if let Done::Skipped(reason) = (case.check)(ground.provider(), &ground.layers()) {
                println!("skipped: {reason}");
            }
        })
    };
    CASES.iter().map(case).collect()
}
