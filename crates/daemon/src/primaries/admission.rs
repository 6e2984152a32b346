//! What an agent may say: everything it says is another machine's word.
//!
//! A machine that was taken over says what it likes, as often and as much as it likes. It can
//! lie about itself; it must not fill this machine's memory or database. What is beyond a bound
//! ends the conversation, with the reason; only who made a change is cut to what is kept of it,
//! since anybody on that machine can make a command line long.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::time::Instant;

use umbra_drift::discrepancy::Attribution;
use umbra_drift::reading::{Item, Reading, Value};
use umbra_drift::watch::who::Writer;
use umbra_drift::wire::{READINGS_MAX, Tell};

/// Items of one primary: a tree has at most half as many.
const ITEMS_MAX: usize = 2_000_000;
/// Bytes of all readings of one primary.
const BYTES_MAX: u64 = 512 << 20;
/// Bytes of a line that is no reading, file or report.
const PLAIN_BYTES_MAX: u64 = 64 << 10;
/// Bytes of a report, or of a refusal with all the problems of a configuration.
const REPORT_BYTES_MAX: u64 = 1 << 20;
/// Bytes of who made a change.
const WRITERS_BYTES_MAX: usize = 64 << 10;
/// What is remembered of an item besides its bytes.
const ITEM_BYTES: u64 = 128;
/// Words besides readings and answers: so many at once, and so many more each second.
const WORDS_AT_ONCE: f64 = 2_000.0;
const WORDS_PER_SECOND: f64 = 10.0;
/// The year 9999, in milliseconds since 1970 UTC.
const TIME_MAX_MS: i64 = 253_402_300_799_000;

/// Keeps account of what one agent has said.
#[derive(Debug)]
pub(super) struct Admission {
    /// The parameters it was told to read.
    parameters: BTreeSet<String>,
    hasher: RandomState,
    /// What each item weighs, by its keyed hash.
    known: Account,
    /// The same of an answer with all readings that is not complete.
    gathered: Option<Account>,
    words: f64,
    words_at: Instant,
}

#[derive(Debug, Default)]
struct Account {
    weights: HashMap<u64, u64>,
    bytes: u64,
}

impl Admission {
    /// For an agent that was told to read these parameters.
    pub(super) fn new(parameters: BTreeSet<String>, now: Instant) -> Self {
        Self {
            parameters,
            hasher: RandomState::new(),
            known: Account::default(),
            gathered: None,
            words: WORDS_AT_ONCE,
            words_at: now,
        }
    }

    /// Whether this may be said, `bytes` long as it came; if not why, as a sentence after
    /// "because".
    pub(super) fn admit(
        &mut self,
        tell: &mut Tell,
        bytes: u64,
        now: Instant,
    ) -> Result<(), String> {
        match tell {
            Tell::All { readings, last, .. } => {
                let mut gathered = self.gathered.take().unwrap_or_default();
                self.weigh(&mut gathered, readings)?;
                match *last {
                    true => self.known = gathered,
                    false => self.gathered = Some(gathered),
                }
                Ok(())
            }
            Tell::Changed { readings, attribution, .. } => {
                if readings.len() > READINGS_MAX {
                    return Err(format!("it tells more than {READINGS_MAX} changes at once"));
                }
                if let Some(attribution) = attribution {
                    shorten(attribution);
                }
                let mut known = std::mem::take(&mut self.known);
                let weighed = self.weigh(&mut known, readings);
                self.known = known;
                weighed
            }
            // As long as a line: the files were asked for.
            Tell::Files { .. } => Ok(()),
            Tell::Refused { .. } | Tell::RolledBack { .. } => short(bytes, REPORT_BYTES_MAX),
            Tell::Receipt(_) | Tell::Coverage(_) | Tell::Warning { .. } => {
                short(bytes, PLAIN_BYTES_MAX)?;
                self.spend_a_word(now)
            }
            Tell::Ready { .. }
            | Tell::Alive { .. }
            | Tell::Surveyed(_)
            | Tell::Forgotten
            | Tell::Failed { .. } => short(bytes, PLAIN_BYTES_MAX),
        }
    }

    fn weigh(&self, account: &mut Account, readings: &[(Item, Reading)]) -> Result<(), String> {
        for (item, reading) in readings {
            if !self.parameters.contains(&item.parameter) {
                return Err("it tells of a parameter that it was not told to read".to_owned());
            }
            account.put(self.hasher.hash_one(item), weight(item, reading));
        }
        if account.weights.len() > ITEMS_MAX {
            return Err(format!("it tells of more than {ITEMS_MAX} facts"));
        }
        if account.bytes > BYTES_MAX {
            return Err(format!("its readings are longer than {} MiB", BYTES_MAX >> 20));
        }
        Ok(())
    }

    fn spend_a_word(&mut self, now: Instant) -> Result<(), String> {
        let since = now.saturating_duration_since(self.words_at).as_secs_f64();
        self.words_at = now;
        self.words = (self.words + since * WORDS_PER_SECOND).min(WORDS_AT_ONCE) - 1.0;
        if self.words < 0.0 {
            return Err("it sends receipts and warnings without end".to_owned());
        }
        Ok(())
    }
}

impl Account {
    /// An item weighs this now; nothing where it is absent.
    fn put(&mut self, item: u64, weight: Option<u64>) {
        let before = match weight {
            Some(weight) => self.weights.insert(item, weight),
            None => self.weights.remove(&item),
        };
        let after = self.bytes.saturating_sub(before.unwrap_or(0));
        self.bytes = after.saturating_add(weight.unwrap_or(0));
    }
}

fn weight(item: &Item, reading: &Reading) -> Option<u64> {
    let name = item.parameter.len() + item.part.as_ref().map_or(0, |part| part.0.len());
    let said = match reading {
        Reading::Absent if item.part.is_some() => return None,
        Reading::Absent => 0,
        Reading::Unreadable { why } => why.len(),
        Reading::Present(Value { content, attributes }) => {
            let content = content.as_ref().and_then(|content| content.bytes());
            let attributes = attributes.values().map(|value| value.0.len());
            content.map_or(0, <[u8]>::len) + attributes.sum::<usize>()
        }
    };
    Some(ITEM_BYTES + (name + said) as u64)
}

fn short(bytes: u64, max: u64) -> Result<(), String> {
    match bytes <= max {
        true => Ok(()),
        false => Err(format!("it says something that is longer than {} KiB", max >> 10)),
    }
}

/// Keeps of who made a change what can be kept with each reading it made, and times that are.
fn shorten(attribution: &mut Attribution) {
    let Attribution { seen_at_ms, after_ms, writers, more_writers } = attribution;
    *seen_at_ms = (*seen_at_ms).clamp(0, TIME_MAX_MS);
    *after_ms = after_ms.map(|at| at.clamp(0, TIME_MAX_MS));
    let mut bytes = 0;
    let fits = |writer: &&Writer| {
        bytes += serde_json::to_vec(writer).map_or(WRITERS_BYTES_MAX, |json| json.len());
        bytes <= WRITERS_BYTES_MAX
    };
    let kept = writers.iter().take_while(fits).count();
    let gone = (writers.len() - kept) as u64;
    writers.truncate(kept);
    *more_writers = more_writers.saturating_add(gone);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use umbra_drift::config::Provenance;

    use super::*;

    fn admission() -> Admission {
        Admission::new(["etc".to_owned()].into(), Instant::now())
    }

    fn all(readings: Vec<(Item, Reading)>, last: bool) -> Tell {
        Tell::All { number: None, readings, last }
    }

    fn changed(readings: Vec<(Item, Reading)>) -> Tell {
        Tell::Changed { readings, attribution: None, provenance: Provenance::Unexplained }
    }

    fn part(number: usize) -> Item {
        Item::part("etc", format!("/etc/{number}").as_bytes())
    }

    #[track_caller]
    fn refused(said: Result<(), String>, words: &str) {
        let why = said.expect_err("refused");
        assert!(why.contains(words), "{why}");
    }

    #[test]
    fn only_what_it_was_told_to_read_is_read() {
        let other = vec![(Item::whole("other"), Reading::text("1"))];
        let (mut admission, now) = (admission(), Instant::now());
        refused(admission.admit(&mut all(other.clone(), true), 9, now), "not told to read");
        refused(admission.admit(&mut changed(other), 9, now), "not told to read");
    }

    #[test]
    fn readings_are_bounded_however_they_arrive() {
        let large = |number| (part(number), Reading::text(vec![b'x'; 8 << 20]));
        let enough = (BYTES_MAX >> 23) as usize + 1;
        let now = Instant::now();
        let mut gathers = admission();
        let mut said =
            (0..enough).map(|one| gathers.admit(&mut all(vec![large(one)], false), 1, now));
        refused(said.find(Result::is_err).expect("refused"), "512 MiB");
        let mut changes = admission();
        let mut said = (0..enough).map(|one| changes.admit(&mut changed(vec![large(one)]), 1, now));
        refused(said.find(Result::is_err).expect("refused"), "512 MiB");
        // The same item again is no more than it was.
        let mut again = admission();
        for _ in 0..2 * enough {
            again.admit(&mut changed(vec![large(1)]), 1, now).expect("admitted");
        }
        let mut comes_and_goes = admission();
        for number in 0..2 * enough {
            comes_and_goes.admit(&mut changed(vec![large(number)]), 1, now).expect("admitted");
            let gone = vec![(part(number), Reading::Absent)];
            comes_and_goes.admit(&mut changed(gone), 1, now).expect("admitted");
        }
        assert_eq!(comes_and_goes.known.bytes, 0);
        let many = (0..=READINGS_MAX).map(|one| (part(one), Reading::Absent)).collect();
        refused(again.admit(&mut changed(many), 1, now), "at once");
    }

    #[test]
    fn facts_are_counted() {
        let mut admission = admission();
        let mut said = Ok(());
        for from in (0..=ITEMS_MAX).step_by(100_000) {
            let readings = (from..from + 100_000).map(|one| (part(one), Reading::text("")));
            said = admission.admit(&mut all(readings.collect(), false), 1, Instant::now());
        }
        refused(said, "2000000 facts");
    }

    #[test]
    fn who_talks_without_end_is_refused_and_who_talks_slowly_is_not() {
        let warning = || Tell::Warning { what: "again".to_owned() };
        let (mut fast, now) = (admission(), Instant::now());
        let mut said = (0..3_000).map(|_| fast.admit(&mut warning(), 20, now));
        refused(said.find(Result::is_err).expect("refused"), "without end");
        let mut slow = admission();
        for number in 0..10_000 {
            let at = now + Duration::from_millis(200) * number;
            slow.admit(&mut warning(), 20, at).expect("admitted");
        }
        refused(slow.admit(&mut warning(), 65 << 10, now), "64 KiB");
        refused(slow.admit(&mut Tell::Refused { why: String::new() }, 2 << 20, now), "1024 KiB");
    }

    #[test]
    fn who_made_a_change_is_cut_to_what_is_kept() {
        let argv = vec!["x".repeat(4 << 10).into()];
        let writer = Writer { argv, ..Writer::unknown(7) };
        let writers = vec![writer; 100];
        let attribution = Attribution {
            seen_at_ms: i64::MAX,
            after_ms: Some(i64::MIN),
            writers,
            more_writers: 1,
        };
        let readings = vec![(part(1), Reading::text(""))];
        let provenance = Provenance::Unexplained;
        let mut tell = Tell::Changed { readings, attribution: Some(attribution), provenance };
        admission().admit(&mut tell, 1 << 20, Instant::now()).expect("admitted");
        let Tell::Changed { attribution: Some(kept), .. } = tell else { panic!("{tell:?}") };
        assert_eq!((kept.seen_at_ms, kept.after_ms), (TIME_MAX_MS, Some(0)));
        assert!((1..16).contains(&kept.writers.len()), "{}", kept.writers.len());
        assert_eq!(kept.writers.len() as u64 + kept.more_writers, 101);
    }
}
