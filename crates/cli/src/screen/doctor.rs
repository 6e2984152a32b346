//! What a machine offers, as a list: what is missing comes last, with its cost and its cure.

use umbra_shadow::probe::Probe;

use super::safe;

/// The whole report.
pub fn lines(probes: &[Probe]) -> String {
    let width = probes.iter().map(|probe| probe.name.chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for probe in probes.iter().filter(|probe| probe.ok) {
        out.push_str(&format!("ok       {:width$}  {}\n", safe(&probe.name), safe(&probe.detail)));
    }
    let missing: Vec<&Probe> = probes.iter().filter(|probe| !probe.ok).collect();
    for probe in &missing {
        out.push_str(&format!("missing  {:width$}  {}\n", safe(&probe.name), safe(&probe.detail)));
        out.push_str(&format!("         {:width$}  costs: {}\n", "", safe(&probe.cost)));
        out.push_str(&format!("         {:width$}  to get it: {}\n", "", safe(&probe.fix)));
    }
    out.push_str(&match missing.len() {
        0 => format!("all {} capabilities are there\n", probes.len()),
        count => format!("{count} of {} capabilities are missing\n", probes.len()),
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(name: &str, ok: bool) -> Probe {
        Probe {
            name: name.to_owned(),
            ok,
            detail: "found\u{1b}[2J".to_owned(),
            cost: "no fence".to_owned(),
            fix: "apt-get install nftables".to_owned(),
        }
    }

    #[test]
    fn what_is_missing_comes_last_with_its_cost_and_cure() {
        let text = lines(&[probe("nftables", false), probe("overlay", true)]);
        assert_eq!(
            text,
            "ok       overlay   found\\u{1b}[2J\n\
             missing  nftables  found\\u{1b}[2J\n         \
             \u{20}         costs: no fence\n         \
             \u{20}         to get it: apt-get install nftables\n\
             1 of 2 capabilities are missing\n"
        );
    }
}
