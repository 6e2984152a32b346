//! Augeas as an oracle: what it reads in a file is what our trees say, and where we change a
//! value it reads the new one and everything else as before.

mod samples;
mod tool;

use std::collections::BTreeMap;

use samples::{ALL, Sample};
use tool::Augtool;
use umbra_drift::format::{Key, Tree, parse};

/// Where a value of Augeas stands in ours.
#[derive(Debug)]
struct Place {
    key: String,
    part: Part,
}

/// How much of ours it is: lenses divide values further.
#[derive(Debug, Clone, Copy)]
enum Part {
    Whole,
    /// One of several words, from 0.
    Word(usize),
    /// One of several that commas divide, from 0, up to its equals sign if it has one.
    Item(usize),
    /// What stands behind that.
    ItemValue(usize),
    /// It stands in the header of the block.
    Header,
}

impl Place {
    /// What our tree says there.
    #[track_caller]
    fn value(&self, tree: &Tree<'_>) -> String {
        let key: Key = self.key.parse().unwrap_or_else(|error| panic!("{error}"));
        let spelled = tree.spelled(&key).unwrap_or_else(|| panic!("no {} in {tree:?}", self.key));
        let text = tree.get(&key).map(String::from_utf8_lossy).unwrap_or_default();
        let one = match self.part {
            Part::Whole => Some(text.as_ref()),
            Part::Word(nth) => text.split_whitespace().nth(nth),
            Part::Item(nth) => text.split(',').nth(nth).and_then(|item| item.split('=').next()),
            Part::ItemValue(nth) => {
                let item = text.split(',').nth(nth);
                item.and_then(|item| item.split_once('=')).map(|(_, value)| value)
            }
            Part::Header => return spelled.to_string(),
        };
        one.unwrap_or_else(|| panic!("{self:?} is not in {text:?}")).to_owned()
    }
}

/// Runs a check with the program, if it is installed.
fn with_augtool(check: fn(&Augtool)) {
    match Augtool::find() {
        Some(augtool) => check(&augtool),
        None => println!("skipped: there is no augtool (augeas-tools)"),
    }
}

#[test]
fn what_augeas_reads_is_in_our_tree() {
    with_augtool(|augtool| {
        for sample in ALL {
            let tree = parse(sample.format, sample.text.as_bytes());
            let seen = augtool.read(sample, sample.text.as_bytes());
            assert!(seen.len() >= sample.values_min, "{}: {seen:?}", sample.lens);
            for (path, value) in &seen {
                let Some(place) = (sample.place)(path) else { continue };
                let ours = place.value(&tree);
                let same = match place.part {
                    Part::Header => ours.contains(value.as_str()),
                    _ => ours == *value,
                };
                assert!(same, "{} {path}: {ours:?}, and {value:?} by Augeas", sample.lens);
            }
        }
    });
}

#[test]
fn what_we_change_is_all_that_changes_for_augeas() {
    with_augtool(|augtool| {
        for sample in ALL {
            let before = augtool.read(sample, sample.text.as_bytes());
            for (path, new) in sample.edits {
                let after = augtool.read(sample, &edited(sample, path, new));
                let mut expected: BTreeMap<String, String> = before.clone();
                let old = expected.insert((*path).to_owned(), (*new).to_owned());
                assert!(old.is_some(), "{} has no {path}: {before:?}", sample.lens);
                assert_eq!(after, expected, "{} {path}", sample.lens);
            }
        }
    });
}

/// The sample with a new value where Augeas has one.
#[track_caller]
fn edited(sample: &Sample, path: &str, new: &str) -> Vec<u8> {
    let tree = parse(sample.format, sample.text.as_bytes());
    let place = (sample.place)(path).unwrap_or_else(|| panic!("{path} is mapped"));
    let key: Key = place.key.parse().unwrap_or_else(|error| panic!("{error}"));
    let old = tree.get(&key).map(String::from_utf8_lossy).unwrap_or_default();
    let value = match place.part {
        Part::Whole => new.to_owned(),
        Part::Word(nth) => replaced(&old, ' ', nth, new),
        Part::Item(nth) => replaced(&old, ',', nth, new),
        Part::ItemValue(_) | Part::Header => panic!("{place:?} is no value of ours"),
    };
    tree.edit(&key, Some(value.as_bytes())).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn replaced(text: &str, divider: char, nth: usize, new: &str) -> String {
    let part = |(at, old)| if at == nth { new } else { old };
    let parts: Vec<&str> = text.split(divider).enumerate().map(part).collect();
    parts.join(&divider.to_string())
}
