//! A changed path as the parts it can be tried in: the keys of its text, its attributes.

use std::path::Path;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use umbra_api::blob::Blob;
use umbra_drift::attributes::Kind;
use umbra_drift::config::Attribute;
use umbra_drift::discrepancy::KeyChange;
use umbra_drift::format::{Change, Difference, Format, diff, parse};
use umbra_drift::reading::{Content, Reading, Value};

use crate::edit::Edit;
use crate::report::Changed;

/// Keys of a file that are tried one by one; with more the text is one part.
const KEYS_MAX: usize = 512;

/// An edit and the parts it consists of.
#[derive(Debug)]
pub(crate) struct Divided<'a> {
    edit: &'a Edit,
    from: Option<&'a Value>,
    pub(crate) atoms: Vec<Atom>,
}

/// A part of an edit.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Atom {
    /// All of it.
    Whole,
    /// All of its text.
    Text,
    /// A key of its text.
    Key(Change),
    /// An attribute.
    Attribute(Attribute),
}

impl<'a> Divided<'a> {
    /// An edit of what said `from` before.
    pub(crate) fn new(edit: &'a Edit, from: Option<&'a Reading>) -> Self {
        let from = from.and_then(Reading::value);
        let mut divided = Self { edit, from, atoms: Vec::new() };
        divided.atoms = divided.divide().filter(|atoms| atoms.len() > 1).unwrap_or_default();
        if divided.atoms.is_empty() {
            divided.atoms.push(Atom::Whole);
        }
        divided
    }

    fn divide(&self) -> Option<Vec<Atom>> {
        let (from, to) = (self.from?, self.edit.to.value()?);
        let is_file = |value: &Value| match value.attributes.get(&Attribute::Type) {
            Some(word) => Kind::read(word) == Some(Kind::File),
            None => value.content.is_some(),
        };
        if !is_file(from) || !is_file(to) {
            return None;
        }
        let mut atoms = Vec::new();
        match (&from.content, &to.content) {
            (Some(before), Some(after)) if !before.same(after) => {
                let keys = before.bytes().zip(after.bytes());
                let keys = keys.and_then(|(before, after)| self.keys(before, after));
                match keys {
                    Some(keys) => atoms.extend(keys.into_iter().map(Atom::Key)),
                    None => atoms.push(Atom::Text),
                }
            }
            _ => {}
        }
        if !from.attributes.is_empty() && !to.attributes.is_empty() {
            let names = from.attributes.keys().chain(to.attributes.keys());
            let mut differ: Vec<Attribute> = names
                .filter(|name| from.attributes.get(name) != to.attributes.get(name))
                .copied()
                .collect();
            differ.sort_unstable();
            differ.dedup();
            atoms.extend(differ.into_iter().map(Atom::Attribute));
        }
        Some(atoms)
    }

    fn format(&self) -> Format {
        Format::of(Path::new(OsStr::from_bytes(&self.edit.path.0)))
    }

    /// The keys that differ, where the whole difference can be made key by key.
    fn keys(&self, before: &[u8], after: &[u8]) -> Option<Vec<Change>> {
        let format = self.format();
        let changes = diff(&parse(format, before), &parse(format, after));
        if changes.is_empty() || changes.len() > KEYS_MAX {
            return None;
        }
        let all: Vec<&Change> = changes.iter().collect();
        let made = edited(format, before, &all)?;
        diff(&parse(format, &made), &parse(format, after)).is_empty().then_some(changes)
    }

    /// The edit with some of its atoms only; `None` if it cannot be made so.
    pub(crate) fn with(&self, chosen: &[&Atom]) -> Option<Edit> {
        if chosen.len() == self.atoms.len() {
            return Some(self.edit.clone());
        }
        let (from, to) = (self.from?, self.edit.to.value()?);
        let mut value = from.clone();
        if chosen.contains(&&Atom::Text) {
            value.content.clone_from(&to.content);
        }
        let keys: Vec<&Change> = chosen.iter().filter_map(|atom| atom.key()).collect();
        if !keys.is_empty() {
            let before = from.content.as_ref()?.bytes()?;
            value.content = Some(Content::Bytes(Blob(edited(self.format(), before, &keys)?)));
        }
        for atom in chosen {
            let Atom::Attribute(name) = atom else { continue };
            match to.attributes.get(name) {
                Some(attribute) => value.attributes.insert(*name, attribute.clone()),
                None => value.attributes.remove(name),
            };
        }
        if to.attributes.is_empty() {
            // It goes where the path leads, and what lies there keeps its own.
            value.attributes.clear();
        } else if from.attributes.is_empty() {
            value.attributes.clone_from(&to.attributes);
        }
        Some(Edit { path: self.edit.path.clone(), to: Reading::Present(value) })
    }

    /// What these atoms are, for people.
    pub(crate) fn changed(&self, chosen: &[&Atom]) -> Changed {
        let keys = chosen.iter().filter_map(|atom| atom.key()).map(key_change).collect();
        let attributes = chosen.iter().filter_map(|atom| match atom {
            Atom::Attribute(name) => Some(*name),
            Atom::Text => Some(Attribute::Content),
            _ => None,
        });
        Changed { path: self.edit.path.clone(), keys, attributes: attributes.collect() }
    }
}

impl Atom {
    fn key(&self) -> Option<&Change> {
        match self {
            Self::Key(change) => Some(change),
            _ => None,
        }
    }
}

/// A text with some changes; `None` if it cannot be made so: one key's place may hang on
/// another's.
fn edited(format: Format, before: &[u8], changes: &[&Change]) -> Option<Vec<u8>> {
    let mut bytes = before.to_vec();
    let mut make = |change: &Change, value: Option<&[u8]>| {
        bytes = parse(format, &bytes).edit(&change.key, value).ok()?;
        Some(())
    };
    // Those that leave every other key where it is come first, and what is removed goes from
    // the end.
    for change in changes {
        if let Difference::Changed { new, .. } = &change.difference {
            make(change, Some(new))?;
        }
    }
    for change in changes.iter().rev() {
        if let Difference::Removed(_) = &change.difference {
            make(change, None)?;
        }
    }
    for change in changes {
        if let Difference::Added(new) = &change.difference {
            make(change, Some(new))?;
        }
    }
    let made = diff(&parse(format, before), &parse(format, &bytes));
    let mut made: Vec<_> = made.iter().map(|change| words(&change.difference)).collect();
    let mut wanted: Vec<_> = changes.iter().map(|change| words(&change.difference)).collect();
    made.sort_unstable();
    wanted.sort_unstable();
    (made == wanted).then_some(bytes)
}

/// The values before and after.
fn words(difference: &Difference) -> (Option<&[u8]>, Option<&[u8]>) {
    match difference {
        Difference::Added(new) => (None, Some(new)),
        Difference::Removed(old) => (Some(old), None),
        Difference::Changed { old, new } => (Some(old), Some(new)),
    }
}

fn key_change(change: &Change) -> KeyChange {
    let (shadow, primary) = words(&change.difference);
    let blob = |value: Option<&[u8]>| value.map(|value| Blob(value.to_vec()));
    KeyChange {
        key: change.key.to_string(),
        shadow: blob(shadow),
        primary: blob(primary),
        in_force: change.in_force,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reading(text: &str, mode: Option<&str>) -> Reading {
        let content = Some(Content::Bytes(Blob(text.into())));
        let attributes = mode.map(|mode| (Attribute::Mode, Blob(mode.into())));
        Reading::Present(Value { content, attributes: attributes.into_iter().collect() })
    }

    #[track_caller]
    fn check(path: &str, from: &Reading, to: &Reading, atoms: &[&str]) {
        let edit = Edit::new(path, to.clone());
        let divided = Divided::new(&edit, Some(from));
        let words = divided.atoms.iter().map(|atom| match atom {
            Atom::Whole => "whole".to_owned(),
            Atom::Text => "text".to_owned(),
            Atom::Key(change) => change.key.to_string(),
            Atom::Attribute(name) => name.to_string(),
        });
        assert_eq!(words.collect::<Vec<_>>(), atoms);
    }

    #[test]
    fn files_are_divided_as_far_as_they_can_be() {
        let (old, new) = (reading("Port 22\nUsePAM yes\n", None), reading("Port 2\n", None));
        check("/etc/ssh/sshd_config", &old, &new, &["port", "usepam"]);
        check(
            "/opt/unknown",
            &reading("a", Some("0644")),
            &reading("b", Some("0600")),
            &["?", "mode"],
        );
        check("/opt/unknown", &reading("a", None), &reading("b", None), &["whole"]);
        check("/etc/ssh/sshd_config", &Reading::Absent, &new, &["whole"]);
        check("/etc/ssh/sshd_config", &old, &Reading::Absent, &["whole"]);
    }

    #[test]
    fn a_part_changes_nothing_else() {
        let from = reading("# how\nPort 22\nUsePAM yes\n", Some("0644"));
        let edit = Edit::new("/etc/ssh/sshd_config", reading("Port 2\nUsePAM no\n", Some("0600")));
        let divided = Divided::new(&edit, Some(&from));
        let only = |at: usize| divided.with(&[&divided.atoms[at]]).map(|edit| edit.to);
        let expected = reading("# how\nPort 2\nUsePAM yes\n", Some("0644"));
        assert_eq!(only(0), Some(expected));
        assert_eq!(only(2), Some(reading("# how\nPort 22\nUsePAM yes\n", Some("0600"))));
        let all: Vec<&Atom> = divided.atoms.iter().collect();
        assert_eq!(divided.with(&all), Some(edit.clone()));
        let changed = divided.changed(&[&divided.atoms[1], &divided.atoms[2]]);
        assert_eq!(changed.keys[0].key, "usepam");
        assert_eq!(changed.attributes, [Attribute::Mode]);
    }

    fn text() -> impl Strategy<Value = String> {
        let line =
            ("[a-d]{1,2}", "[a-z0-9]{0,3}").prop_map(|(key, value)| format!("{key}={value}"));
        proptest::collection::vec(line, 0..8).prop_map(|lines| lines.join("\n") + "\n")
    }

    proptest! {
        #[test]
        fn any_part_is_as_far_from_the_old_as_was_chosen(
            old in text(), new in text(), chosen: u32,
        ) {
            let (from, path) = (reading(&old, None), "/etc/default/app");
            let edit = Edit::new(path, reading(&new, None));
            let divided = Divided::new(&edit, Some(&from));
            let atoms: Vec<&Atom> = divided.atoms.iter().enumerate()
                .filter(|(at, _)| chosen >> (at % 32) & 1 == 1).map(|(_, atom)| atom).collect();
            if let Some(part) = divided.with(&atoms) && !atoms.contains(&&Atom::Whole) {
                let bytes = part.to.bytes().unwrap_or_default();
                let format = Format::of(Path::new(path));
                let made = diff(&parse(format, old.as_bytes()), &parse(format, bytes));
                prop_assert_eq!(made.len(), atoms.len(), "{:?} -> {:?}", old, part);
            }
        }
    }
}
