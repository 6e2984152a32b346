//! How often the judge is wrong and how soon it is right, in many more runs than the tests make,
//! beside what is known of the method and beside the rules of others. Prints the tables of
//! `docs/judge.md` and draws `docs/judge.svg`.

#[path = "../../tests/simulation/beside.rs"]
mod beside;
#[path = "../../tests/simulation/chance.rs"]
mod chance;
#[path = "../../tests/simulation/classic.rs"]
mod classic;
mod cost;
mod differences;
#[path = "../../tests/simulation/fields.rs"]
mod fields;
mod formula;
#[path = "../../tests/simulation/hang.rs"]
mod hang;
mod others;
#[path = "../../tests/simulation/ours.rs"]
mod ours;
mod plot;
mod replay;
#[path = "../../tests/simulation/rivals.rs"]
mod rivals;
#[path = "../../tests/simulation/runs.rs"]
mod runs;
#[path = "../../tests/simulation/sessions.rs"]
mod sessions;
mod soon;
mod table;
#[path = "../../tests/simulation/traffic.rs"]
mod traffic;
mod wrong;

/// Tables by the word that asks for them alone.
const TABLES: [(&str, fn()); 7] = [
    ("beside", others::side_by_side),
    ("wrong", wrong::tables),
    ("soon", soon::tables),
    ("differences", differences::tables),
    ("others", others::tables),
    ("cost", cost::tables),
    ("replay", replay::measure),
];

fn main() {
    let asked: Vec<String> =
        std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let wanted = |name: &str| asked.is_empty() || asked.iter().any(|word| word == name);
    TABLES.iter().filter(|(name, _)| wanted(name)).for_each(|(_, tables)| tables());
}
