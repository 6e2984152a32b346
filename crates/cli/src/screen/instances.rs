//! Instances: where they are, how they are, what they print.

use umbra_daemon::instances::{Instance, InstancePhase, ServiceLog};

use super::summary::{right, table, trimmed};
use super::{safe, safe_lines, units};

/// Instances by name.
pub fn instances(instances: &[Instance]) -> String {
    if instances.is_empty() {
        return "no instances\n".into();
    }
    let mut table =
        table(&["instance", "service", "phase", "at", "state", "started", "restarts", "why"]);
    for instance in instances {
        table.add_row(vec![
            safe(&instance.name).into(),
            safe(&instance.service).into(),
            phase(instance.phase).into(),
            safe(&instance.to).into(),
            instance.state.short().into(),
            units::moment(instance.started_at_ms).into(),
            right(instance.restarts.to_string()),
            safe(instance.why.as_deref().unwrap_or_default()).into(),
        ]);
    }
    trimmed(&table)
}

/// What services printed last.
pub fn logs(logs: &[ServiceLog]) -> String {
    let of = |log: &ServiceLog| {
        let again = match log.restarts {
            0 => String::new(),
            1 => ", started again once".to_owned(),
            times => format!(", started again {times} times"),
        };
        let text = safe_lines(&log.text);
        let text = if text.is_empty() { "(nothing yet)".to_owned() } else { text };
        format!("{}{again}:\n  {text}\n", safe(&log.service))
    };
    if logs.is_empty() {
        return "no services\n".into();
    }
    logs.iter().map(of).collect()
}

fn phase(phase: InstancePhase) -> &'static str {
    match phase {
        InstancePhase::Starting => "starting",
        InstancePhase::Running => "running",
        InstancePhase::Restarting => "restarting",
    }
}

#[cfg(test)]
mod tests {
    use umbra_state::{Digest, StateId};

    use super::*;

    #[test]
    fn instances_are_rows_and_logs_are_indented() {
        let instance = Instance {
            name: "web-1".into(),
            service: "web".into(),
            state: StateId(Digest::new([7; 32])),
            to: "10.213.0.2:8080".into(),
            phase: InstancePhase::Restarting,
            restarts: 3,
            why: Some("service web ended with exit code 1\u{1b}[2J".into()),
            started_at_ms: 0,
        };
        let shown = instances(&[instance]);
        for part in ["web-1", "restarting", "10.213.0.2:8080", " 3 ", "exit code 1\\u{1b}[2J"] {
            assert!(shown.contains(part), "{part:?} in {shown}");
        }
        let log = |restarts, text: &str| ServiceLog {
            service: "web".into(),
            restarts,
            text: text.into(),
        };
        let shown = logs(&[log(0, ""), log(1, "a\nb\n"), log(2, "\u{1b}c")]);
        assert_eq!(
            shown,
            "web:\n  (nothing yet)\nweb, started again once:\n  a\n  b\n\
             web, started again 2 times:\n  \\u{1b}c\n"
        );
    }
}
