//! A journal as it is read, whoever wrote it.

use super::record::{RECORD_BYTES, decode};
use super::write::Writer;
use super::{
    BATCH_BYTES_MAX, BATCH_RECORDS_MAX, CHECK_BYTES, COUNT_BYTES, Check, MAGIC, PREFIX_BYTES,
    SETTINGS_BYTES_MAX, check,
};
use crate::outcome::Record;
use crate::settings::{Settings, SettingsError};

/// Takes a journal piece by piece and gives its records batch by batch. Holds at most one batch.
#[derive(Debug, Default)]
pub struct Reader {
    /// The beginning of a part that is not yet whole.
    held: Vec<u8>,
    begun: Option<(Settings, Check)>,
    whole_bytes: u64,
    batches: u64,
    broken: Option<Broken>,
    left_bytes: u64,
}

/// Why these bytes are no journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// They begin otherwise.
    #[error("read a journal that does not begin as one of a judge")]
    Magic,
    /// There is less than a header.
    #[error("read a journal whose header is cut off")]
    Cut,
    /// The header is not as it was written.
    #[error("read a journal whose header was changed or damaged")]
    Header,
    /// Not settings.
    #[error("read a journal's settings")]
    Settings(#[source] serde_json::Error),
    /// Settings that make no sense.
    #[error("judge as a journal says")]
    Refused(#[from] SettingsError),
}

/// Why reading ended before the bytes did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Broken {
    /// The last batch is cut off, as by a crash.
    Cut,
    /// A batch that is not as it was written, or not where it was.
    Check,
    /// No record, or too many, or something else.
    Record,
}

impl Broken {
    /// In words, as what there is.
    pub fn words(self) -> &'static str {
        match self {
            Self::Cut => "a batch that is cut off",
            Self::Check => "a batch that was changed, damaged or moved",
            Self::Record => "a batch of what are no records",
        }
    }
}

/// How far a journal could be read.
#[derive(Debug)]
pub struct End {
    /// Up to here, with whole batches.
    pub whole_bytes: u64,
    /// So many of them.
    pub batches: u64,
    /// What comes then, if anything, and how many bytes of it there are.
    pub broken: Option<(Broken, u64)>,
    /// Goes on at `whole_bytes`.
    pub writer: Writer,
}

/// What the bytes at hand are the beginning of.
enum Part {
    /// Of something that has so many bytes at least.
    Beginning(usize),
    /// Of a part that is whole and has so many bytes.
    Whole(usize),
    Broken(Broken),
}

impl Reader {
    /// Before the first piece.
    pub fn new() -> Self {
        Self::default()
    }

    /// The settings, once the header was there.
    pub fn settings(&self) -> Option<&Settings> {
        self.begun.as_ref().map(|(settings, _)| settings)
    }

    /// One more piece, however long: `each` gets the settings, and a record, for every record of
    /// every batch that is whole now.
    pub fn push(
        &mut self,
        mut piece: &[u8],
        mut each: impl FnMut(&Settings, &Record),
    ) -> Result<(), JournalError> {
        loop {
            if self.broken.is_some() {
                self.left_bytes += piece.len() as u64;
                return Ok(());
            }
            if self.held.is_empty() {
                match self.part(piece, &mut each)? {
                    Part::Whole(bytes) => piece = &piece[bytes..],
                    Part::Broken(broken) => self.broken = Some(broken),
                    Part::Beginning(_) => {
                        self.held.extend(piece);
                        return Ok(());
                    }
                }
                continue;
            }
            let held = std::mem::take(&mut self.held);
            match self.part(&held, &mut each)? {
                Part::Whole(_) => {}
                Part::Broken(broken) => {
                    self.broken = Some(broken);
                    self.left_bytes += held.len() as u64;
                }
                Part::Beginning(bytes) => {
                    self.held = held;
                    let missing = bytes - self.held.len();
                    let (next, rest) = piece.split_at(missing.min(piece.len()));
                    self.held.extend(next);
                    piece = rest;
                    if next.len() < missing {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// There is no more.
    pub fn finish(self) -> Result<End, JournalError> {
        let Some((_, last)) = self.begun else { return Err(JournalError::Cut) };
        let left_bytes = self.left_bytes + self.held.len() as u64;
        let cut = (!self.held.is_empty()).then_some(Broken::Cut);
        Ok(End {
            whole_bytes: self.whole_bytes,
            batches: self.batches,
            broken: self.broken.or(cut).map(|broken| (broken, left_bytes)),
            writer: Writer::after(last),
        })
    }

    fn part(
        &mut self,
        bytes: &[u8],
        each: &mut impl FnMut(&Settings, &Record),
    ) -> Result<Part, JournalError> {
        match self.begun {
            None => self.header(bytes),
            Some((settings, last)) => {
                let (part, last) = batch(bytes, last, |record| each(&settings, record));
                if let Part::Whole(bytes) = part {
                    self.begun = Some((settings, last));
                    self.whole_bytes += bytes as u64;
                    self.batches += 1;
                }
                Ok(part)
            }
        }
    }

    fn header(&mut self, bytes: &[u8]) -> Result<Part, JournalError> {
        let begins = bytes.len().min(MAGIC.len());
        if bytes[..begins] != MAGIC[..begins] {
            return Err(JournalError::Magic);
        }
        let Some(prefix) = bytes.get(..PREFIX_BYTES) else {
            return Ok(Part::Beginning(PREFIX_BYTES));
        };
        let length = count(&prefix[MAGIC.len()..]);
        if length > SETTINGS_BYTES_MAX {
            return Err(JournalError::Header);
        }
        let whole = PREFIX_BYTES + length + CHECK_BYTES;
        let Some(bytes) = bytes.get(..whole) else { return Ok(Part::Beginning(whole)) };
        let (part, last) = bytes.split_at(PREFIX_BYTES + length);
        let last = checked(None, part, last).ok_or(JournalError::Header)?;
        let settings: Settings =
            serde_json::from_slice(&part[PREFIX_BYTES..]).map_err(JournalError::Settings)?;
        settings.check()?;
        self.begun = Some((settings, last));
        self.whole_bytes = whole as u64;
        Ok(Part::Whole(whole))
    }
}

/// A batch, of which all records are there and make sense before any is given.
fn batch(bytes: &[u8], last: Check, each: impl FnMut(&Record)) -> (Part, Check) {
    let Some(prefix) = bytes.get(..COUNT_BYTES) else {
        // Nothing is the beginning of everything, and no batch.
        return (Part::Beginning(COUNT_BYTES), last);
    };
    let records = count(prefix);
    if records == 0 || records > BATCH_RECORDS_MAX {
        return (Part::Broken(Broken::Record), last);
    }
    let whole = COUNT_BYTES + records * RECORD_BYTES + CHECK_BYTES;
    debug_assert!(whole <= BATCH_BYTES_MAX);
    let Some(bytes) = bytes.get(..whole) else { return (Part::Beginning(whole), last) };
    let (part, check) = bytes.split_at(whole - CHECK_BYTES);
    let Some(check) = checked(Some(last), part, check) else {
        return (Part::Broken(Broken::Check), last);
    };
    let (records, _) = part[COUNT_BYTES..].as_chunks::<RECORD_BYTES>();
    let Some(records) = records.iter().map(decode).collect::<Option<Vec<Record>>>() else {
        return (Part::Broken(Broken::Record), last);
    };
    records.iter().for_each(each);
    (Part::Whole(whole), check)
}

/// The number of what follows.
fn count(bytes: &[u8]) -> usize {
    let count = bytes.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// The check, if it is the part's.
fn checked(before: Option<Check>, part: &[u8], is: &[u8]) -> Option<Check> {
    let check = check(before, part);
    (check == is).then_some(check)
}
