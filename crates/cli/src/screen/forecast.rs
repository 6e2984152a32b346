//! What is to be expected of numbers.

use umbra_drift::forecast::Outlook;
use umbra_drift::service::Forecast;
use umbra_state::escape::escape;

use super::summary::{right, table, trimmed};
use super::{safe, units};

/// All of them, the most urgent first.
pub fn list(all: &[Forecast]) -> String {
    if all.is_empty() {
        return "no parameter is a number with a bound: give it a tolerance or `expect`\n".into();
    }
    let mut table = table(&["parameter", "now", "bound", "seen", "what is to be expected"]);
    for one in all {
        table.add_row(vec![
            name(one).into(),
            right(one.value.to_string()),
            one.bound.to_string().into(),
            right(one.points.to_string()),
            in_words(one).into(),
        ]);
    }
    trimmed(&table)
}

fn name(one: &Forecast) -> String {
    let part = one.item.part.as_ref().map_or(String::new(), |part| format!(" {}", escape(&part.0)));
    format!("{}{part}", safe(&one.item.parameter))
}

fn in_words(one: &Forecast) -> String {
    match &one.outlook {
        Outlook::Breached => "it is there already".to_owned(),
        Outlook::Breach(breach) => {
            let latest = breach.latest_ms.map_or("later".to_owned(), units::moment);
            let (expected, earliest) =
                (units::moment(breach.expected_ms), units::moment(breach.earliest_ms));
            format!("{expected} (95 %: {earliest} to {latest}), {:.3} a day", breach.per_day)
        }
        Outlook::Far { not_before_ms, .. } => {
            format!("not before {}", units::moment(*not_before_ms))
        }
        Outlook::Steady(_) => "it does not clearly move there".to_owned(),
        Outlook::Unknown(refusal) => format!("no forecast: {}", safe(&refusal.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use umbra_drift::forecast::{Basis, Bound, Breach, Of, Refusal};
    use umbra_drift::reading::Item;

    use super::*;

    #[test]
    fn a_time_has_its_interval_and_no_forecast_its_reason() {
        let basis = Basis { points: 30, from_ms: 0, to_ms: 1_740_000, of: Of::All };
        let breach = Breach {
            expected_ms: 2_700_000,
            earliest_ms: 2_640_000,
            first_ms: 2_600_000,
            latest_ms: None,
            per_day: 1440.0,
            basis,
        };
        let one = |item, outlook| Forecast {
            item,
            value: 79.0,
            bound: Bound::Above(95.0),
            outlook,
            points: 30,
        };
        let all = [
            one(Item::part("disk", b"/srv\n"), Outlook::Breach(breach)),
            one(Item::whole("inodes"), Outlook::Unknown(Refusal::Few { have: 3, need: 12 })),
        ];
        let text = list(&all);
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines.iter().any(|line| line.contains("disk /srv\\u{a}")
                && line.contains("1970-01-01 00:45:00Z (95 %: 1970-01-01 00:44:00Z to later)")),
            "{text}"
        );
        assert!(text.contains("no forecast: there are 3 readings and 12 are needed"), "{text}");
        assert!(text.contains("above 95"), "{text}");
    }
}
