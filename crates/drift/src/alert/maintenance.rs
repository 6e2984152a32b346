//! Changes that are expected because of whose they are: `policy.maintenance`.
//!
//! A change is expected if every writer of it ran below a program of the policy. Where nobody
//! saw who wrote (a scan found it), it is expected if all of the time in which it can have
//! happened lies within such a program's work: from its first change that was seen until it was
//! idle for `until_idle`. A change by anybody else stays unexplained, also during that time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::Maintenance;
use crate::discrepancy::Attribution;
use crate::watch::who::{Writer, class};

/// When which program of the policy was at work.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Windows {
    /// By the process's name.
    at_work: BTreeMap<String, Window>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Window {
    first_ms: i64,
    last_ms: i64,
}

impl Windows {
    /// Whether a change was to be expected. To be called for every change, in the order in
    /// which they were seen.
    pub fn is_expected(&mut self, policy: &[Maintenance], change: &Attribution) -> bool {
        self.at_work.retain(|name, _| policy.iter().any(|entry| entry.process == *name));
        let mut by: Vec<Option<&Maintenance>> = Vec::new();
        for writer in &change.writers {
            let entry = policy.iter().find(|entry| ran_below(writer, &entry.process));
            if let Some(entry) = entry {
                self.note(entry, change.seen_at_ms);
            }
            by.push(entry);
        }
        if by.is_empty() && change.more_writers == 0 {
            return policy.iter().any(|entry| self.covers(entry, change));
        }
        change.more_writers == 0 && by.iter().all(Option::is_some)
    }

    fn note(&mut self, entry: &Maintenance, at_ms: i64) {
        let new = Window { first_ms: at_ms, last_ms: at_ms };
        let window = self.at_work.entry(entry.process.clone()).or_insert(new);
        let idle = at_ms.saturating_sub(window.last_ms) > idle_ms(entry);
        *window = if idle { new } else { Window { last_ms: at_ms.max(window.last_ms), ..*window } };
    }

    fn covers(&self, entry: &Maintenance, change: &Attribution) -> bool {
        let (Some(window), Some(after)) = (self.at_work.get(&entry.process), change.after_ms)
        else {
            return false;
        };
        after >= window.first_ms
            && change.seen_at_ms <= window.last_ms.saturating_add(idle_ms(entry))
    }
}

fn idle_ms(entry: &Maintenance) -> i64 {
    i64::try_from(entry.until_idle.as_millis()).unwrap_or(i64::MAX)
}

/// Only programs that lie where nobody but root can put them have a name that counts.
fn ran_below(writer: &Writer, process: &str) -> bool {
    let mut chain = std::iter::once(&writer.program).chain(&writer.parents);
    chain.any(|program| class::named(program, &[process], None).is_some())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::watch::who::Program;

    fn policy() -> Vec<Maintenance> {
        let (process, until_idle) = ("unattended-upgrade".to_owned(), Duration::from_secs(600));
        vec![Maintenance { process, until_idle }]
    }

    fn writer(exe: &str, parent: Option<&str>) -> Writer {
        let program = |exe: &str| Program { pid: 7, exe: Some(exe.into()), script: None };
        let mut writer = Writer::unknown(7);
        writer.program = program(exe);
        writer.parents = parent.map(program).into_iter().collect();
        writer
    }

    fn change(at_s: i64, writers: Vec<Writer>) -> Attribution {
        Attribution { seen_at_ms: at_s * 1000, after_ms: None, writers, more_writers: 0 }
    }

    fn scanned(after_s: i64, at_s: i64) -> Attribution {
        Attribution { after_ms: Some(after_s * 1000), ..change(at_s, Vec::new()) }
    }

    #[test]
    fn only_what_the_program_did_or_nobody_else_can_have_done_is_expected() {
        let (policy, mut windows) = (policy(), Windows::default());
        let mut expected = |change: &Attribution| windows.is_expected(&policy, change);
        let upgrade = || writer("/usr/bin/dpkg", Some("/usr/bin/unattended-upgrade"));
        assert!(!expected(&scanned(90, 100)), "nothing is at work yet");
        assert!(expected(&change(100, vec![upgrade()])));
        assert!(!expected(&change(101, vec![writer("/usr/bin/vim", None)])), "somebody else");
        assert!(!expected(&change(102, vec![upgrade(), writer("/usr/bin/vim", None)])));
        assert!(!expected(&change(103, vec![writer("/tmp/unattended-upgrade", None)])));
        let more = Attribution { more_writers: 1, ..change(104, vec![upgrade()]) };
        assert!(!expected(&more), "nobody knows who the others were");
        assert!(expected(&scanned(100, 700)), "until it was idle for ten minutes");
        assert!(!expected(&scanned(99, 700)), "it can have happened before");
        assert!(!expected(&scanned(100, 705)), "it can have happened after");
        assert!(expected(&change(1000, vec![upgrade()])), "its next run");
        assert!(!expected(&scanned(100, 1000)));
    }
}
