//! A tar archive as a list of entries, contents already kept.

use std::io::Read;

use tar::{EntryType, Header};
use umbra_state::tree::push_name;
use umbra_state::{Content, Meta, Mtime};

use super::pax::{Records, XATTR};
use super::{ImportError, ImportLimits};
use crate::bytes::IngestError;
use crate::stack::DEPTH_MAX;
use crate::store::Inner;

const BLOCK: usize = 512;
/// Largest extended header or long name that is read.
const EXTENSION_MAX: u64 = 4 << 20;
/// Most bytes of all global headers together: every entry begins with a copy of them.
const GLOBAL_BYTES_MAX: usize = 64 << 10;
/// What an entry or an extension counts, whatever it holds.
const HEADER_COST: usize = 64;

/// One entry of an archive.
#[derive(Debug)]
pub(super) struct Entry {
    /// Without leading slash or `.`; empty for the root.
    pub(super) path: Vec<u8>,
    pub(super) meta: Meta,
    pub(super) kind: EntryKind,
}

#[derive(Debug)]
pub(super) enum EntryKind {
    Dir,
    Leaf(Content),
    /// Another name of what stands at this path.
    Link(Vec<u8>),
}

/// Reads a whole archive. `budget` is what is left of `limits`.
pub(super) fn read(
    store: &Inner,
    from: &mut dyn Read,
    budget: &mut ImportLimits,
    limits: ImportLimits,
) -> Result<Vec<Entry>, ImportError> {
    let mut reader = Reader {
        store,
        from,
        budget,
        limits,
        global: Records::default(),
        path: Vec::new(),
        buffer: Vec::new(),
    };
    let mut entries = Vec::new();
    while let Some(entry) = reader.next()? {
        entries.push(entry);
    }
    Ok(entries)
}

struct Reader<'a> {
    store: &'a Inner,
    from: &'a mut dyn Read,
    budget: &'a mut ImportLimits,
    limits: ImportLimits,
    global: Records,
    /// Of the current entry, for messages.
    path: Vec<u8>,
    buffer: Vec<u8>,
}

impl Reader<'_> {
    fn next(&mut self) -> Result<Option<Entry>, ImportError> {
        let mut records = self.global.clone();
        let (mut long_path, mut long_link) = (None, None);
        loop {
            let Some(header) = self.header()? else { return Ok(None) };
            let size = header.entry_size().map_err(|_| self.wrong("its size is malformed"))?;
            match header.entry_type() {
                EntryType::XHeader => {
                    let data = self.extension(size)?;
                    records.add(&data).map_err(|why| self.wrong(why))?;
                }
                EntryType::XGlobalHeader => {
                    let data = self.extension(size)?;
                    self.global.add(&data).map_err(|why| self.wrong(why))?;
                    if self.global.bytes() > GLOBAL_BYTES_MAX {
                        return Err(self.wrong("its global headers hold more than 64 KiB"));
                    }
                    records.add(&data).map_err(|why| self.wrong(why))?;
                }
                EntryType::GNULongName => long_path = Some(until_nul(self.extension(size)?)),
                EntryType::GNULongLink => long_link = Some(until_nul(self.extension(size)?)),
                _ => {
                    let path = records.take("path").or(long_path);
                    let link = records.take("linkpath").or(long_link);
                    return self.entry(&header, records, path, link).map(Some);
                }
            }
        }
    }

    fn entry(
        &mut self,
        header: &Header,
        mut records: Records,
        path: Option<Vec<u8>>,
        link: Option<Vec<u8>>,
    ) -> Result<Entry, ImportError> {
        self.path = path.unwrap_or_else(|| header.path_bytes().into_owned());
        self.path = normal(&self.path).map_err(|why| self.wrong(why))?;
        spend(&mut self.budget.entries_max, 1, "entries", self.limits.entries_max)?;
        self.spend_metadata(HEADER_COST + self.path.len())?;
        if records.0.keys().any(|key| key.starts_with(b"GNU.sparse.")) {
            return Err(
                self.wrong("sparse entries are not supported: make the archive without them")
            );
        }
        let size = match records.number::<u64>("size").map_err(|why| self.wrong(why))? {
            Some(size) => size,
            None => header.entry_size().map_err(|_| self.wrong("its size is malformed"))?,
        };
        let meta = self.meta(header, records)?;
        let link = link.or_else(|| header.link_name_bytes().map(|link| link.into_owned()));
        let link = link.unwrap_or_default();
        let kind = match header.entry_type() {
            EntryType::Regular | EntryType::Continuous if self.is_old_dir(header) => EntryKind::Dir,
            EntryType::Regular | EntryType::Continuous => EntryKind::Leaf(self.file(size)?),
            EntryType::Directory => EntryKind::Dir,
            EntryType::Link => EntryKind::Link(normal(&link).map_err(|why| self.wrong(why))?),
            EntryType::Symlink => {
                if link.is_empty() || link.len() > 4095 || link.contains(&0) {
                    return Err(self.wrong("a symbolic link's target has 1 to 4095 bytes, no NUL"));
                }
                self.spend_metadata(link.len())?;
                EntryKind::Leaf(Content::Symlink(link.into()))
            }
            EntryType::Char => EntryKind::Leaf(Content::Char(self.device(header)?)),
            EntryType::Block => EntryKind::Leaf(Content::Block(self.device(header)?)),
            EntryType::Fifo => EntryKind::Leaf(Content::Fifo),
            EntryType::GNUSparse => {
                return Err(
                    self.wrong("sparse entries are not supported: make the archive without them")
                );
            }
            other => {
                let kind = char::from(other.as_byte()).escape_default();
                return Err(self.wrong(format!("it has the unknown type '{kind}'")));
            }
        };
        let has_content =
            matches!(kind, EntryKind::Leaf(Content::Inline(_) | Content::Object { .. }));
        if !has_content {
            self.skip(size)?;
        }
        Ok(Entry { path: std::mem::take(&mut self.path), meta, kind })
    }

    /// Before POSIX a directory was a file whose name ends in a slash.
    fn is_old_dir(&self, header: &Header) -> bool {
        header.as_ustar().is_none()
            && header.as_gnu().is_none()
            && header.path_bytes().ends_with(b"/")
    }

    fn meta(&mut self, header: &Header, mut records: Records) -> Result<Meta, ImportError> {
        let malformed = |what: &str| format!("its {what} is malformed");
        let id = |found: Option<u64>, stored: std::io::Result<u64>, what: &str| {
            found
                .map_or(stored, Ok)
                .ok()
                .and_then(|id| u32::try_from(id).ok())
                .ok_or_else(|| malformed(what))
        };
        let read = || -> Result<Meta, String> {
            let mode = (header.mode().map_err(|_| malformed("mode"))? & 0o7777) as u16;
            let uid = id(records.number("uid")?, header.uid(), "owner")?;
            let gid = id(records.number("gid")?, header.gid(), "group")?;
            let mtime = match records.time("mtime")? {
                Some(mtime) => mtime,
                None => {
                    let sec = header.mtime().map_err(|_| malformed("time"))?;
                    Mtime { sec: sec as i64, nsec: 0 }
                }
            };
            let mut meta = Meta { mode, uid, gid, mtime, ..Meta::default() };
            for (key, value) in std::mem::take(&mut records.0) {
                if let Some(name) = key.strip_prefix(XATTR) {
                    if name.is_empty()
                        || name.len() > 255
                        || name.contains(&0)
                        || value.len() > 1 << 16
                    {
                        return Err("an extended attribute is longer than Linux allows".into());
                    }
                    meta.xattrs.insert(name.into(), value.into());
                }
            }
            Ok(meta)
        };
        let mut read = read;
        let meta = read().map_err(|why| self.wrong(why))?;
        self.spend_metadata(
            meta.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum(),
        )?;
        Ok(meta)
    }

    fn file(&mut self, size: u64) -> Result<Content, ImportError> {
        spend(&mut self.budget.bytes_max, size, "bytes of content", self.limits.bytes_max)?;
        let content =
            self.store.ingest_reader(&mut *self.from, size, &mut self.buffer).map_err(|error| {
                match error {
                    IngestError::Store(source) => {
                        ImportError::Store { path: self.path.clone(), source }
                    }
                    IngestError::Read(source) => ImportError::Read(source),
                    IngestError::Changed => self.wrong("it changed while it was read"),
                }
            })?;
        self.skip_exactly(padding(size))?;
        Ok(content)
    }

    fn device(&self, header: &Header) -> Result<u64, ImportError> {
        let major = header.device_major().ok().flatten().filter(|&major| major < 1 << 12);
        let minor = header.device_minor().ok().flatten().filter(|&minor| minor < 1 << 20);
        match (major, minor) {
            (Some(major), Some(minor)) => Ok(rustix::fs::makedev(major, minor)),
            _ => Err(self.wrong("its device number is malformed")),
        }
    }

    /// The next header; `None` at the end of the archive.
    fn header(&mut self) -> Result<Option<Header>, ImportError> {
        let mut header = Header::new_old();
        let block = header.as_mut_bytes();
        let mut length = 0;
        while length < BLOCK {
            match self.from.read(&mut block[length..]) {
                Ok(0) if length == 0 => return Ok(None),
                Ok(0) => return Err(ImportError::Read(std::io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => length += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ImportError::Read(error)),
            }
        }
        if block.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        let sum: u32 = block[..148].iter().chain(&block[156..]).map(|&byte| u32::from(byte)).sum();
        match header.cksum() {
            Ok(stored) if stored == sum + 8 * u32::from(b' ') => Ok(Some(header)),
            _ => Err(self.wrong("what follows it is no tar header (wrong checksum)")),
        }
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>, ImportError> {
        if size > EXTENSION_MAX {
            return Err(self.wrong("an extended header is larger than 4 MiB"));
        }
        self.spend_metadata(HEADER_COST + size as usize)?;
        let mut data = Vec::new();
        let count =
            (&mut *self.from).take(size).read_to_end(&mut data).map_err(ImportError::Read)?;
        if (count as u64) < size {
            return Err(ImportError::Read(std::io::ErrorKind::UnexpectedEof.into()));
        }
        self.skip_exactly(padding(size))?;
        Ok(data)
    }

    /// Passes over content that means nothing. Unpacking it costs as much as keeping it.
    fn skip(&mut self, size: u64) -> Result<(), ImportError> {
        spend(&mut self.budget.bytes_max, size, "bytes of content", self.limits.bytes_max)?;
        self.skip_exactly(size + padding(size))
    }

    fn skip_exactly(&mut self, size: u64) -> Result<(), ImportError> {
        let skipped = std::io::copy(&mut (&mut *self.from).take(size), &mut std::io::sink());
        match skipped {
            Ok(count) if count == size => Ok(()),
            Ok(_) => Err(ImportError::Read(std::io::ErrorKind::UnexpectedEof.into())),
            Err(error) => Err(ImportError::Read(error)),
        }
    }

    fn spend_metadata(&mut self, bytes: usize) -> Result<(), ImportError> {
        let (left, limit) = (&mut self.budget.metadata_bytes_max, self.limits.metadata_bytes_max);
        spend(left, bytes as u64, "bytes of metadata", limit)
    }

    fn wrong(&self, why: impl Into<String>) -> ImportError {
        ImportError::Archive { path: self.path.clone(), why: why.into() }
    }
}

fn spend(left: &mut u64, amount: u64, what: &'static str, limit: u64) -> Result<(), ImportError> {
    *left = left.checked_sub(amount).ok_or(ImportError::TooMuch { what, limit })?;
    Ok(())
}

fn padding(size: u64) -> u64 {
    (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len()));
    bytes
}

/// A path without leading slash, `.` and empty parts.
fn normal(path: &[u8]) -> Result<Vec<u8>, String> {
    let mut normal = Vec::with_capacity(path.len());
    let mut depth = 0;
    for name in path.split(|&byte| byte == b'/') {
        match name {
            b"" | b"." => continue,
            b".." => return Err("its path has a '..'".into()),
            name if name.len() > 255 || name.contains(&0) => {
                return Err("a name in its path has more than 255 bytes, or a NUL".into());
            }
            name => push_name(&mut normal, name),
        }
        depth += 1;
        if depth > DEPTH_MAX {
            return Err(format!("it is more than {DEPTH_MAX} directories deep"));
        }
    }
    Ok(normal)
}
