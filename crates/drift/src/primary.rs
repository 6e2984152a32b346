//! A primary held against its known good shadow, reading by reading.
//!
//! Pure: readings come in, what became of them goes out. It knows what both sides say, so that
//! a reading that is no news costs one lookup, and what differs can be told at any time.

use std::collections::{BTreeMap, BTreeSet};

use crate::alert::is_kept_of;
use crate::compare::{Circumstances, Comparer, Outcome};
use crate::config::{Config, Provenance};
use crate::discrepancy::{Attribution, Discrepancy};
use crate::history::Change;
use crate::reading::{Item, Reading, Snapshot};

/// A primary and its known good shadow.
#[derive(Debug)]
pub struct Primary {
    comparer: Comparer,
    good: Snapshot,
    current: Snapshot,
    differs: BTreeMap<Item, Discrepancy>,
    /// What cannot be compared, and why.
    unknown: BTreeMap<Item, String>,
}

/// How readings came about.
#[derive(Debug, Clone, PartialEq)]
pub struct Circumstance {
    /// Who made them so, and when; `None` if nothing is known.
    pub attribution: Option<Attribution>,
    /// Whether it is known why.
    pub provenance: Provenance,
    /// When they were taken, in milliseconds since 1970 UTC.
    pub at_ms: i64,
}

/// What readings led to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct News {
    /// Readings that are others than before.
    pub changes: Vec<Change>,
    /// Items that differ now, in this way.
    pub differs: Vec<Discrepancy>,
    /// Items that differed and do no more.
    pub agrees: Vec<Item>,
}

impl Primary {
    /// A primary of which nothing has been read yet. Of the items that differed when it was
    /// last known, `open` are those that did.
    pub fn new(config: &Config, good: Snapshot, open: Vec<Discrepancy>) -> Self {
        let differs = open.into_iter().map(|one| (one.item.clone(), one)).collect();
        Self {
            comparer: Comparer::new(config),
            current: Snapshot::default(),
            good,
            differs,
            unknown: BTreeMap::new(),
        }
    }

    /// What the known good shadow says.
    pub fn good(&self) -> &Snapshot {
        &self.good
    }

    /// What the primary said last.
    pub fn current(&self) -> &Snapshot {
        &self.current
    }

    /// What differs.
    pub fn discrepancies(&self) -> impl Iterator<Item = &Discrepancy> {
        self.differs.values()
    }

    /// Whether an item differs.
    pub fn is_drifted(&self, item: &Item) -> bool {
        self.differs.contains_key(item)
    }

    /// What cannot be compared, and why.
    pub fn unknown(&self) -> impl ExactSizeIterator<Item = (&Item, &str)> {
        self.unknown.iter().map(|(item, why)| (item, why.as_str()))
    }

    /// Some items were read.
    pub fn on_readings(&mut self, readings: Vec<(Item, Reading)>, how: &Circumstance) -> News {
        let mut news = News::default();
        for (item, reading) in readings {
            self.on_reading(item, reading, how, &mut news);
        }
        news
    }

    /// All items were read: what is not in there is absent.
    pub fn on_all(&mut self, all: Snapshot, how: &Circumstance) -> News {
        let known = self.current.readings.keys().chain(self.good.readings.keys());
        let gone: Vec<Item> =
            known.filter(|item| !all.readings.contains_key(*item)).cloned().collect();
        let absent = gone.into_iter().map(|item| (item, Reading::Absent));
        self.on_readings(absent.chain(all.readings).collect(), how)
    }

    /// Another shadow is the known good one.
    pub fn on_good(&mut self, good: Snapshot, how: &Circumstance) -> News {
        self.good = good;
        self.again(how)
    }

    /// The configuration is another: what it does not name is not watched any more.
    pub fn on_config(&mut self, config: &Config, how: &Circumstance) -> News {
        self.comparer = Comparer::new(config);
        self.again(how)
    }

    /// The known good shadow with what another snapshot says of some items.
    pub fn good_from(&self, other: &Snapshot, items: &BTreeSet<Item>) -> Snapshot {
        let mut good = self.good.clone();
        for item in items {
            match other.readings.get(item) {
                // A part that is absent is none.
                Some(reading) if item.part.is_none() || *reading != Reading::Absent => {
                    good.readings.insert(item.clone(), reading.clone());
                }
                _ => drop(good.readings.remove(item)),
            }
        }
        good
    }

    fn again(&mut self, how: &Circumstance) -> News {
        let mut news = News::default();
        let items: Vec<Item> =
            self.good.readings.keys().chain(self.current.readings.keys()).cloned().collect();
        for item in items {
            self.judge(item, how, &mut news);
        }
        news
    }

    fn on_reading(&mut self, item: Item, reading: Reading, how: &Circumstance, news: &mut News) {
        let before = self.current.readings.get(&item);
        let is_news = before != Some(&reading);
        // What moves by itself is another each time it is read.
        if let Some(before) = before.filter(|_| is_news && self.comparer.holds(&item)) {
            news.changes.push(Change::new(&item, before, &reading, how));
        }
        if is_news {
            if reading == Reading::Absent && !self.good.readings.contains_key(&item) {
                self.current.readings.remove(&item);
            } else {
                self.current.readings.insert(item.clone(), reading);
            }
            self.judge(item, how, news);
        }
    }

    fn judge(&mut self, item: Item, how: &Circumstance, news: &mut News) {
        let of = |side: &Snapshot| side.readings.get(&item).cloned().unwrap_or(Reading::Absent);
        let (good, current) = (of(&self.good), of(&self.current));
        let before = self.differs.get(&item);
        // What differs as it did is known as well as it was, whoever looks again.
        let same = before
            .filter(|one| is_kept_of(&one.shadow, &good) && is_kept_of(&one.primary, &current));
        let provenance = same.map_or(how.provenance, |one| one.provenance);
        let known = Circumstances { open: before.is_some(), provenance };
        self.unknown.remove(&item);
        match self.comparer.compare(&item, &good, &current, known) {
            Outcome::Differs(discrepancy) => {
                if self.differs.get(&item) != Some(discrepancy.as_ref()) {
                    news.differs.push((*discrepancy).clone());
                }
                self.differs.insert(item, *discrepancy);
            }
            outcome => {
                if let Outcome::Unknown { why } = outcome {
                    self.unknown.insert(item.clone(), why);
                }
                if self.differs.remove(&item).is_some() {
                    news.agrees.push(item);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "[{name: a, path: /a}, {name: t, glob: /t/**}]";

    fn how() -> Circumstance {
        Circumstance { attribution: None, provenance: Provenance::Unexplained, at_ms: 7 }
    }

    fn snapshot(readings: &[(&Item, &str)]) -> Snapshot {
        let readings = readings.iter().map(|(item, text)| ((*item).clone(), Reading::text(*text)));
        Snapshot { readings: readings.collect() }
    }

    fn primary(good: Snapshot) -> Primary {
        let config = crate::config::parse("test", CONFIG).expect("a configuration");
        let mut primary = Primary::new(&config, good.clone(), Vec::new());
        assert_eq!(primary.on_all(good, &how()), News::default(), "equal, and nothing before");
        primary
    }

    fn a() -> Item {
        Item::whole("a")
    }

    fn t(path: &str) -> Item {
        Item::part("t", path.as_bytes())
    }

    #[test]
    fn a_drift_comes_and_goes_and_no_news_is_none() {
        let mut primary = primary(snapshot(&[(&a(), "1")]));
        let news = primary.on_readings(vec![(a(), Reading::text("2"))], &how());
        assert_eq!((news.changes.len(), news.differs.len(), news.agrees.len()), (1, 1, 0));
        let news = primary.on_readings(vec![(a(), Reading::text("2"))], &how());
        assert_eq!(news, News::default());
        assert_eq!(primary.discrepancies().count(), 1);
        let news = primary.on_readings(vec![(a(), Reading::text("1"))], &how());
        assert_eq!((news.changes.len(), news.agrees), (1, vec![a()]));
    }

    #[test]
    fn what_moves_by_itself_is_no_change() {
        let config = "[{name: disk, source: mount, path: /, key: used_percent, expect: {le: 90}},
                       {name: size, source: mount, path: /, key: size_bytes}]";
        let config = crate::config::parse("test", config).expect("a configuration");
        let (disk, size) = (Item::whole("disk"), Item::whole("size"));
        let all = snapshot(&[(&disk, "10"), (&size, "1")]);
        assert_eq!(config.held(&all), snapshot(&[(&size, "1")]));
        // The shadow does not have it, since it is not held against it.
        let mut primary = Primary::new(&config, config.held(&all), Vec::new());
        assert_eq!(primary.on_all(all, &how()), News::default());
        let moved = |value: &str| vec![(disk.clone(), Reading::text(value))];
        assert_eq!(primary.on_readings(moved("50"), &how()), News::default());
        let news = primary.on_readings(moved("91"), &how());
        assert_eq!((news.changes.len(), news.differs.len()), (0, 1));
        assert!(primary.is_drifted(&disk));
        let news = primary.on_readings(moved("20"), &how());
        assert_eq!((news.changes.len(), news.agrees), (0, vec![disk.clone()]));
        let news = primary.on_readings(vec![(size, Reading::text("2"))], &how());
        assert_eq!((news.changes.len(), news.differs.len()), (1, 1));
    }

    #[test]
    fn what_a_full_look_does_not_find_is_absent() {
        let mut primary = primary(snapshot(&[(&t("/t/x"), "1"), (&t("/t/y"), "1")]));
        let news = primary.on_all(snapshot(&[(&t("/t/y"), "1"), (&t("/t/z"), "1")]), &how());
        let items: Vec<_> = news.differs.iter().map(|one| one.item.clone()).collect();
        assert_eq!(items, [t("/t/x"), t("/t/z")]);
        let news = primary.on_readings(vec![(t("/t/z"), Reading::Absent)], &how());
        assert_eq!(news.agrees, [t("/t/z")]);
    }

    #[test]
    fn what_was_open_before_a_restart_closes_after_it() {
        let config = crate::config::parse("test", CONFIG).expect("a configuration");
        let good = snapshot(&[(&a(), "1")]);
        let mut before = Primary::new(&config, good.clone(), Vec::new());
        let news = before.on_all(snapshot(&[(&a(), "2")]), &how());
        let mut after = Primary::new(&config, good.clone(), news.differs);
        assert_eq!(after.on_all(good, &how()).agrees, [a()]);
    }

    #[test]
    fn what_was_expected_before_a_restart_is_so_after_it() {
        let config = crate::config::parse("test", CONFIG).expect("a configuration");
        let (good, drifted) = (snapshot(&[(&a(), "1")]), snapshot(&[(&a(), "2")]));
        let mut before = primary(good.clone());
        let expected = Circumstance { provenance: Provenance::Expected, ..how() };
        let news = before.on_all(drifted.clone(), &expected);
        let mut after = Primary::new(&config, good, news.differs);
        assert_eq!(after.on_all(drifted, &how()), News::default());
        let news = after.on_readings(vec![(a(), Reading::text("3"))], &how());
        assert_eq!(news.differs[0].provenance, Provenance::Unexplained);
    }

    #[test]
    fn what_is_accepted_is_good() {
        let mut primary = primary(snapshot(&[(&a(), "1"), (&t("/t/x"), "1")]));
        primary.on_all(snapshot(&[(&a(), "2"), (&t("/t/y"), "1")]), &how());
        let accepted = [t("/t/x"), t("/t/y")].into();
        let good = primary.good_from(primary.current(), &accepted);
        assert_eq!(good, snapshot(&[(&a(), "1"), (&t("/t/y"), "1")]));
    }
}
