//! A state as a tar archive: ustar headers, and PAX records for what they cannot say.

use std::collections::HashMap;
use std::io::{self, Read, Write};

use tar::{EntryType, Header};
use umbra_state::tree::push_name;
use umbra_state::{Content, Dir, Leaf, LinkId, Meta, Node, StateId, Tree};

use super::ExportError;
use super::layer::{Layer, WHITEOUT, is_held};
use crate::import::pax::{XATTR, format_time, record};
use crate::lock::Lock;
use crate::stack::deep;
use crate::store::{Inner, Store};

const BLOCK: usize = 512;
/// Largest number that eleven octal digits hold.
const OCTAL_MAX: u64 = 0o77_777_777_777;
/// Largest id that seven octal digits hold.
const OCTAL_ID_MAX: u32 = 0o7_777_777;

impl Store {
    /// Writes a state as an archive that [`Store::import_tar`] reads back to the same state, and
    /// that other tools read. Gives back the paths of sockets, which an archive cannot hold.
    pub fn export_tar(
        &self,
        id: StateId,
        to: impl Write + Send,
    ) -> Result<Vec<Vec<u8>>, ExportError> {
        let _lock = Lock::shared(&self.inner.root).map_err(ExportError::Store)?;
        let tree = self.load(id).map_err(ExportError::Store)?;
        deep(move || write_archive(&self.inner, &tree, Part::Whole, to))
    }
}

/// Which part of a tree an archive holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part<'a> {
    /// All of it.
    Whole,
    /// All that an image's first layer can hold.
    FirstLayer,
    /// What one of its later layers is about.
    Layer(&'a Layer),
}

/// Writes the part. Gives back the paths of sockets, which only the whole is asked for. Needs a
/// deep stack.
pub(super) fn write_archive(
    store: &Inner,
    tree: &Tree,
    part: Part<'_>,
    to: impl Write,
) -> Result<Vec<Vec<u8>>, ExportError> {
    let mut writer = Writer {
        store,
        part,
        to: io::BufWriter::new(to),
        path: Vec::new(),
        links: HashMap::new(),
        left_out: Vec::new(),
    };
    writer.dir(&tree.root)?;
    let end = writer.to.write_all(&[0; 2 * BLOCK]).and_then(|()| writer.to.flush());
    end.map_err(|error| writer.failed(error))?;
    Ok(writer.left_out)
}

struct Writer<'a, W: Write> {
    store: &'a Inner,
    part: Part<'a>,
    to: io::BufWriter<W>,
    path: Vec<u8>,
    /// The first name of each hard-linked inode.
    links: HashMap<LinkId, Vec<u8>>,
    left_out: Vec<Vec<u8>>,
}

impl<W: Write> Writer<'_, W> {
    fn dir(&mut self, dir: &Dir) -> Result<(), ExportError> {
        self.header(EntryType::Directory, &dir.meta, 0, b"", 0)?;
        self.whiteouts()?;
        for (name, node) in &dir.entries {
            let parent_len = self.path.len();
            push_name(&mut self.path, name);
            if self.is_wanted(node) {
                match node {
                    Node::Dir(dir) => self.dir(dir)?,
                    Node::Leaf(leaf) => self.leaf(leaf)?,
                }
            }
            self.path.truncate(parent_len);
        }
        Ok(())
    }

    /// Whether what is at the path is of the part.
    fn is_wanted(&self, node: &Node) -> bool {
        match self.part {
            Part::Whole => true,
            Part::FirstLayer => is_held(&self.path, node),
            Part::Layer(layer) => layer.paths.contains(&self.path) && is_held(&self.path, node),
        }
    }

    /// Marks for the names that are gone from the directory at the path.
    fn whiteouts(&mut self) -> Result<(), ExportError> {
        let Part::Layer(layer) = self.part else { return Ok(()) };
        for name in layer.gone.get(&self.path).into_iter().flatten() {
            let parent_len = self.path.len();
            push_name(&mut self.path, &[WHITEOUT, name].concat());
            self.header(EntryType::Regular, &Meta::default(), 0, b"", 0)?;
            self.path.truncate(parent_len);
        }
        Ok(())
    }

    fn leaf(&mut self, leaf: &Leaf) -> Result<(), ExportError> {
        let meta = &leaf.meta;
        if leaf.content == Content::Socket {
            self.left_out.push(self.path.clone());
            return Ok(());
        }
        if let Some(link) = leaf.link {
            if let Some(first) = self.links.get(&link).cloned() {
                return self.header(EntryType::Link, meta, 0, &first, 0);
            }
            self.links.insert(link, self.path.clone());
        }
        match &leaf.content {
            Content::Inline(bytes) => {
                self.header(EntryType::Regular, meta, bytes.len() as u64, b"", 0)?;
                self.content(&mut &**bytes, bytes.len() as u64)
            }
            Content::Object { digest, size } => {
                let object = self.store.open_object(*digest, &self.path);
                let object = object.map_err(ExportError::Store)?;
                self.header(EntryType::Regular, meta, *size, b"", 0)?;
                self.content(&mut std::fs::File::from(object), *size)
            }
            Content::Symlink(target) => self.header(EntryType::Symlink, meta, 0, target, 0),
            Content::Char(number) => self.header(EntryType::Char, meta, 0, b"", *number),
            Content::Block(number) => self.header(EntryType::Block, meta, 0, b"", *number),
            Content::Fifo => self.header(EntryType::Fifo, meta, 0, b"", 0),
            Content::Socket => Ok(()),
        }
    }

    fn content(&mut self, from: &mut dyn Read, size: u64) -> Result<(), ExportError> {
        let copied = io::copy(&mut from.take(size), &mut self.to);
        let copied = copied.map_err(|error| self.failed(error))?;
        if copied != size {
            return Err(self.failed(io::ErrorKind::UnexpectedEof.into()));
        }
        let padding = (BLOCK - size as usize % BLOCK) % BLOCK;
        self.to.write_all(&[0; BLOCK][..padding]).map_err(|error| self.failed(error))
    }

    /// Writes a header, behind one of PAX records if it needs them.
    fn header(
        &mut self,
        kind: EntryType,
        meta: &Meta,
        size: u64,
        link: &[u8],
        device: u64,
    ) -> Result<(), ExportError> {
        let mut path = [b"./", &*self.path].concat();
        if kind == EntryType::Directory && !self.path.is_empty() {
            path.push(b'/');
        }
        let mut records = Vec::new();
        let mut add = |key: &str, value: &[u8]| records.extend(record(key.as_bytes(), value));
        if path.len() > 100 {
            add("path", &path);
        }
        let link = match kind {
            EntryType::Link => [b"./", link].concat(),
            _ => link.to_vec(),
        };
        if link.len() > 100 {
            add("linkpath", &link);
        }
        if size > OCTAL_MAX {
            add("size", size.to_string().as_bytes());
        }
        for (key, id) in [("uid", meta.uid), ("gid", meta.gid)] {
            if id > OCTAL_ID_MAX {
                add(key, id.to_string().as_bytes());
            }
        }
        let sec = u64::try_from(meta.mtime.sec).ok().filter(|&sec| sec <= OCTAL_MAX);
        if meta.mtime.nsec != 0 || sec.is_none() {
            add("mtime", format_time(meta.mtime).as_bytes());
        }
        for (name, value) in &meta.xattrs {
            records.extend(record(&[XATTR, name].concat(), value));
        }
        if !records.is_empty() {
            let mut extension = new_header(EntryType::XHeader, b"./PaxHeaders/entry");
            extension.set_mode(0o644);
            extension.set_size(records.len() as u64);
            extension.set_cksum();
            let written = self.to.write_all(extension.as_bytes());
            written.map_err(|error| self.failed(error))?;
            let size = records.len() as u64;
            self.content(&mut &*records, size)?;
        }
        let mut header = new_header(kind, &path);
        header.as_old_mut().linkname[..link.len().min(100)]
            .copy_from_slice(&link[..link.len().min(100)]);
        header.set_mode(meta.mode.into());
        header.set_uid(meta.uid.min(OCTAL_ID_MAX).into());
        header.set_gid(meta.gid.min(OCTAL_ID_MAX).into());
        header.set_mtime(sec.unwrap_or(0));
        header.set_size(size.min(OCTAL_MAX));
        if matches!(kind, EntryType::Char | EntryType::Block) {
            let numbers = header
                .set_device_major(rustix::fs::major(device))
                .and_then(|()| header.set_device_minor(rustix::fs::minor(device)));
            numbers.map_err(|error| self.failed(error))?;
        }
        header.set_cksum();
        self.to.write_all(header.as_bytes()).map_err(|error| self.failed(error))
    }

    fn failed(&self, source: io::Error) -> ExportError {
        ExportError::Io { doing: "write to the archive", path: self.path.clone(), source }
    }
}

fn new_header(kind: EntryType, path: &[u8]) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    let length = path.len().min(100);
    header.as_old_mut().name[..length].copy_from_slice(&path[..length]);
    header
}
