//! A plan as a person reads it: what changes from what to what, what stays and why.

use std::fmt;

use umbra_state::escape::escape;

use super::{Aim, Change, Class, Place, Plan};
use crate::attributes::Kind;
use crate::config::Attribute;
use crate::reading::{Item, Reading, Value};

/// Bytes shown of one value.
const SHOWN_MAX: usize = 120;
/// Lines of a text without keys shown of each side.
const LINES_MAX: usize = 20;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in &self.changes {
            change.fmt(f)?;
        }
        for left in &self.left {
            write!(f, "  {}", Named(&left.item))?;
            if let Some(key) = &left.key {
                write!(f, " {}", escape(key.as_bytes()))?;
            }
            writeln!(f, " stays: {}", escape(left.why.as_bytes()))?;
        }
        for conflict in &self.conflicts {
            write!(f, "! {}", Named(&conflict.item))?;
            if let Some(part) = &conflict.part {
                write!(f, " {}", escape(part.as_bytes()))?;
            }
            let [base, current, target] = [&conflict.base, &conflict.current, &conflict.target]
                .map(|side| Shown(side.as_ref().map(|blob| blob.0.as_slice())));
            writeln!(f, " conflicts: last known good {base}, now {current}, target {target}")?;
        }
        if self.changes.is_empty() {
            writeln!(f, "nothing would change")?;
        }
        Ok(())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", escape(&path.0)),
            Self::Setting(name) => write!(f, "/proc/sys/{}", escape(name.as_bytes())),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match (&self.from, &self.to) {
            (_, Aim::Absent) => '-',
            (Reading::Absent, _) => '+',
            _ => '~',
        };
        write!(f, "{sign} ")?;
        writeln!(
            f,
            "{} ({})",
            self.place,
            match self.class {
                Class::Restore => "restore",
                Class::Merge => "merge",
            }
        )?;
        for key in &self.keys {
            let [from, to] = [&key.primary, &key.shadow]
                .map(|side| Shown(side.as_ref().map(|blob| blob.0.as_slice())));
            writeln!(f, "    {}: {from} -> {to}", escape(key.key.as_bytes()))?;
        }
        let Aim::Present { content, attributes } = &self.to else { return Ok(()) };
        if let Some(content) = content.as_ref().filter(|_| self.keys.is_empty()) {
            let now = self.from.bytes().unwrap_or_default();
            lines(f, '-', now, &content.0)?;
            lines(f, '+', &content.0, now)?;
        }
        let now = self.from.value();
        for (attribute, to) in attributes {
            let from = now.and_then(|value| value.attributes.get(attribute));
            let none = |blob: &&umbra_api::blob::Blob| !blob.0.is_empty();
            if from.filter(none) != Some(to).filter(none) {
                let from = from.map(|blob| blob.0.as_slice());
                let (from, to) = (Shown(from), Shown(Some(&to.0)));
                writeln!(f, "    {attribute}: {from} -> {to}")?;
            }
        }
        Ok(())
    }
}

/// The lines one side has and the other has not.
fn lines(f: &mut fmt::Formatter<'_>, sign: char, side: &[u8], other: &[u8]) -> fmt::Result {
    let split = |text| <[u8]>::split(text, |b: &u8| *b == b'\n');
    let known: std::collections::HashSet<&[u8]> = split(other).collect();
    let mut only = split(side).filter(|line| !known.contains(line));
    for line in only.by_ref().take(LINES_MAX) {
        writeln!(f, "    {sign} {}", escape(&line[..line.len().min(SHOWN_MAX)]))?;
    }
    match only.count() {
        0 => Ok(()),
        more => writeln!(f, "    {sign} and {more} lines more"),
    }
}

/// A value, or that there is none.
struct Shown<'a>(Option<&'a [u8]>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None | Some([]) => f.write_str("nothing"),
            Some(bytes) => {
                write!(f, "`{}`", escape(&bytes[..bytes.len().min(SHOWN_MAX)]))?;
                if bytes.len() > SHOWN_MAX { f.write_str("...") } else { Ok(()) }
            }
        }
    }
}

/// An item as text.
struct Named<'a>(&'a Item);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", escape(self.0.parameter.as_bytes()))?;
        match &self.0.part {
            Some(part) => write!(f, " {}", escape(&part.0)),
            None => Ok(()),
        }
    }
}

impl Value {
    /// What lies there, where that is known.
    pub(in crate::rollback) fn kind(&self) -> Option<Kind> {
        Kind::read(self.attributes.get(&Attribute::Type)?)
    }
}
