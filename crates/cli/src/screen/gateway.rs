//! The gateway and its mirrors.

use std::net::SocketAddr;
use std::path::Path;

use umbra_gateway::control::{GatewayStatus, MirrorStatus, RouteStatus, TargetStatus};
use umbra_gateway::mirror::Role;
use umbra_gateway::split::wire::ManagedStatus;

use super::summary::{right, table, trimmed};
use super::{listening, safe};

/// What a gateway says once it serves.
pub fn listening(at: SocketAddr, primary: &str, control: &Path) -> String {
    format!(
        "serving {at} from {}; `umbra mirror` finds it at {}",
        safe(primary),
        safe(&control.display().to_string())
    )
}

/// What is said of a mirror that was begun.
pub fn started(mirror: &MirrorStatus) -> String {
    let MirrorStatus { name, to, percent, .. } = mirror;
    let part = match &mirror.sessions {
        None => format!("{percent} % of the requests are"),
        Some(by) => format!("{percent} % of the sessions ({}) are", safe(by)),
    };
    let (what, next) = match mirror.role {
        None => (part, "umbra mirror status"),
        Some(Role::Candidate) => (part, "umbra compare"),
        Some(Role::Baseline) => ("what the candidate gets is".to_owned(), "umbra compare"),
    };
    format!("{what} mirrored to {} as {}\n  {next}\n", safe(to), safe(name))
}

/// How it stands.
pub fn status(status: &GatewayStatus) -> String {
    let mut text = format!(
        "{}: {} requests, {} not answered by production\n",
        safe(&status.listen),
        status.requests,
        status.failed
    );
    text.push_str(&routes(&status.routes));
    text.push_str(&listening::status(status));
    if status.mirrors.is_empty() {
        text.push_str("no mirrors; `umbra mirror start NAME --to SHADOW --percent 5` begins\n");
        return text;
    }
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    text.push_str(&format!(
        "copies under way take {:.1} of {:.0} MiB\n",
        mib(status.mirror_bytes),
        mib(status.mirror_bytes_max)
    ));
    let mut table = table(&[
        "mirror",
        "to",
        "percent",
        "seen",
        "eligible",
        "mirrored",
        "dropped",
        "truncated",
        "answered",
        "failed",
        "under way",
    ]);
    for mirror in &status.mirrors {
        let counted = &mirror.counted;
        let numbers = [
            mirror.seen,
            counted.eligible,
            counted.mirrored,
            counted.dropped(),
            counted.truncated,
            counted.answered,
            counted.failed(),
            counted.in_flight(),
        ];
        let mut row =
            vec![named(mirror).into(), safe(&mirror.to).into(), right(mirror.percent.to_string())];
        row.extend(numbers.map(|number| right(number.to_string())));
        table.add_row(row);
    }
    text.push_str(&trimmed(&table));
    for mirror in &status.mirrors {
        text.push_str(&causes(mirror));
    }
    text
}

/// Which routes there are, and how their targets stand.
pub fn routes(routes: &[RouteStatus]) -> String {
    let mut table = table(&["route", "to", "weight", "requests", "failed", ""]);
    for route in routes {
        for target in &route.targets {
            table.add_row(vec![
                safe(&route.name).into(),
                safe(&target.to).into(),
                right(target.weight.to_string()),
                right(target.requests.to_string()),
                right(target.failures.to_string()),
                stands(target).into(),
            ]);
        }
    }
    let managed = routes.iter().filter_map(|route| Some((&route.name, route.managed.as_ref()?)));
    let said = managed.map(|(name, managed)| format!("  {}: {}\n", safe(name), said(managed)));
    trimmed(&table) + &said.collect::<String>()
}

/// What a rollout does to a route.
fn said(managed: &ManagedStatus) -> String {
    let ManagedStatus { rollout, weight, assigned, rolled_back } = managed;
    let split = match weight {
        Some(_) if *rolled_back => format!("rollout {rollout} was rolled back, the rest ends"),
        Some(weight) => {
            format!("rollout {rollout} gives {} % of it to its candidate", weight * 100.0)
        }
        None => format!("rollout {rollout} is over"),
    };
    let whose = if *assigned {
        "; its targets are the rollout's, not the file's (`umbra route release`)"
    } else {
        ""
    };
    split + whose
}

fn stands(target: &TargetStatus) -> &'static str {
    match (target.well, target.ejected) {
        (true, false) => "well",
        (false, _) => "unwell: its health check fails",
        (true, true) => "left out: it fails again and again",
    }
}

fn named(mirror: &MirrorStatus) -> String {
    let role = match mirror.role {
        None => "",
        Some(Role::Candidate) => " (candidate)",
        Some(Role::Baseline) => " (baseline)",
    };
    format!("{}{role}", safe(&mirror.name))
}

/// Why not everything was mirrored and answered.
fn causes(mirror: &MirrorStatus) -> String {
    let counted = &mirror.counted;
    let causes = [
        (mirror.no_session, "not chosen: of no session"),
        (counted.dropped_in_flight, "dropped: too many under way"),
        (counted.dropped_memory, "dropped: no memory for copies"),
        (counted.unreachable, "failed: no connection to the shadow"),
        (counted.broken, "failed: the connection broke or no answer came"),
        (counted.timed_out, "failed: the shadow took too long"),
        (counted.too_long, "failed: the answer was too long"),
        (counted.cut_off, "failed: the copy was truncated"),
        (counted.unfinished, "failed: the client did not finish"),
    ];
    let told = causes.iter().filter(|(count, _)| *count > 0);
    told.map(|(count, why)| format!("  {}: {count} {why}\n", safe(&mirror.name))).collect()
}
