//! For programs: one object, or a line for each thing.

use serde::Serialize;
use umbra_api::blob::Blob;
use umbra_state::escape::line;

use super::{Check, Told};
use crate::config::{Provenance, Severity};
use crate::discrepancy::Finding;
use crate::reading::Reading;
use crate::render::text::{json, json_pretty};
use crate::render::time::rfc3339;
use crate::render::{argv, program_name};
use crate::watch::who::Writer;

/// The form's number: keys are added under one number, changed only under another.
const VERSION: u32 = 1;
const WRITERS_MAX: usize = 16;

#[derive(Serialize)]
struct Object<'a> {
    #[serde(flatten)]
    summary: Summary,
    discrepancies: Vec<One<'a>>,
    unread: Vec<Unread>,
}

#[derive(Serialize)]
struct Summary {
    version: u32,
    primary: String,
    shadow_at: String,
    checked_at: String,
    parameters: u64,
    items: u64,
    drifted: usize,
    not_read: usize,
    severities: std::collections::BTreeMap<&'static str, usize>,
}

#[derive(Serialize)]
struct One<'a> {
    parameter: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<&'a Blob>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    severity: Severity,
    provenance: Provenance,
    what: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    difference: Vec<String>,
    more_lines: usize,
    findings: &'a [Finding],
    shadow: &'a Reading,
    primary: &'a Reading,
    #[serde(skip_serializing_if = "Option::is_none")]
    tolerance: Option<String>,
    who: &'a [String],
    writers: Vec<By>,
}

#[derive(Serialize)]
struct By {
    pid: i32,
    program: Option<String>,
    argv: Vec<String>,
    uid: Option<u32>,
    login_uid: Option<u32>,
    parents: Vec<String>,
    unit: Option<String>,
    session: Option<String>,
    container: Option<String>,
}

#[derive(Serialize)]
struct Unread {
    parameter: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<Blob>,
    why: String,
}

/// What a line is about.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Line<'a> {
    Discrepancy(One<'a>),
    Unread(Unread),
    Summary(Summary),
}

pub(super) fn object(check: &Check, told: &[Told<'_>]) -> String {
    let object = Object {
        summary: summary(check),
        discrepancies: told.iter().map(one).collect(),
        unread: check.unread.iter().map(unread).collect(),
    };
    json_pretty(&object) + "\n"
}

/// The sum comes last: who has read it has read all.
pub(super) fn lines(check: &Check, told: &[Told<'_>]) -> String {
    let found = told.iter().map(|told| Line::Discrepancy(one(told)));
    let unread = check.unread.iter().map(|one| Line::Unread(unread(one)));
    let lines = found.chain(unread).chain([Line::Summary(summary(check))]);
    lines.map(|line| json(&line) + "\n").collect()
}

fn summary(check: &Check) -> Summary {
    let severities = check.severities();
    Summary {
        version: VERSION,
        primary: line(check.primary.as_bytes(), 300),
        shadow_at: rfc3339(check.shadow_at_ms),
        checked_at: rfc3339(check.checked_at_ms),
        parameters: check.parameters,
        items: check.items,
        drifted: check.entries.len(),
        not_read: check.unread.len(),
        severities: severities.iter().map(|(word, count)| (word.as_str(), *count)).collect(),
    }
}

fn one<'a>(told: &'a Told<'_>) -> One<'a> {
    let (facts, masked) = (&told.facts, &told.facts.masked);
    let writers = told.entry.attribution.iter().flat_map(|who| &who.writers);
    One {
        parameter: &masked.item.parameter,
        part: masked.item.part.as_ref(),
        path: facts.path.as_deref(),
        severity: masked.severity,
        provenance: masked.provenance,
        what: &facts.what,
        since: told.entry.since_ms.map(rfc3339),
        difference: facts.lines.iter().map(|line| line.signed()).collect(),
        more_lines: facts.more_lines,
        findings: &masked.findings,
        shadow: &masked.shadow,
        primary: &masked.primary,
        tolerance: facts.tolerance(),
        who: &facts.who,
        writers: writers.take(WRITERS_MAX).map(by).collect(),
    }
}

fn by(writer: &Writer) -> By {
    let shown = |name: &Option<String>| name.as_ref().map(|name| line(name.as_bytes(), 200));
    By {
        pid: writer.pid,
        program: program_name(&writer.program),
        argv: argv(writer),
        uid: writer.uid,
        login_uid: writer.login_uid,
        parents: writer.parents.iter().filter_map(program_name).take(16).collect(),
        unit: shown(&writer.origin.unit),
        session: shown(&writer.origin.session),
        container: shown(&writer.origin.container),
    }
}

fn unread(unread: &super::Unread) -> Unread {
    Unread {
        parameter: unread.item.parameter.clone(),
        part: unread.item.part.clone(),
        why: line(unread.why.as_bytes(), 300),
    }
}
