//! Comparisons of answers: how often noise is flagged, and how soon a difference.

use crate::fields::Answers;
use crate::runs::{Found, part, runs};
use crate::table::{count, head, percent, row};

pub(crate) fn tables() {
    wrong();
    soon();
}

fn wrong() {
    head(
        "Any of 20 fields flagged though only noise differs, 5,000 pairs",
        &["noise", "in bursts", "at most", "known", "here"],
    );
    for (name, noise) in [
        ("1 and 5 %", [0.01, 0.05].repeat(10)),
        ("0.1 to 100 %", [0.001, 0.05, 0.3, 1.0].repeat(5)),
    ] {
        for bursts in [false, true] {
            let answers = Answers { noise: noise.clone(), real: 0.0, bursts };
            let here = part(13, 1_000, |rng| answers.compare(rng, 5_000, 0.05).is_some());
            let (bursts, known) = if bursts { ("yes", "") } else { ("no", "3 %") };
            row(&[name, bursts, "5 %", known, &percent(here)].map(str::to_owned));
        }
    }
}

fn soon() {
    head(
        "Pairs until a field of 20 is flagged at 5 % over all, median (p90)",
        &["differs in", "noise", "known", "here"],
    );
    for (own_noise, real, known) in
        [(0.0, 0.01, 1_000), (0.0, 0.001, 7_286), (0.05, 0.05, 867), (0.3, 0.1, 1_539)]
    {
        let mut noise = [0.01, 0.05].repeat(10);
        noise[0] = own_noise;
        let answers = Answers { noise, real, bursts: false };
        let after = runs(14, 300, |rng| {
            let flagged = answers.compare(rng, 60_000, 0.05)?;
            (flagged.field == 0).then_some(flagged.after)
        });
        let found = Found::of(&after);
        let here = format!("{} ({})", count(found.median), count(found.p90));
        row(&[percent(real), percent(own_noise), count(known), here]);
    }
}
