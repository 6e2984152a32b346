//! One file, or one key in it: as it is declared, and as its service goes by it.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use umbra_api::blob::Blob;

use super::context::Context;
use super::effective::effective;
use super::entry::{followed, link, real_path};
use super::keyed;
use super::secret::Secrecy;
use super::source::{Fact, Source};
use crate::config::{self, Attribute, View};
use crate::file::{BYTES_MAX, locate, read};
use crate::format::{Format, Key};
use crate::reading::{Content, Reading, Value};

/// Links followed from one path to the next, as the kernel does.
const LINKS_MAX: usize = 40;

/// A file.
#[derive(Debug)]
pub(super) struct FileSource {
    path: PathBuf,
    key: Option<Wanted>,
    view: View,
    attributes: Vec<Attribute>,
    /// The path, and those its links lead to.
    paths: Vec<PathBuf>,
}

#[derive(Debug)]
struct Wanted {
    text: String,
    /// `None` if it cannot be understood.
    key: Option<Key>,
    format: Format,
}

impl FileSource {
    pub(super) fn new(
        path: &str,
        key: Option<&config::Key>,
        format: Format,
        view: View,
        attributes: &[Attribute],
    ) -> Self {
        let wanted =
            |key: &config::Key| Wanted { text: key.key.clone(), key: key.key.parse().ok(), format };
        let path = PathBuf::from(path);
        Self {
            key: key.map(wanted),
            view,
            attributes: attributes.to_vec(),
            paths: vec![path.clone()],
            path,
        }
    }

    fn declared(&self, context: &mut Context, secrecy: &Secrecy) -> Reading {
        let Context { reader, place, .. } = context;
        let reading = followed(reader, place, &self.path, secrecy, &self.attributes);
        let Some(wanted) = &self.key else { return reading };
        let secret = self.is_secret(context, secrecy);
        let reading = match reading {
            Reading::Present(value) => self.whole(context, value),
            other => other,
        };
        keyed::under(reading, wanted.key.as_ref(), wanted.format, secret)
    }

    /// All bytes, in which a key can be looked up: they do not get out.
    fn whole(&self, context: &Context, value: Value) -> Reading {
        match read(context.place.root(), &self.path, BYTES_MAX) {
            Ok(Some(bytes)) => {
                Reading::Present(Value { content: Some(Content::Bytes(Blob(bytes))), ..value })
            }
            Ok(None) => Reading::Absent,
            Err(reason) => Reading::Unreadable { why: reason.to_string() },
        }
    }

    fn is_secret(&self, context: &Context, secrecy: &Secrecy) -> bool {
        secrecy.hides(&self.path)
            || match locate(context.place.root(), &self.path) {
                Ok(Some(file)) => {
                    real_path(&context.place, &file).is_none_or(|real| secrecy.hides(&real))
                }
                _ => false,
            }
    }

    /// Where the path leads, step by step.
    fn follow(&mut self, context: &Context) {
        let mut paths = BTreeSet::from([self.path.clone()]);
        let mut current = self.path.clone();
        for _ in 0..LINKS_MAX {
            // By a link among its directories it is told of under another path.
            let directory = current.parent().map(|parent| locate(context.place.root(), parent));
            if let (Some(Ok(Some(directory))), Some(name)) = (directory, current.file_name()) {
                paths.extend(real_path(&context.place, &directory).map(|real| real.join(name)));
            }
            let Some(target) = link(&context.place, &current) else { break };
            let target = PathBuf::from(std::ffi::OsString::from_vec(target));
            current = plain(&current.parent().unwrap_or(Path::new("/")).join(target));
            if !paths.insert(current.clone()) {
                break;
            }
        }
        if let Ok(Some(file)) = locate(context.place.root(), &self.path) {
            paths.extend(real_path(&context.place, &file));
        }
        self.paths = paths.into_iter().collect();
    }
}

impl Source for FileSource {
    fn read(&mut self, context: &mut Context, secrecy: &Secrecy) -> Vec<Fact> {
        self.follow(context);
        let view = if self.key.is_some() { self.view } else { View::Declared };
        let Some(wanted) = self.key.as_ref().filter(|_| view != View::Declared) else {
            return Fact::whole(self.declared(context, secrecy));
        };
        let mut in_force =
            effective(context, &self.path, wanted.format, &wanted.text, wanted.key.as_ref());
        if self.is_secret(context, secrecy) {
            in_force = super::collector::digest_only(in_force);
        }
        if view == View::Effective {
            return Fact::whole(in_force);
        }
        let declared = self.declared(context, secrecy);
        vec![Fact::part(b"declared", declared), Fact::part(b"effective", in_force)]
    }

    fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    fn is_polled(&self) -> bool {
        self.view != View::Declared
    }
}

/// The path without `.` and `..`, taken as text: a root's own parent is the root.
fn plain(path: &Path) -> PathBuf {
    use std::path::Component;
    let mut plain = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => plain.push(name),
            Component::ParentDir => {
                plain.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    plain
}
