use proptest::prelude::*;

use super::*;
use crate::arm::Arm;
use crate::journal::read::Broken;
use crate::journal::record::tests::records;
use crate::journal::write::Writer;
use crate::outcome::{Kind, Outcome};
use crate::settings::{Metrics, Settings};

/// A rollout of outcomes that are drawn, with a decision recorded after every batch.
fn rollout(settings: &Settings, outcomes: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = Writer::begin(settings, &mut bytes);
    let mut trial = Trial::new(*settings).unwrap();
    let mut rng = fastrand::Rng::with_seed(1);
    let mut batch = Vec::new();
    let mut stage = 0;
    for n in 0..outcomes {
        if n % (outcomes / 4) == 0 {
            stage = (4 * n / outcomes) as u16;
            batch.push(Record::Stage { weight: [0.0, 0.05, 0.25, 0.5][usize::from(stage)] });
        }
        let arm = match rng.f64() < [0.0, 0.05, 0.25, 0.5][usize::from(stage)] {
            true => Arm::Candidate,
            false => Arm::Baseline,
        };
        let unit = rng.u64(0..outcomes);
        let (latency_us, failed, kind) = (rng.u32(100..90_000), rng.f64() < 0.01, Kind::Ended);
        batch.push(Record::Outcome(Outcome {
            unit,
            arm,
            stage,
            latency_us,
            failed,
            hung: 0,
            kind,
        }));
        if batch.len() >= 500 {
            batch.iter().for_each(|record| trial.on(record));
            batch.push(Record::Decision(trial.decision()));
            writer.batch(&batch, &mut bytes);
            batch.clear();
        }
    }
    bytes
}

#[test]
fn decisions_are_reproduced_to_the_last_bit() {
    for sticky in [false, true] {
        let settings = Settings { sticky, ..Settings::default() };
        let bytes = rollout(&settings, 40_000);
        let replayed = replay(&bytes).unwrap();
        assert_eq!((replayed.decisions, replayed.different), (80, 0));
        assert_eq!(replayed.end.whole_bytes, bytes.len() as u64);
        assert_eq!(replayed.end.broken, None);
        assert_eq!(replayed.trial.settings(), &settings);
        let mut pieces = Replay::new();
        bytes.chunks(977).for_each(|piece| pieces.push(piece).unwrap());
        let pieces = pieces.finish().unwrap();
        assert!(pieces.trial.decision().is_exactly(&replayed.trial.decision()));
        assert_eq!(pieces.records, replayed.records);
    }
}

#[test]
fn a_decision_that_is_another_is_told() {
    let mut bytes = Vec::new();
    let mut writer = Writer::begin(&Settings::default(), &mut bytes);
    let is = Trial::new(Settings::default()).unwrap().decision();
    let recorded = Decision { log_e: f64::from_bits(is.log_e.to_bits() + 1), ..is };
    let decisions = [is, recorded].map(Record::Decision);
    writer.batch(&decisions, &mut bytes);
    let replayed = replay(&bytes).unwrap();
    assert_eq!((replayed.decisions, replayed.different), (2, 1));
    assert_eq!(replayed.first, Some(Different { record: 1, recorded, again: is }));
}

#[test]
fn what_is_no_journal_is_refused() {
    #[track_caller]
    fn check(bytes: &[u8], said: &str) {
        let error = replay(bytes).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    let whole = rollout(&Settings::default(), 4);
    check(b"", "cut off");
    check(b"umbra ju", "cut off");
    check(b"umbra capture 1\n", "does not begin");
    check(&whole[..40], "cut off");
    let mut changed = whole.clone();
    changed[30] ^= 1;
    check(&changed, "changed or damaged");
    let mut long = whole.clone();
    long[14..18].copy_from_slice(&u32::MAX.to_le_bytes());
    check(&long, "changed or damaged");
    for (settings, said) in [
        (Settings { alpha: 0.9, ..Settings::default() }, "as a journal says"),
        (Settings { metrics: Metrics::NONE, ..Settings::default() }, "as a journal says"),
    ] {
        let mut bytes = Vec::new();
        Writer::begin(&settings, &mut bytes);
        check(&bytes, said);
    }
}

fn journal() -> impl Strategy<Value = Vec<Vec<Record>>> {
    prop::collection::vec(prop::collection::vec(records(), 1..30), 0..6)
}

/// Its bytes, and where its header and each batch end.
fn written(batches: &[Vec<Record>]) -> (Vec<u8>, Vec<usize>) {
    let mut bytes = Vec::new();
    let mut writer = Writer::begin(&Settings::default(), &mut bytes);
    let mut ends = vec![bytes.len()];
    for batch in batches {
        writer.batch(batch, &mut bytes);
        ends.push(bytes.len());
    }
    (bytes, ends)
}

fn read(bytes: &[u8], piece: usize) -> (Vec<Record>, End) {
    let (mut reader, mut all) = (Reader::new(), Vec::new());
    bytes
        .chunks(piece)
        .for_each(|piece| reader.push(piece, |_, record| all.push(*record)).unwrap());
    (all, reader.finish().unwrap())
}

proptest! {
    #[test]
    fn what_is_written_is_read(batches in journal(), piece in 1_usize..2_000) {
        let (bytes, _) = written(&batches);
        let (all, end) = read(&bytes, piece);
        prop_assert_eq!(all, batches.concat());
        prop_assert_eq!(end.broken, None);
        prop_assert_eq!((end.whole_bytes, end.batches), (bytes.len() as u64, batches.len() as u64));
    }

    /// Wherever it is cut off it is read up to the last whole batch, and goes on from there.
    #[test]
    fn a_torn_tail_costs_one_batch(batches in journal(), cut in any::<prop::sample::Index>(), piece in 1_usize..2_000) {
        let (bytes, ends) = written(&batches);
        let cut = ends[0] + cut.index(bytes.len() - ends[0] + 1);
        let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
        let (all, end) = read(&bytes[..cut], piece);
        prop_assert_eq!(&all, &batches[..whole].concat());
        prop_assert_eq!(end.whole_bytes as usize, ends[whole]);
        let left = (cut - ends[whole]) as u64;
        prop_assert_eq!(end.broken, (left > 0).then_some((Broken::Cut, left)));
        let mut again = bytes[..ends[whole]].to_vec();
        let mut writer = end.writer;
        batches[whole..].iter().for_each(|batch| writer.batch(batch, &mut again));
        prop_assert_eq!(again, bytes);
    }

    /// A changed byte, or batches in another order, end the reading there.
    #[test]
    fn what_was_changed_is_not_read(batches in journal(), at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let (mut bytes, ends) = written(&batches);
        prop_assume!(bytes.len() > ends[0]);
        let at = ends[0] + at.index(bytes.len() - ends[0]);
        bytes[at] ^= 1 << bit;
        let whole = ends.iter().filter(|end| **end <= at).count() - 1;
        let (all, end) = read(&bytes, 512);
        prop_assert_eq!(&all, &batches[..whole].concat());
        prop_assert!(end.broken.is_some());
        prop_assert_eq!(end.whole_bytes as usize, ends[whole]);
    }
}
