//! A journal as it is written.

use super::{BATCH_RECORDS_MAX, Check, MAGIC, check, record};
use crate::outcome::Record;
use crate::settings::Settings;

/// Knows what the next batch is tied to.
#[derive(Debug, Clone)]
pub struct Writer(Check);

impl Writer {
    /// A new journal: `out` gets its header.
    pub fn begin(settings: &Settings, out: &mut Vec<u8>) -> Self {
        let json = match serde_json::to_vec(settings) {
            Ok(json) => json,
            Err(_) => unreachable!("numbers, flags and names are always written"),
        };
        Self(sealed(out, None, |out| {
            out.extend(MAGIC);
            // Some hundred bytes.
            out.extend((json.len() as u32).to_le_bytes());
            out.extend(&json);
        }))
    }

    /// One that was read goes on, after its whole batches.
    pub(crate) fn after(last: Check) -> Self {
        Self(last)
    }

    /// `out` gets these records, in as few batches as they take: none where there is no record.
    pub fn batch(&mut self, records: &[Record], out: &mut Vec<u8>) {
        for records in records.chunks(BATCH_RECORDS_MAX) {
            self.0 = sealed(out, Some(self.0), |out| {
                out.extend((records.len() as u32).to_le_bytes());
                records.iter().for_each(|record| out.extend(record::encode(record)));
            });
        }
    }
}

fn sealed(out: &mut Vec<u8>, before: Option<Check>, write: impl FnOnce(&mut Vec<u8>)) -> Check {
    let begin = out.len();
    write(out);
    let check = check(before, &out[begin..]);
    out.extend(check);
    check
}
