//! The side of a gateway that clients see.

use umbra_gateway::control::GatewayStatus;
use umbra_gateway::listen::tls::TlsStatus;

use super::safe;
use super::summary::{table, trimmed};

/// A certificate has hundreds of names at times.
const NAMES_SHOWN: usize = 4;

/// Certificates, the access log, and connections that were closed.
pub fn status(status: &GatewayStatus) -> String {
    let mut text = status.tls.as_ref().map(certificates).unwrap_or_default();
    if let Some(log) = &status.access_log {
        let (written, dropped, failed) = (log.written, log.dropped, log.failed);
        text.push_str(&format!(
            "access log: {written} lines written, {dropped} dropped, {failed} failed\n"
        ));
    }
    for closed in &status.closed {
        let (count, cause) = (closed.count, safe(&closed.cause));
        text.push_str(&format!("closed by the gateway: {count} for {cause}\n"));
    }
    text
}

fn certificates(tls: &TlsStatus) -> String {
    let mut table = table(&["certificate", "names", "until"]);
    for one in &tls.certificates {
        let mut names =
            one.names.iter().take(NAMES_SHOWN).map(|name| safe(name)).collect::<Vec<_>>();
        let more = one.names.len().saturating_sub(NAMES_SHOWN);
        if more > 0 {
            names.push(format!("and {more} more"));
        }
        let file = safe(&one.file.display().to_string());
        table.add_row(vec![file, names.join(", "), one.ends.to_string()]);
    }
    let mut text = trimmed(&table);
    if let Some(why) = &tls.refused {
        text.push_str(&format!("not in force since {}: {}\n", tls.read_at, safe(why)));
    }
    text
}
