//! Journals of rollouts, whoever wrote them.

use umbra_judge::arm::Arm;
use umbra_judge::journal::read::Reader;
use umbra_judge::journal::replay::{Replayed, replay};
use umbra_judge::journal::write::Writer;
use umbra_judge::outcome::{Decision, Kind, Outcome, Record};
use umbra_judge::settings::Settings;

use crate::Target;

/// See [`journal`].
pub const JOURNAL: Target = Target {
    name: "judge_journal",
    open: || Box::new(journal),
    seeds: || {
        let sticky = Settings { sticky: true, ..Settings::default() };
        vec![
            written(&Settings::default(), &[]),
            written(&Settings::default(), &[&records(40)]),
            written(&sticky, &[&records(20), &records(60)]),
        ]
    },
    words: &["umbra judge 1\n", "\"alpha\":", "\"sticky\":true", "\u{1}\0\0\0", "\0\u{10}\0\0"],
    cases: 3_000,
    // A judge counts latencies in some thousand buckets, whatever it is told.
    heap_factor: 4_000,
};

fn records(outcomes: u64) -> Vec<Record> {
    let mut records = vec![Record::Stage { weight: 0.0 }, Record::Stage { weight: 0.25 }];
    records.extend((0..outcomes).map(|n| {
        let arm = if n % 3 == 0 { Arm::Candidate } else { Arm::Baseline };
        let kind = if n % 7 == 0 { Kind::Hung } else { Kind::Ended };
        let (unit, latency_us, failed) = (n % 11, 1 << (n % 32), n % 5 == 0);
        Record::Outcome(Outcome { unit, arm, stage: 1, latency_us, failed, hung: 0, kind })
    }));
    records.push(Record::Differences { log_e: 1.5 });
    records.push(Record::Decision(Decision { log_e: 0.0, worse: false, proved: false }));
    records
}

fn written(settings: &Settings, batches: &[&[Record]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = Writer::begin(settings, &mut bytes);
    batches.iter().for_each(|batch| writer.batch(batch, &mut bytes));
    bytes
}

/// A journal is read up to a place within it, the same whatever pieces it comes in, and judged
/// again the same; what was read of it is written and read the same, and judged to a standing of
/// numbers. Bytes whose check does not hold are tried once more with one that does.
pub fn journal(bytes: &[u8]) -> bool {
    let Some(replayed) = judged(bytes) else { return false };
    let (whole, left) = (replayed.end.whole_bytes, replayed.end.broken.map_or(0, |(_, left)| left));
    assert_eq!(whole + left, bytes.len() as u64, "{:?}", replayed.end);
    let (settings, all) = read(bytes, bytes.len().max(1));
    assert_eq!(all.len() as u64, replayed.records);
    assert_eq!(read(bytes, 7).1.len(), all.len());
    let again = judged(&written(&settings, &[&all])).expect("what was written");
    assert_eq!((again.records, again.end.broken), (replayed.records, None));
    assert!(again.trial.decision().is_exactly(&replayed.trial.decision()));
    assert_eq!(again.different, replayed.different);
    any_records(&settings, bytes);
    true
}

/// Mutations seldom have a check that holds: what they would say is judged nevertheless.
fn any_records(settings: &Settings, bytes: &[u8]) {
    let (records, _) = bytes.as_chunks();
    let records: Vec<Record> =
        records.iter().filter_map(umbra_judge::journal::record::decode).collect();
    let replayed = judged(&written(settings, &[&records])).expect("what was written");
    assert_eq!(replayed.records, records.len() as u64);
}

fn judged(bytes: &[u8]) -> Option<Replayed> {
    let replayed = replay(bytes).ok()?;
    let standing = replayed.trial.standing();
    assert!(standing.log_e.is_finite() && standing.log_e_peak >= standing.log_e);
    assert!(standing.worse.is_none() || standing.log_e_peak >= standing.log_limit - 1e-9);
    assert!(replayed.different <= replayed.decisions);
    Some(replayed)
}

fn read(bytes: &[u8], piece: usize) -> (Settings, Vec<Record>) {
    let (mut reader, mut all) = (Reader::new(), Vec::new());
    for piece in bytes.chunks(piece) {
        reader.push(piece, |_, record| all.push(*record)).expect("it was read before");
    }
    (*reader.settings().expect("it has a header"), all)
}
