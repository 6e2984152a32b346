//! The scenario as a file.

use std::fmt::Write;

use super::values::Place;
use super::{Journey, Learned};

/// A recipe takes no greater weight.
const WEIGHT_MAX: u64 = 1_000_000;
/// Nobody thinks longer.
const THINK_MS_MAX: u64 = 600_000;

/// As YAML, in the form that load tests have under `scenario`.
pub fn yaml(learned: &Learned) -> String {
    let mut text = format!(
        "# Learned from {} of {} sessions, which came at {:.2} a second.\nscenario:\n",
        learned.used, learned.sessions, learned.per_second
    );
    // Weights stay what they are to each other.
    let most = learned.journeys.iter().map(|journey| journey.weight).max().unwrap_or(1);
    let scale = most.div_ceil(WEIGHT_MAX).max(1);
    learned.journeys.iter().for_each(|one| journey(one, scale, &mut text));
    text
}

/// Writing to a text does not fail.
fn journey(journey: &Journey, scale: u64, to: &mut String) {
    let weight = (journey.weight / scale).max(1);
    let _ = writeln!(to, "- name: {}\n  weight: {weight}\n  requests:", quoted(&journey.name));
    for request in &journey.requests {
        let _ = writeln!(to, "  - path: {}", quoted(&request.path));
        if request.method != "GET" {
            let _ = writeln!(to, "    method: {}", request.method);
        }
        if !request.headers.is_empty() {
            let _ = writeln!(to, "    headers:");
            for (name, value) in &request.headers {
                let _ = writeln!(to, "      {name}: {}", quoted(value));
            }
        }
        if let Some(body) = &request.body {
            let _ = writeln!(to, "    body: {}", quoted(body));
        }
        if request.think_ms > 0 {
            let _ = writeln!(to, "    think: {}ms", request.think_ms.min(THINK_MS_MAX));
        }
        if let Some(status) = request.status {
            let _ = writeln!(to, "    status: {status}");
        }
        if !request.extract.is_empty() {
            let _ = writeln!(to, "    extract:");
        }
        for extract in &request.extract {
            let (key, place) = match &extract.from {
                Place::Json(path) => ("json", path),
                Place::Header(name) => ("header", name),
            };
            let _ = writeln!(to, "    - {{name: {}, {key}: {}}}", extract.name, quoted(place));
        }
    }
}

/// JSON's texts are YAML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
