//! A record in 16 bytes.
//!
//! | bytes | of an outcome | of anything else |
//! |---|---|---|
//! | 0 to 7 | its unit | a number as IEEE 754 has it |
//! | 8 to 11 | its latency | 0 |
//! | 12, 13 | its stage | 0 |
//! | 14 | what it is: bits 0 to 2; two flags: bits 3 and 4 | the same |
//! | 15 | thresholds told before | 0 |
//!
//! The least byte of a number comes first.

use crate::arm::Arm;
use crate::outcome::{Decision, Kind, Outcome, Record};

/// Of one record.
pub const RECORD_BYTES: usize = 16;

const ENDED: u8 = 0;
const HUNG: u8 = 1;
const STAGE: u8 = 2;
const DIFFERENCES: u8 = 3;
const DECISION: u8 = 4;

const TAG: u8 = 0b111;
const FIRST: u8 = 1 << 3;
const SECOND: u8 = 1 << 4;

/// The record as it is written.
pub fn encode(record: &Record) -> [u8; RECORD_BYTES] {
    match record {
        Record::Outcome(outcome) => encode_outcome(outcome),
        Record::Stage { weight } => number(*weight, STAGE, false, false),
        Record::Differences { log_e } => number(*log_e, DIFFERENCES, false, false),
        Record::Decision(Decision { log_e, worse, proved }) => {
            number(*log_e, DECISION, *worse, *proved)
        }
    }
}

/// What these bytes say; `None` where [`encode`] makes no such bytes of anything that makes sense.
pub fn decode(bytes: &[u8; RECORD_BYTES]) -> Option<Record> {
    let [u0, u1, u2, u3, u4, u5, u6, u7, l0, l1, l2, l3, s0, s1, flags, hung] = *bytes;
    let unit = u64::from_le_bytes([u0, u1, u2, u3, u4, u5, u6, u7]);
    let latency_us = u32::from_le_bytes([l0, l1, l2, l3]);
    let stage = u16::from_le_bytes([s0, s1]);
    if flags & !(TAG | FIRST | SECOND) != 0 {
        return None;
    }
    let (tag, first, second) = (flags & TAG, flags & FIRST != 0, flags & SECOND != 0);
    if tag == ENDED || tag == HUNG {
        let arm = if first { Arm::Candidate } else { Arm::Baseline };
        let kind = if tag == ENDED { Kind::Ended } else { Kind::Hung };
        let outcome = Outcome { unit, arm, stage, latency_us, failed: second, hung, kind };
        return Some(Record::Outcome(outcome));
    }
    let number = f64::from_bits(unit);
    let plain = !first && !second;
    let makes_sense = (latency_us, stage, hung) == (0, 0, 0) && number.is_finite();
    match tag {
        _ if !makes_sense => None,
        STAGE if plain && (0.0..=1.0).contains(&number) => Some(Record::Stage { weight: number }),
        DIFFERENCES if plain => Some(Record::Differences { log_e: number }),
        DECISION => {
            Some(Record::Decision(Decision { log_e: number, worse: first, proved: second }))
        }
        _ => None,
    }
}

fn encode_outcome(outcome: &Outcome) -> [u8; RECORD_BYTES] {
    let tag = if outcome.kind == Kind::Ended { ENDED } else { HUNG };
    let flags = flags(tag, outcome.arm == Arm::Candidate, outcome.failed);
    bytes(outcome.unit, outcome.latency_us, outcome.stage, flags, outcome.hung)
}

fn number(number: f64, tag: u8, first: bool, second: bool) -> [u8; RECORD_BYTES] {
    bytes(number.to_bits(), 0, 0, flags(tag, first, second), 0)
}

fn flags(tag: u8, first: bool, second: bool) -> u8 {
    tag | if first { FIRST } else { 0 } | if second { SECOND } else { 0 }
}

fn bytes(unit: u64, latency_us: u32, stage: u16, flags: u8, hung: u8) -> [u8; RECORD_BYTES] {
    let mut bytes = [0; RECORD_BYTES];
    bytes[..8].copy_from_slice(&unit.to_le_bytes());
    bytes[8..12].copy_from_slice(&latency_us.to_le_bytes());
    bytes[12..14].copy_from_slice(&stage.to_le_bytes());
    (bytes[14], bytes[15]) = (flags, hung);
    bytes
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Any record that makes sense.
    pub(crate) fn records() -> impl Strategy<Value = Record> {
        let flag = any::<bool>;
        let outcome = (any::<u64>(), flag(), 0_u16..6, any::<u32>(), flag(), 0_u8..5, flag());
        let outcome =
            outcome.prop_map(|(unit, candidate, stage, latency_us, failed, hung, ended)| {
                let arm = if candidate { Arm::Candidate } else { Arm::Baseline };
                let kind = if ended { Kind::Ended } else { Kind::Hung };
                Record::Outcome(Outcome { unit, arm, stage, latency_us, failed, hung, kind })
            });
        let decision = (-700.0_f64..700.0, flag(), flag())
            .prop_map(|(log_e, worse, proved)| Record::Decision(Decision { log_e, worse, proved }));
        prop_oneof![
            20 => outcome,
            1 => (0.0_f64..=1.0).prop_map(|weight| Record::Stage { weight }),
            1 => (-700.0_f64..700.0).prop_map(|log_e| Record::Differences { log_e }),
            1 => decision,
        ]
    }

    #[test]
    fn an_outcome_has_a_known_form() {
        let outcome = Outcome {
            unit: 0x0102_0304_0506_0708,
            arm: Arm::Candidate,
            stage: 0x0a0b,
            latency_us: 0x0c0d_0e0f,
            failed: true,
            hung: 2,
            kind: Kind::Hung,
        };
        let bytes = encode(&Record::Outcome(outcome));
        assert_eq!(bytes, [8, 7, 6, 5, 4, 3, 2, 1, 15, 14, 13, 12, 11, 10, 0b11001, 2]);
    }

    #[test]
    fn what_makes_no_sense_is_no_record() {
        let sense = encode(&Record::Stage { weight: 0.25 });
        assert!(decode(&sense).is_some());
        for (place, byte) in [(8, 1), (12, 1), (14, 5), (14, 7), (14, 0b1010), (14, 0x82), (15, 1)]
        {
            let mut bytes = sense;
            bytes[place] = byte;
            assert_eq!(decode(&bytes), None, "byte {place} is {byte}");
        }
        for weight in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert_eq!(decode(&encode(&Record::Stage { weight })), None, "{weight}");
        }
        assert_eq!(decode(&encode(&Record::Differences { log_e: f64::NAN })), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(record in records()) {
            prop_assert_eq!(decode(&encode(&record)), Some(record));
        }

        #[test]
        fn what_is_read_is_written_the_same(bytes in any::<[u8; RECORD_BYTES]>(), flags in 0_u8..40) {
            let mut bytes = bytes;
            bytes[14] = flags;
            if let Some(record) = decode(&bytes) {
                prop_assert_eq!(encode(&record), bytes);
            }
        }
    }
}
