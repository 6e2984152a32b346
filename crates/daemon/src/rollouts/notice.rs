//! What people are told of a rollout.

use umbra_api::rollout::RolloutStatus;
use umbra_drift::config::Severity;
use umbra_drift::sink::Notice;
use umbra_rollout::controller::Alert;

/// See the module; it is the `told`th time.
pub(super) fn notice(status: &RolloutStatus, alert: &Alert, told: u64, now_ms: i64) -> Notice {
    let RolloutStatus { id, service, candidate, baseline, .. } = status;
    let (news, severity, over, sentence) = match alert {
        Alert::Promoted => {
            ("promoted", Severity::Low, true, format!("{candidate} is in production"))
        }
        Alert::RolledBack { why } => {
            let sentence = format!("{candidate} was rolled back, {baseline} serves: {why}");
            ("rolled_back", Severity::High, true, sentence)
        }
        Alert::Paused { why } => ("paused", Severity::Medium, false, format!("it waits: {why}")),
        Alert::Warning { sentence } => ("warning", Severity::Medium, false, sentence.clone()),
    };
    Notice {
        id: format!("rollout/{id}/{told}"),
        about: format!("rollout/{id}"),
        kind: "rollout",
        subject: service.clone(),
        news: news.to_owned(),
        severity,
        over,
        sentence,
        facts: facts(status),
        next_steps: steps(id, alert),
        began_at_ms: status.began_at_ms,
        at_ms: now_ms,
    }
}

fn facts(status: &RolloutStatus) -> Vec<(String, String)> {
    let fact = |name: &str, value: String| (name.to_owned(), value);
    let mut facts = vec![
        fact("rollout", status.id.to_string()),
        fact("candidate", status.candidate.clone()),
        fact("baseline", status.baseline.clone()),
        fact("weight", format!("{} %", status.weight_percent)),
    ];
    let [baseline, candidate] = &status.arms;
    let counts = [("baseline", baseline), ("candidate", candidate)];
    facts.extend(counts.map(|(name, arm)| {
        fact(&format!("{name} errors"), format!("{} of {}", arm.errors, arm.requests))
    }));
    if let Some(judged) = &status.judged {
        // As people read it: how many times as likely as by chance.
        let e = judged.log_e_peak / std::f64::consts::LN_10;
        let limit = judged.log_limit / std::f64::consts::LN_10;
        facts.push(fact("evidence", format!("e-value 10^{e:.1}, the limit is 10^{limit:.1}")));
    }
    facts
}

fn steps(id: &u64, alert: &Alert) -> Vec<String> {
    let verbs: &[&str] = match alert {
        Alert::Promoted => &["undo"],
        Alert::RolledBack { .. } => &["explain", "retry"],
        Alert::Paused { .. } => &["status", "promote", "abort"],
        Alert::Warning { .. } => &["status"],
    };
    verbs.iter().map(|verb| format!("umbra rollout {verb} {id}")).collect()
}
