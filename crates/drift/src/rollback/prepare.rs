//! Finding what a plan's places are now, and what is to be done to each. Nothing is touched;
//! what moved since the plan was made stops it.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, StatVfsMountFlags, fstatvfs};
use rustix::io::Errno;
use umbra_api::blob::Blob;

use super::error::{Trouble, shown, system};
use super::look::{self, Seen, look};
use super::options::Options;
use super::place::{Root, Spot, relative};
use super::plan::{Aim, Change, Place, Plan};
use super::report::Unfit;
use super::setting;
use super::step::{Act, Step, temp_name};
use crate::attributes::{Kind, encode_id, encode_mode};
use crate::collect::packages::{self, AtWork};
use crate::config::Attribute;
use crate::reading::{Content, Reading, Value};

/// What is to be done.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    /// In the order they are taken.
    pub(super) steps: Vec<Step>,
    /// All places that cannot be changed; if there is one, nothing is.
    pub(super) unfit: Vec<Unfit>,
}

impl Prepared {
    /// Goes on where only this place is at fault.
    fn note(&mut self, place: &Place, found: Result<(), Trouble>) -> Result<(), Trouble> {
        match found {
            Err(Trouble::Unfit { why, .. }) => {
                self.unfit.push(Unfit { place: place.clone(), why });
                Ok(())
            }
            found => found,
        }
    }
}

/// The steps of a plan, unless some of its places cannot be changed.
pub(super) fn prepare(plan: &Plan, options: &Options, root: &Root) -> Result<Prepared, Trouble> {
    if !options.ignore_packages
        && let Some(AtWork { program, lock }) = packages::at_work(root.as_fd())
    {
        return Err(Trouble::Packages { program, lock });
    }
    let mut prepared = Prepared::default();
    let mut places: Vec<(usize, &Change, PathBuf)> = Vec::new();
    for (index, change) in plan.changes.iter().enumerate() {
        if let Some(path) = change.place.path() {
            let found = relative(path).map(|path| places.push((index, change, path)));
            prepared.note(&change.place, found)?;
        }
    }
    // A directory comes before what is in it.
    places.sort_by(|(_, _, a), (_, _, b)| a.cmp(b));
    let going = places.iter().filter(|(_, change, _)| change.to == Aim::Absent);
    let going = going.map(|(_, _, path)| path.as_path()).collect();
    let mut preparing = Preparing { options, root, steps: Vec::new(), going };
    for (index, change, path) in &places {
        prepared.note(&change.place, preparing.path(*index, change, path))?;
    }
    prepared.steps = preparing.steps;
    for (index, change) in plan.changes.iter().enumerate() {
        if let Place::Setting(name) = &change.place {
            let found = setting::prepare(index, change, name, options)
                .map(|step| prepared.steps.push(step));
            prepared.note(&change.place, found)?;
        }
    }
    Ok(prepared)
}

/// What is done, and what is there then.
type Doing = (Act, Option<Value>);

struct Preparing<'a> {
    options: &'a Options,
    root: &'a Root,
    steps: Vec<Step>,
    /// What the plan removes.
    going: HashSet<&'a Path>,
}

impl Preparing<'_> {
    fn path(&mut self, index: usize, change: &Change, path: &Path) -> Result<(), Trouble> {
        if let Some(top) = self.top(path) {
            return self.within(top, index, change, path);
        }
        let spot = match self.root.spot(path) {
            Ok(spot) => spot,
            Err(Errno::NOENT) if change.to == Aim::Absent => return gone(change, path),
            Err(Errno::NOENT) => {
                let top = self.missing_directories(path)?;
                return self.within(top, index, change, path);
            }
            Err(error) => return Err(unreachable(path, error)),
        };
        let seen = look(&spot).map_err(system("look at", path))?;
        agrees(&change.from, seen.as_ref(), path)?;
        let Some((act, to)) = self.act(change, seen.as_ref(), path)? else { return Ok(()) };
        let vfs = fstatvfs(&spot.dir).map_err(system("look at the filesystem of", path))?;
        if act != Act::Overwrite && vfs.f_flag.contains(StatVfsMountFlags::RDONLY) {
            return Err(unfit(path, "its filesystem is read-only"));
        }
        if act == Act::Remove && seen.as_ref().is_some_and(|seen| seen.kind == Kind::Directory) {
            self.all_go(&spot, path)?;
        }
        self.push(Some(index), path, act, seen, to, look::locks(spot.dir.as_fd()));
        Ok(())
    }

    /// What comes or goes with the directory of step `top`.
    fn within(
        &mut self,
        top: usize,
        index: usize,
        change: &Change,
        path: &Path,
    ) -> Result<(), Trouble> {
        let comes = self.steps.get(top).is_some_and(|top| top.act == Act::Create);
        if !comes && change.to != Aim::Absent {
            return Err(unfit(path, "the directory that holds it would go"));
        }
        let seen = if comes {
            None
        } else {
            let spot = self.root.spot(path).map_err(system("look at", path))?;
            look(&spot).map_err(system("look at", path))?
        };
        agrees(&change.from, seen.as_ref(), path)?;
        let Some((_, to)) = self.act(change, seen.as_ref(), path)? else { return Ok(()) };
        self.push(Some(index), path, Act::Within { top }, seen, to, 0);
        Ok(())
    }

    /// The step whose directory comes or goes and holds this path.
    fn top(&self, path: &Path) -> Option<usize> {
        self.steps.iter().position(|step| {
            let moves = match step.act {
                Act::Create => step.kind() == Some(Kind::Directory),
                Act::Remove => true,
                _ => false,
            };
            moves && path != step.path() && path.starts_with(step.path())
        })
    }

    /// Makes steps for the directories above a path that are not there; the first of them.
    fn missing_directories(&mut self, path: &Path) -> Result<usize, Trouble> {
        let first = self.steps.len();
        let mut above: Vec<&Path> = path.ancestors().skip(1).collect();
        above.reverse();
        for directory in above.into_iter().filter(|path| !path.as_os_str().is_empty()) {
            match self.root.dir(directory) {
                Ok(_) => continue,
                Err(Errno::NOENT) => {}
                Err(error) => return Err(unreachable(path, error)),
            }
            let attributes = usual(Kind::Directory);
            let to = Some(Value { content: None, attributes });
            let act = match self.steps.len() {
                length if length == first => Act::Create,
                _ => Act::Within { top: first },
            };
            self.push(None, directory, act, None, to, 0);
        }
        if self.steps.len() == first { Err(unreachable(path, Errno::NOENT)) } else { Ok(first) }
    }

    /// What is to be done; `None` for nothing.
    fn act(
        &self,
        change: &Change,
        seen: Option<&Seen>,
        path: &Path,
    ) -> Result<Option<Doing>, Trouble> {
        let Aim::Present { content, attributes } = &change.to else {
            return match seen {
                None => Ok(None),
                Some(seen) if seen.is_mount => Err(unfit(path, "something is mounted on it")),
                Some(_) => Ok(Some((Act::Remove, None))),
            };
        };
        let wanted = attributes.get(&Attribute::Type).and_then(Kind::read);
        let kind = wanted.or(seen.map(|seen| seen.kind)).unwrap_or(Kind::File);
        let same_kind = seen.filter(|seen| seen.kind == kind);
        let mut all = same_kind.map_or_else(|| usual(kind), |seen| seen.value.attributes.clone());
        for (attribute, blob) in attributes.iter().filter(|(a, _)| **a != Attribute::Type) {
            match blob.0.is_empty() {
                true => all.remove(attribute),
                false => all.insert(*attribute, blob.clone()),
            };
        }
        let now = seen.and_then(|seen| seen.value.content.as_ref());
        let content = content.clone().map(Content::Bytes).filter(|_| kind == Kind::File);
        let rewrites = content.as_ref().is_some_and(|to| now.is_none_or(|now| !now.same(to)));
        if kind == Kind::File && same_kind.is_none() && content.is_none() {
            return Err(unfit(path, "nobody knows what was in it"));
        }
        let to = Some(Value { content, attributes: all });
        let Some(seen) = seen else { return Ok(Some((Act::Create, to))) };
        let dressed = to.as_ref().map(|to| &to.attributes) == Some(&seen.value.attributes);
        let is_new_link = kind == Kind::Link && !dressed;
        let act = match same_kind {
            Some(_) if !rewrites && dressed => return Ok(None),
            Some(_) if !rewrites && !is_new_link => Act::Dress,
            Some(_) if seen.is_mount => Act::Overwrite,
            Some(_) if kind == Kind::File && seen.names > 1 => {
                if !self.options.write_hard_links {
                    let names = seen.names;
                    let why = format!("it has {names} names, and all of them would change");
                    return Err(unfit(path, &why));
                }
                Act::Overwrite
            }
            None if seen.is_mount => return Err(unfit(path, "something is mounted on it")),
            None if seen.kind == Kind::Directory => {
                let spot = self.root.spot(path).map_err(system("look at", path))?;
                if !names(&spot).map_err(system("list", path))?.is_empty() {
                    let why = "it is a directory now, and what is in it would have to go";
                    return Err(unfit(path, why));
                }
                Act::Exchange
            }
            _ => Act::Exchange,
        };
        Ok(Some((act, to)))
    }

    /// A directory may go if all that is in it goes.
    fn all_go(&self, spot: &Spot, path: &Path) -> Result<(), Trouble> {
        for name in names(spot).map_err(system("list", path))? {
            let below = path.join(&name);
            if !self.going.contains(below.as_path()) {
                let why = format!("{} is in it and would be lost", shown(Path::new(&name)));
                return Err(unfit(path, &why));
            }
            let spot = self.root.spot(&below).map_err(system("look at", &below))?;
            match names(&spot) {
                Ok(_) => self.all_go(&spot, &below)?,
                Err(Errno::NOTDIR | Errno::LOOP) => {}
                Err(error) => return Err(system("list", &below)(error)),
            }
        }
        Ok(())
    }

    fn push(
        &mut self,
        change: Option<usize>,
        path: &Path,
        act: Act,
        seen: Option<Seen>,
        to: Option<Value>,
        above: u32,
    ) {
        let locks = [seen.as_ref().map_or(0, |seen| seen.flags), above];
        let stamp = seen.as_ref().map(|seen| seen.stamp);
        let temp = temp_name(&self.options.id, self.steps.len());
        let path = Blob(path.as_os_str().as_bytes().to_vec());
        let from = seen.map(|seen| seen.value);
        self.steps.push(Step { path, act, temp, from, stamp, locks, to, change });
    }
}

/// The names in a directory.
fn names(spot: &Spot) -> Result<Vec<std::ffi::OsString>, Errno> {
    use rustix::fs::{Mode, OFlags, openat};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = openat(&spot.dir, &*spot.name, flags, Mode::empty())?;
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(&name).to_owned());
        }
    }
    Ok(names)
}

/// What a file has of which nothing else is known.
fn usual(kind: Kind) -> BTreeMap<Attribute, Blob> {
    let mode = if kind == Kind::Directory { 0o755 } else { 0o644 };
    let mut attributes = BTreeMap::from([
        (Attribute::Type, kind.blob()),
        (Attribute::Owner, encode_id(0)),
        (Attribute::Group, encode_id(0)),
    ]);
    if kind != Kind::Link {
        attributes.insert(Attribute::Mode, encode_mode(mode));
    }
    attributes
}

/// Whether what is there is what the plan was made from.
fn agrees(planned: &Reading, seen: Option<&Seen>, path: &Path) -> Result<(), Trouble> {
    let agree = match (planned, seen) {
        (Reading::Absent, None) => true,
        (Reading::Present(planned), Some(seen)) => {
            let contents = match (&planned.content, &seen.value.content) {
                (Some(planned), Some(seen)) => planned.same(seen),
                // What a reading says of a link or a directory is another's.
                _ => planned.content.is_none() || seen.kind != Kind::File,
            };
            let attributes = &planned.attributes;
            let same = |(attribute, blob): (&Attribute, &Blob)| {
                seen.value.attributes.get(attribute) == Some(blob)
            };
            let extra = [Attribute::Acl, Attribute::Caps].into_iter().any(|attribute| {
                !attributes.contains_key(&attribute)
                    && seen.value.attributes.contains_key(&attribute)
            });
            contents && attributes.iter().all(same) && (attributes.is_empty() || !extra)
        }
        _ => false,
    };
    if agree { Ok(()) } else { Err(Trouble::Moved { path: shown(path) }) }
}

fn gone(change: &Change, path: &Path) -> Result<(), Trouble> {
    agrees(&change.from, None, path)
}

fn unfit(path: &Path, why: &str) -> Trouble {
    Trouble::Unfit { path: shown(path), why: why.to_owned() }
}

fn unreachable(path: &Path, error: Errno) -> Trouble {
    match error {
        Errno::LOOP | Errno::XDEV => unfit(path, "a link leads to it"),
        Errno::NOTDIR => unfit(path, "what should hold it is no directory"),
        error => system("reach", path)(error),
    }
}
