//! The sinks of a configuration, over what the daemon has.

use std::collections::BTreeMap;
use std::sync::Arc;

use umbra_drift::config::{Notify, Target};
use umbra_drift::sink::{
    Command, Desktop, Document, Http, JsonLines, Post, PostError, Sink, SinkError, Stream, Syslog,
};

/// Posts as builds do.
pub(super) struct Poster;

impl Post for Poster {
    fn post(&self, url: &str, headers: &[(String, String)], body: &[u8]) -> Result<u16, PostError> {
        let answer = umbra_api::outside::post(url, headers, body);
        answer.map_err(|error| PostError { why: error.to_string() })
    }
}

/// Entries that lead to the same place are one, for all that any of them wants.
pub(crate) fn merged(notify: &[Notify]) -> BTreeMap<String, Notify> {
    let mut merged: BTreeMap<String, Notify> = BTreeMap::new();
    for one in notify {
        let kept = merged.entry(one.target.name()).or_insert_with(|| one.clone());
        kept.min_severity = kept.min_severity.min(one.min_severity);
    }
    merged
}

/// What delivers there.
pub(crate) fn sink(target: &Target) -> Arc<dyn Sink> {
    match target {
        Target::Log => Arc::new(Stream::new("the daemon's log", std::io::stderr())),
        Target::Terminal => Arc::new(Terminal),
        Target::Desktop => Arc::new(OwnDesktop),
        Target::JsonLines { path } => Arc::new(JsonLines::new(path)),
        Target::Command { argv } => Arc::new(Command::new(argv.clone())),
        Target::Syslog { address, .. } => Arc::new(Syslog::new(address.clone())),
        Target::Http { dialect, url, token } => {
            Arc::new(Http::new(*dialect, url.clone(), token.clone(), Poster))
        }
    }
}

/// The terminal this process has when there is something to say.
struct Terminal;

impl Sink for Terminal {
    fn deliver(&self, document: &Document) -> Result<(), SinkError> {
        Stream::terminal()?.deliver(document)
    }
}

/// The desktop, once it is installed.
struct OwnDesktop;

impl Sink for OwnDesktop {
    fn deliver(&self, document: &Document) -> Result<(), SinkError> {
        Desktop::new()?.deliver(document)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use umbra_drift::config::Severity;

    #[test]
    fn one_place_is_told_once_of_all_that_any_entry_wants() {
        let notify = |target, min_severity| Notify { target, min_severity };
        let file = |path: &str| Target::JsonLines { path: path.to_owned() };
        let all = [
            notify(Target::Log, Severity::High),
            notify(file("/a"), Severity::Critical),
            notify(Target::Log, Severity::Medium),
            notify(file("/b"), Severity::Low),
        ];
        let merged = merged(&all);
        assert_eq!(merged.len(), 3);
        assert_eq!(merged["log"].min_severity, Severity::Medium);
        assert_eq!(merged[&file("/a").name()].min_severity, Severity::Critical);
    }
}
