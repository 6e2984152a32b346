//! A root directory, and what is read of it.

use std::fs;
use std::path::{Path, PathBuf};

use umbra_api::blob::Blob;
use umbra_drift::collect::{Collector, Place};
use umbra_drift::config::{self, Attribute};
use umbra_drift::reading::{Content, Item, Reading};

/// A directory that is the root of a machine that does not run.
pub(crate) struct Root {
    dir: tempfile::TempDir,
    path: PathBuf,
}

impl Root {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().canonicalize().expect("a path");
        fs::create_dir(path.join("etc")).expect("made");
        Self { dir, path }
    }

    /// The path of what is inside, as this machine has it.
    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.path.join(path.trim_start_matches('/'))
    }

    pub(crate) fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, bytes).expect("written");
    }

    pub(crate) fn place(&self) -> Place {
        Place::directory(self.dir.path()).expect("a place")
    }

    pub(crate) fn collector(&self, parameters: &str) -> Collector {
        collector(self.place(), parameters)
    }

    /// The only reading of a parameter.
    #[track_caller]
    pub(crate) fn read(&self, parameter: &str) -> Reading {
        only(&mut self.collector(&format!("[{{name: p, {parameter}}}]")))
    }
}

/// A filesystem in memory that goes when this does, also when a test fails.
pub(crate) struct Mounted(PathBuf);

impl Mounted {
    #[track_caller]
    pub(crate) fn tmpfs(at: &Path, options: &std::ffi::CStr) -> Self {
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("umbra-test", at, "tmpfs", flags, Some(options)).expect("mounted");
        Self(at.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

#[track_caller]
pub(crate) fn collector(place: Place, parameters: &str) -> Collector {
    let text = format!("version: 2\nparameters:\n  {parameters}\n");
    let config = config::parse("test.yml", &text)
        .unwrap_or_else(|problems| panic!("{}", problems.render(false)));
    Collector::new(&config, place).expect("a collector")
}

/// The only reading of a parameter of this machine.
#[track_caller]
pub(crate) fn of_machine(parameter: &str) -> Reading {
    let place = Place::machine().expect("a machine");
    only(&mut collector(place, &format!("[{{name: p, {parameter}}}]")))
}

#[track_caller]
fn only(collector: &mut Collector) -> Reading {
    let mut all = collector.parameter("p");
    assert_eq!(all.len(), 1, "{all:?}");
    let (item, reading) = all.pop_first().expect("a reading");
    assert_eq!(item, Item::whole("p"));
    reading
}

/// What is said, if all of it is known and it is text.
#[track_caller]
pub(crate) fn text(reading: &Reading) -> String {
    let bytes = reading.bytes().unwrap_or_else(|| panic!("{reading:?}"));
    String::from_utf8(bytes.to_vec()).expect("text")
}

#[track_caller]
pub(crate) fn why(reading: &Reading) -> &str {
    match reading {
        Reading::Unreadable { why } => why,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn is_digest(reading: &Reading) -> bool {
    matches!(reading.value().and_then(|value| value.content.as_ref()), Some(Content::Digest { .. }))
}

#[track_caller]
pub(crate) fn attribute(reading: &Reading, attribute: Attribute) -> Option<String> {
    let value = reading.value().unwrap_or_else(|| panic!("{reading:?}"));
    let bytes = value.attributes.get(&attribute)?;
    Some(String::from_utf8_lossy(&bytes.0).into_owned())
}

/// The paths among these readings, those that are there behind a `+`.
pub(crate) fn paths<'a>(items: impl IntoIterator<Item = (&'a Item, &'a Reading)>) -> Vec<String> {
    let path = |(item, reading): (&Item, &Reading)| {
        let Blob(part) = item.part.clone().unwrap_or_default();
        let sign = if *reading == Reading::Absent { '-' } else { '+' };
        format!("{sign}{}", String::from_utf8_lossy(&part))
    };
    let mut paths: Vec<String> = items.into_iter().map(path).collect();
    paths.sort();
    paths
}

/// What a change at a path inside concerns.
pub(crate) fn concerned(collector: &mut Collector, path: &Path) -> Vec<String> {
    let items = collector.path(path);
    paths(items.iter().map(|(item, reading)| (item, reading)))
}
