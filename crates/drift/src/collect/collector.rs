//! Every parameter of a configuration, read at one place.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::CollectError;
use super::context::Context;
use super::globs::{Globs, outermost};
use super::place::Place;
use super::secret::Secrecy;
use super::source::{Fact, Source, source};
use super::tree::{Tree, below};
use crate::config::{self, Config, Parameter};
use crate::reading::{Content, Item, Reading, Snapshot};

/// Reads the parameters of a configuration.
#[derive(Debug)]
pub struct Collector {
    context: Context,
    watched: Vec<Watched>,
    by_name: BTreeMap<String, usize>,
    /// Which parameters a path concerns, trees aside.
    by_path: BTreeMap<Vec<u8>, BTreeSet<usize>>,
}

/// One parameter.
#[derive(Debug)]
struct Watched {
    name: String,
    poll: Duration,
    secrecy: Secrecy,
    facts: Facts,
    /// Its paths in the index.
    indexed: Vec<PathBuf>,
}

/// Where its values come from.
#[derive(Debug)]
enum Facts {
    Of(Box<dyn Source>),
    Tree(Tree),
}

impl Collector {
    /// Prepares to read all parameters of a configuration at one place.
    ///
    /// # Errors
    /// A pattern cannot be compiled, which no configuration that was checked has.
    pub fn new(config: &Config, place: Place) -> Result<Self, CollectError> {
        let mut collector = Self {
            context: Context::new(place),
            watched: Vec::new(),
            by_name: BTreeMap::new(),
            by_path: BTreeMap::new(),
        };
        for parameter in &config.parameters {
            let watched = Watched::new(parameter)
                .map_err(|source| CollectError::Pattern { name: parameter.name.clone(), source })?;
            collector.by_name.insert(parameter.name.clone(), collector.watched.len());
            collector.watched.push(watched);
            collector.index(collector.watched.len() - 1);
        }
        Ok(collector)
    }

    /// Where it reads.
    pub fn place(&self) -> &Place {
        &self.context.place
    }

    /// Every item of every parameter. A path that was in a tree and is not in here is absent.
    pub fn all(&mut self) -> Snapshot {
        self.context.begin();
        let all = (0..self.watched.len()).flat_map(|index| self.read(index)).collect();
        Snapshot { readings: all }
    }

    /// The items of one parameter; none if there is no such parameter.
    pub fn parameter(&mut self, name: &str) -> BTreeMap<Item, Reading> {
        self.context.begin();
        let Some(&index) = self.by_name.get(name) else { return BTreeMap::new() };
        self.read(index).into_iter().collect()
    }

    /// What a change at `path`, as this machine has it, concerns: parameters that read it, and
    /// the paths of trees. Where a directory came, went or was exchanged that is everything
    /// below; what is gone is absent.
    pub fn path(&mut self, path: &Path) -> Vec<(Item, Reading)> {
        self.context.begin();
        let Some(path) = self.context.place.inside(path) else { return Vec::new() };
        let mut items = Vec::new();
        for index in self.concerned(&path) {
            items.extend(self.read(index));
        }
        for watched in &mut self.watched {
            let Facts::Tree(tree) = &mut watched.facts else { continue };
            let found = tree.path(&mut self.context, &watched.secrecy, &path);
            items.extend(found.into_iter().map(|(path, reading)| {
                (Item::part(&watched.name, &path), watched.secrecy.seal(reading))
            }));
        }
        items
    }

    /// What a watcher must watch, as this machine has it: the least directories that hold
    /// everything which can tell that it changed. A file in the top directory stands for
    /// itself, and what has no directory yet is [polled](Self::polled). Where links lead is known
    /// once everything [was read](Self::all).
    pub fn watched_roots(&self) -> Vec<PathBuf> {
        let mut roots = BTreeSet::new();
        for watched in &self.watched {
            match &watched.facts {
                Facts::Tree(tree) => {
                    roots.extend(tree.bases().iter().map(|base| self.context.place.outside(base)));
                }
                Facts::Of(_) => roots.extend(
                    watched
                        .indexed
                        .iter()
                        .filter(|path| !is_view(path))
                        .filter_map(|path| self.root_of(path)),
                ),
            }
        }
        outermost(roots)
    }

    /// Parameters to be read again and again, since nothing tells of all their changes, with
    /// how often.
    pub fn polled(&self) -> Vec<(String, Duration)> {
        let polled = self.watched.iter().filter(|watched| match &watched.facts {
            Facts::Of(source) => {
                let unseen = |path: &PathBuf| is_view(path) || self.root_of(path).is_none();
                source.is_polled() || watched.indexed.iter().any(unseen)
            }
            Facts::Tree(tree) => tree.bases().iter().any(|base| is_view(base)),
        });
        polled.map(|watched| (watched.name.clone(), watched.poll)).collect()
    }

    /// The directory to watch for a path: the nearest that exists, but never everything.
    fn root_of(&self, path: &Path) -> Option<PathBuf> {
        let place = &self.context.place;
        let Some(parent) = path.parent().filter(|parent| *parent != Path::new("/")) else {
            return Some(place.outside(path));
        };
        let above = parent.ancestors().filter(|above| *above != Path::new("/"));
        above.map(|above| place.outside(above)).find(|above| above.is_dir())
    }

    fn concerned(&self, path: &Path) -> BTreeSet<usize> {
        let path = path.as_os_str().as_bytes();
        let (first, last) = below(path);
        let range = (Bound::Included(&first[..]), Bound::Excluded(&last[..]));
        let inside = self.by_path.range::<[u8], _>(range).map(|(_, indices)| indices);
        self.by_path.get(path).into_iter().chain(inside).flatten().copied().collect()
    }

    fn read(&mut self, index: usize) -> Vec<(Item, Reading)> {
        let Some(watched) = self.watched.get_mut(index) else { return Vec::new() };
        let facts = watched.read(&mut self.context);
        self.index(index);
        facts
    }

    /// Links lead elsewhere now and then.
    fn index(&mut self, index: usize) {
        let Some(watched) = self.watched.get_mut(index) else { return };
        let Facts::Of(source) = &watched.facts else { return };
        if source.paths() == watched.indexed {
            return;
        }
        for path in &watched.indexed {
            if let Some(indices) = self.by_path.get_mut(path.as_os_str().as_bytes()) {
                indices.remove(&index);
            }
        }
        watched.indexed = source.paths().to_vec();
        for path in &watched.indexed {
            self.by_path.entry(path.as_os_str().as_bytes().to_vec()).or_default().insert(index);
        }
    }
}

impl Watched {
    fn new(parameter: &Parameter) -> Result<Self, globset::Error> {
        let facts = match &parameter.source {
            config::Source::Tree { globs, root, .. } => {
                Facts::Tree(Tree::new(Globs::new(root, globs)?))
            }
            other => Facts::Of(source(other)),
        };
        Ok(Self {
            name: parameter.name.clone(),
            poll: parameter.poll,
            secrecy: Secrecy::new(&parameter.nodiff)?,
            facts,
            indexed: Vec::new(),
        })
    }

    fn read(&mut self, context: &mut Context) -> Vec<(Item, Reading)> {
        match &mut self.facts {
            Facts::Of(source) => {
                let facts = source.read(context, &self.secrecy);
                let named = facts.into_iter().map(|Fact { part, reading }| {
                    let item = match part {
                        Some(part) => Item::part(&self.name, &part),
                        None => Item::whole(&self.name),
                    };
                    (item, self.secrecy.seal(reading))
                });
                named.collect()
            }
            Facts::Tree(tree) => tree
                .all(context, &self.secrecy)
                .into_iter()
                .map(|(path, reading)| (Item::part(&self.name, &path), reading))
                .collect(),
        }
    }
}

/// Filesystems in which nothing tells of changes.
fn is_view(path: &Path) -> bool {
    ["/proc", "/sys", "/dev"].iter().any(|view| path.starts_with(view))
}

impl Secrecy {
    /// The reading without what must not leave the machine.
    fn seal(&self, reading: Reading) -> Reading {
        let secret = |bytes: &[u8]| self.is_whole() || self.hides_bytes(bytes);
        if !reading.bytes().is_some_and(secret) {
            return reading;
        }
        digest_only(reading)
    }
}

/// The reading with only the digest of its bytes.
pub(super) fn digest_only(mut reading: Reading) -> Reading {
    if let Reading::Present(value) = &mut reading
        && let Some(Content::Bytes(bytes)) = &value.content
    {
        value.content = Some(Content::digest_of(&bytes.0));
    }
    reading
}
