//! What a file shall say: the target's text, or the current one with the drifted keys put back.

use std::path::Path;

use super::make::{Drifted, Maker};
use super::merge::{self, Choice, Failed};
use super::{Class, Conflict, Conflicts, Selection, never};
use crate::config::{Parameter, RollbackMode};
use crate::discrepancy::KeyChange;
use crate::format::{self, Format, Key};

impl Maker<'_> {
    /// What the file shall say; `None` if that has been reported as left or in conflict.
    pub(super) fn content(
        &mut self,
        drifted: &Drifted<'_>,
        path: &Path,
        target: &[u8],
    ) -> Option<(Vec<u8>, Class, Vec<KeyChange>)> {
        let Drifted { parameter, item, base, current, .. } = *drifted;
        let format = self.format(parameter, path);
        let whole = parameter.rollback.mode == RollbackMode::Restore
            && !matches!(self.request.selection, Selection::Key { .. });
        let (Some(now), false) = (current.bytes(), whole || format == Format::Raw) else {
            if matches!(self.request.selection, Selection::Key { .. }) {
                self.leave(item, None, "its format, and so its keys, are not known");
                return None;
            }
            let stops = parameter.rollback.mode == RollbackMode::Merge && self.stops_whole(drifted);
            return (!stops).then(|| (target.to_vec(), Class::Restore, Vec::new()));
        };
        let selection = self.request.selection;
        let chosen = match selection {
            Selection::Key { key, .. } => Some(spellings(key, format, [target, now])),
            _ => None,
        };
        let wants = |change: &format::Change| {
            let key = change.key.to_string();
            if chosen.as_ref().is_some_and(|chosen| !chosen.contains(&key)) {
                return Err("it was not chosen");
            }
            let in_tree = |pattern: &&str| path.to_str().is_some_and(|path| *pattern == path);
            let ignored = parameter.ignore.keys.iter().any(|pattern| {
                match pattern.split_once(':').filter(|(file, _)| in_tree(file)) {
                    Some((_, pattern)) => merge::matches(pattern, &key),
                    None => merge::matches(pattern, &key),
                }
            });
            if ignored {
                return Err("the configuration ignores it");
            }
            if never::password(format, &key, &change.difference) {
                return Err("an earlier secret may be a stolen one");
            }
            Ok(())
        };
        let stop = self.request.conflicts == Conflicts::Stop;
        let choice = Choice { wants: &wants, stop };
        let merged = merge::merge(format, base.bytes().unwrap_or(target), now, target, &choice);
        match merged {
            Ok(merged) => {
                for (key, why) in merged.kept {
                    if why != "it was not chosen" {
                        self.leave(item, Some(&key), why);
                    }
                }
                if merged.bytes == now {
                    // Comments or white space: nothing that means anything drifted.
                    if merged.keys.is_empty() && selection == &Selection::Everything {
                        self.leave(item, None, "only what has no meaning differs");
                    }
                    return None;
                }
                Some((merged.bytes, Class::Merge, merged.keys))
            }
            Err(Failed::Conflicts(keys)) => {
                for (key, [base, current, target]) in keys {
                    let (item, part) = (item.clone(), Some(key));
                    self.plan.conflicts.push(Conflict { item, part, base, current, target });
                }
                None
            }
            Err(Failed::Inexpressible) => {
                self.leave(item, None, "what differs and what stays cannot be told apart in it");
                None
            }
        }
    }

    /// How the file is written, as where it is compared: what counts as text goes back as text.
    /// The path decides where a key is named, which takes the file to have some, and for
    /// accounts, whose secrets never go back with the rest.
    fn format(&self, parameter: &Parameter, path: &Path) -> Format {
        let (said, usual) = (parameter.source.format(path), Format::of(path));
        let has_secrets = never::passwords(usual);
        match self.request.selection {
            Selection::Key { .. } if said == Format::Raw => usual,
            _ if has_secrets => usual,
            _ => said,
        }
    }
}

/// A key as it was given, and as changes of these files spell what it names there.
fn spellings(key: &str, format: Format, files: [&[u8]; 2]) -> Vec<String> {
    let mut all = vec![key.to_owned()];
    if let Ok(parsed) = key.parse::<Key>() {
        let spelled = |file| format::parse(format, file).spelled(&parsed);
        all.extend(files.into_iter().filter_map(spelled).map(|key| key.to_string()));
    }
    all
}
