//! The records a fanotify group delivers, parsed from bytes.
//!
//! The layout is that of `linux/fanotify.h` (metadata version 3) with
//! `FAN_REPORT_DFID_NAME[_TARGET]` and `FAN_REPORT_PIDFD`: a 24 byte header, then
//! information records of (type, pad, length). Unknown information is skipped, since
//! newer kernels add kinds; anything that contradicts its own lengths is refused.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

const HEADER: usize = 24;
const VERSION: u8 = 3;
/// `MAX_HANDLE_SZ`, the most a filesystem may use to name an inode.
const HANDLE_MAX: usize = 128;
const NAME_MAX: usize = 255;

/// Information types; `libc` lacks some of them for musl.
mod info {
    pub(super) const OBJECT: u8 = 1;
    pub(super) const DIR_NAME: u8 = 2;
    pub(super) const DIR: u8 = 3;
    pub(super) const PIDFD: u8 = 4;
    pub(super) const OLD_DIR_NAME: u8 = 10;
    pub(super) const NEW_DIR_NAME: u8 = 12;
}

/// A directory by its kernel handle, and a name in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// The filesystem, as `statvfs` numbers it.
    pub fsid: u64,
    /// A whole `struct file_handle`, as `open_by_handle_at` takes it.
    pub handle: &'a [u8],
    /// The name in that directory; `None` for the directory itself.
    pub name: Option<&'a OsStr>,
}

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// `FAN_*` bits.
    pub mask: u64,
    /// The process that did it; 0 when it is outside of the reader's namespace.
    pub pid: i32,
    /// A descriptor of that process, to be closed by the reader; `None` once it is gone.
    pub pidfd: Option<i32>,
    /// The file itself, opened, to be closed by the reader; only of groups without handles.
    pub file: Option<i32>,
    /// Where it happened; of a rename, where to.
    pub place: Option<Place<'a>>,
    /// Of a rename, where from.
    pub from: Option<Place<'a>>,
}

/// Why bytes are no records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A length points outside of what surrounds it.
    #[error("a record's length does not fit")]
    Length,
    /// Another metadata version than 3.
    #[error("unknown record version {0}")]
    Version(u8),
    /// A handle that no filesystem makes.
    #[error("an impossible file handle")]
    Handle,
    /// A name that is empty, unterminated, too long or a path.
    #[error("an impossible file name")]
    Name,
    /// The same information twice.
    #[error("the same information twice")]
    Repeated,
}

/// The records in `bytes`; ends after the first that is refused.
pub fn parse(bytes: &[u8]) -> Records<'_> {
    Records { rest: bytes }
}

/// See [`parse`].
#[derive(Debug, Clone)]
pub struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Refused>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let taken = take_record(self.rest);
        self.rest = taken.map_or(&[], |(_, rest)| rest);
        Some(taken.map(|(record, _)| record))
    }
}

fn take_record(bytes: &[u8]) -> Result<(Record<'_>, &[u8]), Refused> {
    let length = u32_at(bytes, 0)? as usize;
    let metadata = usize::from(u16_at(bytes, 6)?);
    if metadata < HEADER || length < metadata || length > bytes.len() {
        return Err(Refused::Length);
    }
    if bytes[4] != VERSION {
        return Err(Refused::Version(bytes[4]));
    }
    let (event, rest) = bytes.split_at(length);
    let mut record = Record {
        mask: u64::from(u32_at(event, 8)?) | u64::from(u32_at(event, 12)?) << 32,
        pid: u32_at(event, 20)?.cast_signed(),
        pidfd: None,
        file: Some(u32_at(event, 16)?.cast_signed()).filter(|fd| *fd >= 0),
        place: None,
        from: None,
    };
    if cfg!(target_endian = "big") {
        record.mask = record.mask.rotate_left(32);
    }
    let mut information = &event[metadata..];
    while !information.is_empty() {
        let length = usize::from(u16_at(information, 2)?);
        if length < 4 || length > information.len() {
            return Err(Refused::Length);
        }
        let (one, others) = information.split_at(length);
        add_information(&mut record, one)?;
        information = others;
    }
    Ok((record, rest))
}

fn add_information<'a>(record: &mut Record<'a>, one: &'a [u8]) -> Result<(), Refused> {
    match one[0] {
        info::PIDFD => {
            let pidfd = u32_at(one, 4)?.cast_signed();
            if pidfd >= 0 && record.pidfd.replace(pidfd).is_some() {
                return Err(Refused::Repeated);
            }
        }
        info::DIR_NAME | info::NEW_DIR_NAME => once(&mut record.place, place(one, true)?)?,
        info::DIR => once(&mut record.place, place(one, false)?)?,
        info::OLD_DIR_NAME => once(&mut record.from, place(one, true)?)?,
        // The inode itself is looked up by its name, which is what is compared.
        info::OBJECT => drop(place(one, false)?),
        _ => {}
    }
    Ok(())
}

fn once<'a>(slot: &mut Option<Place<'a>>, place: Place<'a>) -> Result<(), Refused> {
    match slot.replace(place) {
        None => Ok(()),
        Some(_) => Err(Refused::Repeated),
    }
}

fn place(one: &[u8], named: bool) -> Result<Place<'_>, Refused> {
    let fsid = u64::from(u32_at(one, 4)?) | u64::from(u32_at(one, 8)?) << 32;
    let after = one.get(12..).ok_or(Refused::Length)?;
    let bytes = u32_at(after, 0)? as usize;
    if bytes > HANDLE_MAX || after.len() < 8 + bytes {
        return Err(Refused::Handle);
    }
    let (handle, name) = after.split_at(8 + bytes);
    let name = if named { name_of(name)? } else { None };
    Ok(Place { fsid, handle, name })
}

/// The zero terminated name before the padding; "." is the directory itself.
fn name_of(bytes: &[u8]) -> Result<Option<&OsStr>, Refused> {
    let end = bytes.iter().take(NAME_MAX + 1).position(|byte| *byte == 0).ok_or(Refused::Name)?;
    match &bytes[..end] {
        b"" | b".." => Err(Refused::Name),
        b"." => Ok(None),
        name if name.contains(&b'/') => Err(Refused::Name),
        name => Ok(Some(OsStr::from_bytes(name))),
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, Refused> {
    let field = bytes.get(at..at + 2).and_then(|field| field.try_into().ok());
    field.map(u16::from_ne_bytes).ok_or(Refused::Length)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, Refused> {
    let field = bytes.get(at..at + 4).and_then(|field| field.try_into().ok());
    field.map(u32::from_ne_bytes).ok_or(Refused::Length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn information(kind: u8, fsid: u64, handle: &[u8], name: Option<&[u8]>) -> Vec<u8> {
        let mut bytes = fsid.to_le_bytes().to_vec();
        bytes.extend((handle.len() as u32).to_ne_bytes());
        bytes.extend(1i32.to_ne_bytes());
        bytes.extend(handle);
        if let Some(name) = name {
            bytes.extend(name);
            bytes.push(0);
        }
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        let mut whole = vec![kind, 0];
        whole.extend((bytes.len() as u16 + 4).to_ne_bytes());
        whole.extend(bytes);
        whole
    }

    fn pidfd(value: i32) -> Vec<u8> {
        let mut bytes = vec![info::PIDFD, 0];
        bytes.extend(8u16.to_ne_bytes());
        bytes.extend(value.to_ne_bytes());
        bytes
    }

    #[test]
    fn a_group_without_handles_has_an_open_file() {
        let mut bytes = event(libc::FAN_OPEN_EXEC, 3, &[pidfd(5)]);
        assert_eq!(parse(&bytes).next().expect("one").expect("good").file, None);
        bytes[16..20].copy_from_slice(&9i32.to_ne_bytes());
        let record = parse(&bytes).next().expect("one").expect("good");
        assert_eq!((record.file, record.pidfd, record.place), (Some(9), Some(5), None));
    }

    fn event(mask: u64, pid: i32, information: &[Vec<u8>]) -> Vec<u8> {
        let body = information.concat();
        let mut bytes = ((HEADER + body.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend([VERSION, 0]);
        bytes.extend((HEADER as u16).to_ne_bytes());
        bytes.extend(mask.to_ne_bytes());
        bytes.extend((-1i32).to_ne_bytes());
        bytes.extend(pid.to_ne_bytes());
        bytes.extend(body);
        bytes
    }

    #[test]
    fn a_rename_with_both_sides_and_a_process() {
        let bytes = event(
            libc::FAN_RENAME,
            42,
            &[
                information(info::OLD_DIR_NAME, 7, b"12345678", Some(b"hosts.tmp")),
                information(info::NEW_DIR_NAME, 7, b"87654321", Some(b"hosts")),
                information(info::OBJECT, 7, b"abcdefgh", None),
                pidfd(9),
            ],
        );
        let record = parse(&bytes).next().expect("one").expect("good");
        assert_eq!((record.mask, record.pid, record.pidfd), (libc::FAN_RENAME, 42, Some(9)));
        assert_eq!(record.from.expect("from").name, Some(OsStr::new("hosts.tmp")));
        let to = record.place.expect("to");
        assert_eq!((to.fsid, to.name), (7, Some(OsStr::new("hosts"))));
        assert_eq!(&to.handle[8..], b"87654321");
    }

    #[test]
    fn a_gone_process_has_no_descriptor() {
        let bytes = event(libc::FAN_ATTRIB, 1, &[pidfd(-1)]);
        assert_eq!(parse(&bytes).next().expect("one").expect("good").pidfd, None);
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        #[track_caller]
        fn check(bytes: &[u8], why: Refused) {
            assert_eq!(parse(bytes).last(), Some(Err(why)));
        }
        let named =
            |name: &[u8]| event(1, 1, &[information(info::DIR_NAME, 1, b"12345678", Some(name))]);
        check(&named(b"a/b"), Refused::Name);
        check(&named(b""), Refused::Name);
        check(&named(b".."), Refused::Name);
        check(&named(&[b'n'; 256]), Refused::Name);
        check(&event(1, 1, &[pidfd(3), pidfd(4)]), Refused::Repeated);
        check(&event(1, 1, &[information(info::DIR, 1, &[0; 132], None)]), Refused::Handle);
        check(&event(1, 1, &[])[..20], Refused::Length);
        let mut other = event(1, 1, &[]);
        other[4] = 4;
        check(&other, Refused::Version(4));
        // A good record before a bad one is still read.
        let two = [named(b"good"), vec![0; 24]].concat();
        assert_eq!(parse(&two).filter(Result::is_ok).count(), 1);
        check(&two, Refused::Length);
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            prop_assert!(parse(&bytes).count() <= bytes.len() / HEADER + 1);
        }

        #[test]
        fn a_damaged_record_never_yields_more_than_was_there(
            name in proptest::collection::vec(1u8..=255, 1..40),
            at in 0usize..200,
            byte in any::<u8>(),
        ) {
            let mut bytes = event(2, 5, &[
                information(info::DIR_NAME, 3, b"12345678", Some(&name)),
                pidfd(8),
            ]);
            let at = at % bytes.len();
            bytes[at] = byte;
            for record in parse(&bytes).flatten() {
                for place in [record.place, record.from].into_iter().flatten() {
                    prop_assert!(place.handle.len() <= 8 + HANDLE_MAX);
                    let name = place.name.unwrap_or_default().as_bytes();
                    prop_assert!(name.len() <= NAME_MAX && !name.contains(&b'/'));
                }
            }
        }
    }
}
