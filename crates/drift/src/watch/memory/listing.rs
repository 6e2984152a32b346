//! The entries of one directory, sorted by name, packed into pages of bytes.
//!
//! An entry is its name's length, its name and its stamp: about 77 bytes, and nothing beside
//! it. A page is searched from its start, so pages are short; a directory of a million
//! entries is ten thousand of them. The same bytes are what is written to disk.

use super::super::stamp::Stamp;

/// A stamp, packed.
const RECORD: usize = 60;
/// A page longer than this becomes two.
const PAGE_MAX: usize = 8 * 1024;
/// A page shorter than this may be filled up.
const PAGE_FILL: usize = PAGE_MAX / 2;

/// Names and stamps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    /// None of them is empty.
    pages: Vec<Vec<u8>>,
    entries: usize,
}

/// Why a page is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadPage {
    #[error("an entry is cut off")]
    CutOff,
    #[error("a name is none")]
    Name,
    #[error("names are not in their order")]
    Order,
    #[error("a time has more nanoseconds than a second")]
    Time,
}

impl Listing {
    /// What is remembered of `name`.
    pub(crate) fn get(&self, name: &[u8]) -> Option<Stamp> {
        let page = self.pages.get(self.page_of(name)?)?;
        let found = Entries { rest: page }.find(|(known, _)| *known >= name);
        found.filter(|(known, _)| *known == name).map(|(_, stamp)| stamp)
    }

    /// Remember `name`, which no longer one than 255 bytes is; what was known of it before.
    pub(crate) fn set(&mut self, name: &[u8], stamp: &Stamp) -> Option<Stamp> {
        let Ok(length) = u8::try_from(name.len()) else { return None };
        let at = self.page_of(name).unwrap_or_default();
        if self.pages.is_empty() {
            self.pages.push(Vec::new());
        }
        let page = self.pages.get_mut(at)?;
        let (start, known) = place(page, name);
        if let Some(known) = known {
            let record = start + 1 + name.len();
            page[record..record + RECORD].copy_from_slice(&pack(stamp));
            return Some(known);
        }
        self.entries += 1;
        let entry = std::iter::once(length).chain(name.iter().copied()).chain(pack(stamp));
        page.splice(start..start, entry);
        if page.len() > PAGE_MAX {
            let (half, _) = middle(page);
            let upper = page.split_off(half);
            self.pages.insert(at + 1, upper);
        }
        None
    }

    /// Forget `name`.
    pub(crate) fn remove(&mut self, name: &[u8]) -> Option<Stamp> {
        let at = self.page_of(name)?;
        let page = self.pages.get_mut(at)?;
        let (start, known) = place(page, name);
        if known.is_some() {
            page.drain(start..start + 1 + name.len() + RECORD);
            self.entries -= 1;
            if page.is_empty() {
                self.pages.remove(at);
            }
        }
        known
    }

    /// The listing of these entries, sorted by name and each name once.
    pub(crate) fn from_sorted<'a>(entries: impl Iterator<Item = (&'a [u8], Stamp)>) -> Self {
        let mut listing = Self::default();
        let mut page = Vec::new();
        for (name, stamp) in entries {
            let Ok(length) = u8::try_from(name.len()) else { continue };
            if page.len() > PAGE_FILL {
                listing.pages.push(exact(&mut page));
            }
            page.push(length);
            page.extend_from_slice(name);
            page.extend_from_slice(&pack(&stamp));
            listing.entries += 1;
        }
        if !page.is_empty() {
            listing.pages.push(exact(&mut page));
        }
        listing
    }

    /// All entries, sorted by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], Stamp)> {
        self.pages.iter().flat_map(|page| Entries { rest: page })
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.entries
    }

    /// As they are written.
    pub(super) fn pages(&self) -> &[Vec<u8>] {
        &self.pages
    }

    /// A page as it was written, after all others.
    pub(super) fn push_page(&mut self, page: Vec<u8>) -> Result<(), BadPage> {
        let mut last = self.pages.last().and_then(|page| Entries { rest: page }.last());
        let mut rest = &page[..];
        let mut entries = 0;
        while !rest.is_empty() {
            let (name, record, after) = split(rest).ok_or(BadPage::CutOff)?;
            let stamp = unpack(record);
            // The root directory's own entry is the only name with a slash.
            if name.is_empty() || name.contains(&0) || (name.contains(&b'/') && name != b"/") {
                return Err(BadPage::Name);
            }
            if last.is_some_and(|(before, _)| before >= name) {
                return Err(BadPage::Order);
            }
            if stamp.mtime.1 >= 1_000_000_000 || stamp.ctime.1 >= 1_000_000_000 {
                return Err(BadPage::Time);
            }
            (last, rest) = (Some((name, stamp)), after);
            entries += 1;
        }
        if entries > 0 {
            self.entries += entries;
            self.pages.push(page);
        }
        Ok(())
    }

    /// The page that holds `name` if any does.
    fn page_of(&self, name: &[u8]) -> Option<usize> {
        let first = |page: &Vec<u8>| split(page).is_some_and(|(first, ..)| first <= name);
        match self.pages.partition_point(first) {
            0 if self.pages.is_empty() => None,
            after => Some(after.saturating_sub(1)),
        }
    }
}

/// A page's entries; ends where it is malformed.
struct Entries<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a [u8], Stamp);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, record, rest) = split(self.rest)?;
        self.rest = rest;
        Some((name, unpack(record)))
    }
}

/// The first entry's name and record, and what follows.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8; RECORD], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    let (record, rest) = rest.split_first_chunk()?;
    Some((name, record, rest))
}

/// Where `name` is or belongs, and what is there of it.
fn place(page: &[u8], name: &[u8]) -> (usize, Option<Stamp>) {
    let mut rest = page;
    while let Some((known, record, after)) = split(rest) {
        if known >= name {
            let same = known == name;
            return (page.len() - rest.len(), same.then(|| unpack(record)));
        }
        rest = after;
    }
    (page.len() - rest.len(), None)
}

/// The entry boundary nearest after the middle.
fn middle(page: &[u8]) -> (usize, usize) {
    let mut rest = page;
    while let Some((.., after)) = split(rest) {
        rest = after;
        if rest.len() <= page.len() / 2 {
            break;
        }
    }
    (page.len() - rest.len(), rest.len())
}

/// The page without room to grow, and an empty one to go on with.
fn exact(page: &mut Vec<u8>) -> Vec<u8> {
    let copy = page.as_slice().to_vec();
    page.clear();
    copy
}

fn pack(stamp: &Stamp) -> [u8; RECORD] {
    let mut bytes = [0; RECORD];
    let mut at = 0;
    let mut put = |field: &[u8]| {
        bytes[at..at + field.len()].copy_from_slice(field);
        at += field.len();
    };
    put(&stamp.device.0.to_le_bytes());
    put(&stamp.device.1.to_le_bytes());
    put(&stamp.inode.to_le_bytes());
    put(&stamp.mode.to_le_bytes());
    put(&stamp.uid.to_le_bytes());
    put(&stamp.gid.to_le_bytes());
    put(&stamp.size.to_le_bytes());
    for (seconds, nanoseconds) in [stamp.mtime, stamp.ctime] {
        put(&seconds.to_le_bytes());
        put(&nanoseconds.to_le_bytes());
    }
    bytes
}

fn unpack(bytes: &[u8; RECORD]) -> Stamp {
    let four = |at: usize| u32::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]));
    let eight = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]));
    Stamp {
        device: (four(0), four(4)),
        inode: eight(8),
        mode: four(16),
        uid: four(20),
        gid: four(24),
        size: eight(28),
        mtime: (eight(36).cast_signed(), four(44)),
        ctime: (eight(48).cast_signed(), four(56)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn stamp(number: u64) -> Stamp {
        Stamp {
            device: (8, number as u32),
            inode: number,
            mode: 0o100_644,
            uid: 1,
            gid: 2,
            size: u64::MAX - number,
            mtime: (-1, 999_999_999),
            ctime: (i64::MAX, 7),
        }
    }

    proptest! {
        /// Whatever is done, a listing is a sorted map, and its pages are read back.
        #[test]
        fn a_listing_is_a_map(
            edits in proptest::collection::vec((any::<bool>(), 0u16..400, any::<u8>()), 0..900),
        ) {
            let mut listing = Listing::default();
            let mut map = BTreeMap::new();
            for (number, (keep, name, length)) in edits.into_iter().enumerate() {
                let mut name = name.to_string().into_bytes();
                name.resize(usize::from(length).max(name.len()), b'x');
                let stamp = stamp(number as u64);
                if keep {
                    prop_assert_eq!(listing.set(&name, &stamp), map.insert(name, stamp));
                } else {
                    prop_assert_eq!(listing.remove(&name), map.remove(&name));
                }
            }
            let entries = || map.iter().map(|(name, stamp)| (&name[..], *stamp));
            prop_assert!(listing.iter().eq(entries()));
            prop_assert_eq!(listing.len(), map.len());
            prop_assert!(listing.pages().iter().all(|page| !page.is_empty()));
            for (name, stamp) in &map {
                prop_assert_eq!(listing.get(name), Some(*stamp));
            }
            prop_assert!(Listing::from_sorted(entries()).iter().eq(entries()));
            let mut back = Listing::default();
            for page in listing.pages() {
                prop_assert_eq!(back.push_page(page.clone()), Ok(()));
            }
            prop_assert_eq!(back, listing);
        }

        #[test]
        fn any_bytes_are_a_page_or_refused(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let mut listing = Listing::default();
            let _ = listing.push_page(bytes);
            prop_assert_eq!(listing.iter().count(), listing.len());
        }
    }

    #[test]
    fn pages_that_contradict_themselves_are_refused() {
        #[track_caller]
        fn check(names: &[&[u8]], edit: impl FnOnce(&mut Vec<u8>), why: BadPage) {
            let mut page = Vec::new();
            for name in names {
                page.push(name.len() as u8);
                page.extend_from_slice(name);
                page.extend_from_slice(&pack(&stamp(1)));
            }
            edit(&mut page);
            assert_eq!(Listing::default().push_page(page), Err(why));
        }
        check(&[b"b", b"a"], |_| {}, BadPage::Order);
        check(&[b"a", b"a"], |_| {}, BadPage::Order);
        check(&[b""], |_| {}, BadPage::Name);
        check(&[b"a/b"], |_| {}, BadPage::Name);
        check(&[b"a"], |page| page.truncate(page.len() - 1), BadPage::CutOff);
        check(&[b"a"], |page| page[0] = 200, BadPage::CutOff);
        check(&[b"a"], |page| page[2 + 47] = 0xff, BadPage::Time);
    }
}
