//! Archives as the kernel unpacks them (cpio, format "newc"; Linux's
//! `Documentation/driver-api/early-userspace/buffer-format.rst`).

use std::collections::BTreeMap;

const DIR: u32 = 0o040_755;
const DEVICE: u32 = 0o020_600;
const FILE: u32 = 0o100_644;
const PROGRAM: u32 = 0o100_755;

/// Entries by their paths, written in their order: a directory before what is in it, and no
/// times, owners or inode numbers of anywhere, so that the same entries are the same bytes.
#[derive(Debug, Default)]
pub(super) struct Archive<'a> {
    entries: BTreeMap<String, Entry<'a>>,
}

/// One entry; root owns all.
#[derive(Debug, Clone, Copy)]
pub(super) enum Entry<'a> {
    Dir,
    /// A character device.
    Device {
        major: u32,
        minor: u32,
    },
    File {
        bytes: &'a [u8],
        executable: bool,
    },
}

impl<'a> Archive<'a> {
    /// Adds an entry; a later one of the same path is instead of it.
    pub(super) fn add(&mut self, path: &str, entry: Entry<'a>) {
        self.entries.insert(path.to_owned(), entry);
    }

    /// The archive. Its files must be shorter than 4 GiB.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (number, (path, entry)) in (1..).zip(&self.entries) {
            write(&mut out, number, path, *entry);
        }
        header(&mut out, &Header { links: 1, ..Header::default() }, "TRAILER!!!");
        out
    }
}

fn write(out: &mut Vec<u8>, inode: u32, path: &str, entry: Entry<'_>) {
    let blank = Header { inode, links: 1, ..Header::default() };
    let (fields, bytes): (Header, &[u8]) = match entry {
        Entry::Dir => (Header { mode: DIR, links: 2, ..blank }, &[]),
        Entry::Device { major, minor } => (Header { mode: DEVICE, major, minor, ..blank }, &[]),
        Entry::File { bytes, executable } => {
            let mode = if executable { PROGRAM } else { FILE };
            let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            (Header { mode, size, ..blank }, bytes)
        }
    };
    header(out, &fields, path);
    out.extend_from_slice(bytes);
    pad(out);
}

#[derive(Debug, Clone, Copy, Default)]
struct Header {
    inode: u32,
    mode: u32,
    links: u32,
    size: u32,
    major: u32,
    minor: u32,
}

fn header(out: &mut Vec<u8>, fields: &Header, path: &str) {
    let path_size = u32::try_from(path.len() + 1).unwrap_or(u32::MAX);
    let Header { inode, mode, links, size, major, minor } = *fields;
    let [owner, group, time, of_major, of_minor, sum] = [0; 6];
    let numbers = [
        inode, mode, owner, group, links, time, size, of_major, of_minor, major, minor, path_size,
        sum,
    ];
    out.extend_from_slice(b"070701");
    numbers.iter().for_each(|number| out.extend_from_slice(format!("{number:08x}").as_bytes()));
    out.extend_from_slice(path.as_bytes());
    out.push(0);
    pad(out);
}

/// Everything begins at a multiple of four.
fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_golden_one() {
        let mut archive = Archive::default();
        archive.add("dev/null", Entry::Device { major: 1, minor: 3 });
        archive.add("a", Entry::File { bytes: b"hello", executable: true });
        archive.add("dev", Entry::Dir);
        let text = String::from_utf8(archive.bytes()).expect("text");
        let expected = [
            "07070100000001000081ed000000000000000000000001000000000000000500000000000000000000000000000000000000020000000",
            "0a\0hello\0\0\0",
            "07070100000002000041ed000000000000000000000002000000000000000000000000000000000000000000000000000000040000000",
            "0dev\0\0\0",
            "070701000000030000218000000000000000000000000100000000000000000000000000000000000000010000000300000009000000",
            "00dev/null\0\0",
            "07070100000000000000000000000000000000000000010000000000000000000000000000000000000000000000000000000b0000000",
            "0TRAILER!!!\0\0\0\0",
        ]
        .concat();
        assert_eq!(text, expected);
    }

    #[test]
    fn everything_is_aligned_whatever_its_length() {
        for length in 0..9 {
            let bytes = vec![b'x'; length];
            let mut archive = Archive::default();
            archive.add(&"n".repeat(length + 1), Entry::File { bytes: &bytes, executable: false });
            assert_eq!(archive.bytes().len() % 4, 0);
        }
    }
}
