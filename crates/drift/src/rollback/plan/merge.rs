//! The drifted keys of one file put back, and every other byte left alone.

use umbra_api::blob::Blob;

use crate::discrepancy::KeyChange;
use crate::format::{Change, Difference, Format, Key, diff, parse};

/// A file with its keys put back.
#[derive(Debug, Default)]
pub(super) struct Merged {
    pub(super) bytes: Vec<u8>,
    /// What changed.
    pub(super) keys: Vec<KeyChange>,
    /// Keys that differ and stay, and why.
    pub(super) kept: Vec<(String, &'static str)>,
}

/// Why a file cannot be merged.
#[derive(Debug)]
pub(super) enum Failed {
    /// Keys of which all three say something else, with what they say.
    Conflicts(Vec<(String, [Option<Blob>; 3])>),
    /// Its format cannot express it.
    Inexpressible,
}

/// Beyond this many keys a file is another file.
const KEYS_MAX: usize = 256;

/// Which keys are put back.
pub(super) struct Choice<'a> {
    /// Whether this one is; why not otherwise.
    pub(super) wants: &'a dyn Fn(&Change) -> Result<(), &'static str>,
    /// Whether a conflict stops it.
    pub(super) stop: bool,
}

/// The current file with the target's values at all keys that differ and are chosen. `base` is
/// the last known good.
pub(super) fn merge(
    format: Format,
    base: &[u8],
    current: &[u8],
    target: &[u8],
    choice: &Choice<'_>,
) -> Result<Merged, Failed> {
    let goal = parse(format, target);
    let good = parse(format, base);
    let mut merged = Merged { bytes: current.to_vec(), ..Merged::default() };
    let mut conflicts = Vec::new();
    for change in diff(&goal, &parse(format, current)) {
        if let Err(why) = (choice.wants)(&change) {
            merged.kept.push((change.key.to_string(), why));
            continue;
        }
        let (to, from) = sides(&change.difference);
        // Base and target are one text in all but rollbacks far back.
        if choice.stop && base != target {
            let was = good.get(&change.key).map(<[u8]>::to_vec);
            if was != to && was != from {
                let sides = [was, from.clone(), to.clone()].map(|side| side.map(Blob));
                conflicts.push((change.key.to_string(), sides));
            }
        }
        merged.keys.push(KeyChange {
            key: change.key.to_string(),
            shadow: to.map(Blob),
            primary: from.map(Blob),
            in_force: change.in_force,
        });
    }
    if !conflicts.is_empty() {
        return Err(Failed::Conflicts(conflicts));
    }
    let edited = if merged.keys.len() <= KEYS_MAX {
        edits(format, current, target, choice, merged.keys.len())
    } else {
        None
    };
    match edited {
        Some(bytes) => merged.bytes = bytes,
        // Where every difference goes, what is left is the target.
        None if merged.kept.is_empty() => merged.bytes = target.to_vec(),
        None => return Err(Failed::Inexpressible),
    }
    Ok(merged)
}

/// One edit after the other, each of which leaves one difference fewer; keys may be numbers of
/// elements, so that each is looked for in the file as it is by then.
fn edits(
    format: Format,
    current: &[u8],
    target: &[u8],
    choice: &Choice<'_>,
    count: usize,
) -> Option<Vec<u8>> {
    let goal = parse(format, target);
    let mut bytes = current.to_vec();
    for left in (0..count).rev() {
        let tree = parse(format, &bytes);
        let mut changes = diff(&goal, &tree);
        changes.retain(|change| (choice.wants)(change).is_ok());
        let next = changes.iter().find_map(|change| {
            let (to, _) = sides(&change.difference);
            let edited = tree.edit(&change.key, to.as_deref()).ok()?;
            let mut rest = diff(&goal, &parse(format, &edited));
            rest.retain(|change| (choice.wants)(change).is_ok());
            (rest.len() <= left).then_some(edited)
        });
        bytes = next?;
    }
    Some(bytes)
}

/// What the target says and what the primary says.
fn sides(difference: &Difference) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
    match difference {
        Difference::Added(now) => (None, Some(now.clone())),
        Difference::Removed(then) => (Some(then.clone()), None),
        Difference::Changed { old, new } => (Some(old.clone()), Some(new.clone())),
    }
}

/// One key's value put into a file, or the key taken out of it.
pub(super) fn set(
    format: Format,
    current: &[u8],
    key: &Key,
    value: Option<&[u8]>,
) -> Option<Vec<u8>> {
    let tree = parse(format, current);
    if value.is_none() && tree.get(key).is_none() {
        return Some(current.to_vec());
    }
    tree.edit(key, value).ok()
}

/// Whether `*` for any part makes the pattern the text.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut rest = rest;
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}
