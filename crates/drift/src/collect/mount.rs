//! What is mounted, and how much room there is.

use super::context::Context;
use super::kernel::{NOT_RUNNING, sorted, text};
use super::room::Room;
use super::secret::Secrecy;
use super::source::{Fact, Source};
use crate::config::MountFact;
use crate::reading::Reading;

/// What is mounted at one path, or everywhere.
#[derive(Debug)]
pub(super) struct Mount {
    path: Option<String>,
    wanted: Wanted,
}

/// What of it.
#[derive(Debug)]
enum Wanted {
    /// Its line of the table.
    Line,
    /// How it is mounted.
    Options,
    /// What its filesystem says of its room.
    Room(Room, MountFact),
}

/// A line of the table.
struct Entry<'a> {
    point: Vec<u8>,
    kind: &'a [u8],
    source: &'a [u8],
    options: Vec<&'a [u8]>,
}

impl Mount {
    pub(super) fn new(path: Option<&str>, fact: Option<MountFact>) -> Self {
        let wanted = match fact {
            None => Wanted::Line,
            Some(MountFact::Options) => Wanted::Options,
            Some(fact) => Wanted::Room(Room::new(path.unwrap_or("/")), fact),
        };
        Self { path: path.map(str::to_owned), wanted }
    }
}

impl Source for Mount {
    fn read(&mut self, context: &mut Context, _: &Secrecy) -> Vec<Fact> {
        if let Wanted::Room(room, fact) = &mut self.wanted {
            return Fact::whole(room.read(&context.place, *fact));
        }
        if !context.place.is_machine() {
            return Fact::unreadable(NOT_RUNNING);
        }
        let table = text(context, "/proc/self/mountinfo");
        let Some(bytes) = table.bytes() else { return Fact::whole(table) };
        let entries = bytes.split(|byte| *byte == b'\n').filter_map(entry);
        Fact::whole(match &self.path {
            None => Reading::text(sorted(entries.map(|entry| entry.line(true)))),
            Some(path) => {
                // Of several at one path the last is on top.
                let top = entries.rev().find(|entry| entry.point == path.as_bytes());
                top.map_or(Reading::Absent, |entry| Reading::text(self.wanted.of(&entry)))
            }
        })
    }
}

impl Wanted {
    fn of(&self, entry: &Entry<'_>) -> Vec<u8> {
        match self {
            Self::Options => [&entry.options.join(&b',')[..], b"\n"].concat(),
            Self::Line | Self::Room(..) => entry.line(false),
        }
    }
}

impl Entry<'_> {
    /// As fstab(5) would have it, names escaped as the kernel does.
    fn line(&self, with_point: bool) -> Vec<u8> {
        let point = escaped(&self.point);
        let options = self.options.join(&b',');
        let words: [&[u8]; 4] = [self.source, &point, self.kind, &options];
        let words: Vec<&[u8]> = words
            .into_iter()
            .enumerate()
            .filter(|(index, _)| with_point || *index != 1)
            .map(|(_, word)| word)
            .collect();
        let mut line = words.join(&b' ');
        if !with_point {
            line.push(b'\n');
        }
        line
    }
}

/// `36 35 98:0 /root /point rw,noatime master:1 - ext4 /dev/root rw,errors=continue`
fn entry(line: &[u8]) -> Option<Entry<'_>> {
    let mut words = line.split(|byte| *byte == b' ');
    let (point, options) = (words.nth(4)?, words.next()?);
    words.find(|word| *word == b"-")?;
    let (kind, source, of_filesystem) = (words.next()?, words.next()?, words.next()?);
    let mut all: Vec<&[u8]> = [options, of_filesystem]
        .iter()
        .flat_map(|options| options.split(|byte| *byte == b','))
        .collect();
    all.sort_unstable();
    all.dedup();
    Some(Entry { point: unescaped(point), kind, source, options: all })
}

/// The kernel writes white space and backslashes as `\OOO`.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let octal = after
            .get(..3)
            .filter(|_| *first == b'\\')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match octal {
            Some(byte) => {
                plain.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                plain.push(*first);
                rest = after;
            }
        }
    }
    plain
}

fn escaped(text: &[u8]) -> Vec<u8> {
    text.iter()
        .flat_map(|byte| match byte {
            b' ' | b'\t' | b'\n' | b'\\' => format!("\\{byte:03o}").into_bytes(),
            byte => vec![*byte],
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_as_in_fstab() {
        let line = b"36 35 98:0 / /a\\040b rw,noatime master:1 - ext4 /dev/x rw,errors=continue";
        let found = entry(line).expect("an entry");
        assert_eq!(found.point, b"/a b");
        assert_eq!(found.line(true), b"/dev/x /a\\040b ext4 errors=continue,noatime,rw");
        assert_eq!(found.line(false), b"/dev/x ext4 errors=continue,noatime,rw\n");
        assert_eq!(Wanted::Options.of(&found), b"errors=continue,noatime,rw\n");
        for broken in ["", "1 2 3", "1 2 3 4 5 6 7 8", "1 2 3 4 5 6 -"] {
            assert!(entry(broken.as_bytes()).is_none(), "{broken}");
        }
        assert_eq!(unescaped(b"\\9\\04\\"), b"\\9\\04\\");
    }
}
