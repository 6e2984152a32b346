//! Units of systemd: as the running one has them; in a directory, or where none runs, as their
//! files declare them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Dir, Mode, OFlags, openat};

use super::command::{Program, run};
use super::context::Context;
use super::entry::link;
use super::kernel::sorted;
use super::place::Place;
use super::secret::Secrecy;
use super::source::{Fact, Source};
use crate::file::{self, locate};
use crate::format::{self, Format};
use crate::reading::Reading;

/// Where units are, those before hiding those of the same name after.
const DIRECTORIES: [&str; 6] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
/// Here links say what is started.
const WANTED: [&str; 2] = ["/etc/systemd/system", "/run/systemd/system"];
const ENTRIES_MAX: usize = 100_000;
const TIMEOUT: Duration = Duration::from_secs(10);
const OUTPUT_BYTES_MAX: u64 = 1 << 20;

/// A unit, or one of its properties.
#[derive(Debug)]
pub(super) struct Service {
    unit: String,
    property: Option<String>,
    paths: Vec<PathBuf>,
}

impl Service {
    pub(super) fn new(unit: &str, property: Option<&str>) -> Self {
        let paths = WANTED.iter().map(|directory| Path::new(directory).join(unit));
        Self {
            unit: unit.to_owned(),
            property: property.map(str::to_owned),
            paths: paths.take(1).collect(),
        }
    }
}

impl Source for Service {
    fn read(&mut self, context: &mut Context, _: &Secrecy) -> Vec<Fact> {
        Fact::whole(match (runs(&context.place), &self.property) {
            (true, Some(property)) => shown(&context.place, &self.unit, property),
            (true, None) => state(&context.place, &self.unit),
            (false, Some(property)) => declared(&context.place, &self.unit, property),
            (false, None) => declared_state(&context.place, &self.unit),
        })
    }

    fn paths(&self) -> &[PathBuf] {
        &self.paths
    }
}

/// Whether systemd runs there: sd_booted(3).
pub(super) fn runs(place: &Place) -> bool {
    place.is_machine()
        && locate(place.root(), Path::new("/run/systemd/system")).is_ok_and(|it| it.is_some())
}

/// A property as systemd goes by it.
pub(super) fn shown(place: &Place, unit: &str, property: &str) -> Reading {
    match show(place, unit, &[property, "LoadState"]) {
        Ok(lines) if is_missing(&lines) => Reading::Absent,
        Ok(lines) => {
            let prefix = [property.as_bytes(), b"="].concat();
            let value = lines.iter().find_map(|line| line.strip_prefix(&prefix[..]));
            value.map_or(Reading::Absent, Reading::text)
        }
        Err(why) => Reading::Unreadable { why },
    }
}

fn state(place: &Place, unit: &str) -> Reading {
    match show(place, unit, &["ActiveState", "LoadState", "UnitFileState"]) {
        Ok(lines) if is_missing(&lines) => Reading::Absent,
        Ok(lines) => Reading::text(sorted(lines)),
        Err(why) => Reading::Unreadable { why },
    }
}

fn is_missing(lines: &[Vec<u8>]) -> bool {
    lines.iter().any(|line| line == b"LoadState=not-found")
}

/// Lines of names and values.
fn show(place: &Place, unit: &str, properties: &[&str]) -> Result<Vec<Vec<u8>>, String> {
    let properties = format!("--property={}", properties.join(","));
    let argv =
        ["systemctl", "show", "--no-pager", &properties, "--", unit].map(str::to_owned).to_vec();
    let program =
        Program { argv: &argv, user: None, timeout: TIMEOUT, output_bytes_max: OUTPUT_BYTES_MAX };
    let output = run(place, program)?;
    Ok(output.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect())
}

/// Whether a unit is started by itself, as its files and links say: what `systemctl is-enabled`
/// says where no systemd runs.
fn declared_state(place: &Place, unit: &str) -> Reading {
    let masked = |directory: &str| {
        link(place, &Path::new(directory).join(unit)).is_some_and(|to| to == b"/dev/null")
    };
    let state = if DIRECTORIES.iter().any(|directory| masked(directory)) {
        "masked"
    } else {
        let Some(text) = unit_file(place, unit) else { return Reading::Absent };
        let installable = format::parse(Format::Systemd, &text)
            .keys()
            .iter()
            .any(|key| key.to_string().starts_with("Install."));
        match (is_wanted(place, unit), installable) {
            (true, _) => "enabled",
            (false, true) => "disabled",
            (false, false) => "static",
        }
    };
    Reading::text(format!("UnitFileState={state}\n"))
}

/// Whether some unit wants or requires it, or another name stands for it.
fn is_wanted(place: &Place, unit: &str) -> bool {
    let leads_here = |path: &Path| {
        let target = link(place, path);
        target
            .is_some_and(|to| Path::new(OsStr::from_bytes(&to)).file_name() == Some(unit.as_ref()))
    };
    WANTED.iter().any(|directory| {
        names(place, Path::new(directory)).iter().any(|name| {
            let path = Path::new(directory).join(OsStr::from_bytes(name));
            let wants = [&b".wants"[..], b".requires"].iter().any(|end| name.ends_with(end));
            match wants {
                true => link(place, &path.join(unit)).is_some(),
                // A name of its own that leads to the unit.
                false => name != unit.as_bytes() && leads_here(&path),
            }
        })
    })
}

/// What the unit's file and drop-ins say of a property; of several the last counts.
fn declared(place: &Place, unit: &str, property: &str) -> Reading {
    let Some(text) = unit_file(place, unit) else { return Reading::Absent };
    let mut drop_ins = std::collections::BTreeMap::new();
    for directory in DIRECTORIES {
        let directory = Path::new(directory).join(format!("{unit}.d"));
        for name in names(place, &directory).into_iter().filter(|name| name.ends_with(b".conf")) {
            let path = directory.join(OsStr::from_bytes(&name));
            drop_ins.entry(name).or_insert(path);
        }
    }
    let mut found = assigned(&text, property);
    for path in drop_ins.values() {
        if let Ok(Some(text)) = file::read(place.root(), path, file::BYTES_MAX) {
            found = assigned(&text, property).or(found);
        }
    }
    found.map_or(Reading::Absent, Reading::text)
}

fn assigned(text: &[u8], property: &str) -> Option<Vec<u8>> {
    let tree = format::parse(Format::Systemd, text);
    let keys = tree.keys();
    let named = keys.iter().rev().find(|key| {
        let key = key.to_string();
        let name = key.split_once('.').map_or("", |(_, name)| name);
        name.split('[').next() == Some(property)
    });
    named.and_then(|key| tree.get(key)).map(<[u8]>::to_vec)
}

/// The unit's file, or that of the template it is made from.
fn unit_file(place: &Place, unit: &str) -> Option<Vec<u8>> {
    let template = unit.split_once('@').and_then(|(name, rest)| {
        let (_, kind) = rest.rsplit_once('.')?;
        Some(format!("{name}@.{kind}"))
    });
    let names = [Some(unit.to_owned()), template];
    names.into_iter().flatten().find_map(|name| {
        DIRECTORIES.iter().find_map(|directory| {
            let path = Path::new(directory).join(&name);
            file::read(place.root(), &path, file::BYTES_MAX).ok().flatten()
        })
    })
}

/// The names in a directory of the place; none if it is missing.
fn names(place: &Place, directory: &Path) -> Vec<Vec<u8>> {
    let Ok(Some(found)) = locate(place.root(), directory) else { return Vec::new() };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(opened) = openat(&found, ".", flags, Mode::empty()) else { return Vec::new() };
    let Ok(listing) = Dir::read_from(&opened) else { return Vec::new() };
    let names = listing.filter_map(Result::ok).map(|entry| entry.file_name().to_bytes().to_vec());
    names.filter(|name| !matches!(&name[..], b"." | b"..")).take(ENTRIES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[track_caller]
    fn check(place: &Place, unit: &str, expected: &str) {
        let reading = declared_state(place, unit);
        let bytes = reading.bytes().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let expected = format!("UnitFileState={expected}\n");
        assert_eq!(bytes.unwrap_or("UnitFileState=absent\n".to_owned()), expected);
    }

    #[test]
    fn links_say_what_is_started() {
        let root = tempfile::tempdir().expect("a directory");
        let (lib, etc) =
            (root.path().join("usr/lib/systemd/system"), root.path().join("etc/systemd/system"));
        fs::create_dir_all(&lib).expect("made");
        fs::create_dir_all(etc.join("multi-user.target.wants")).expect("made");
        let unit = "[Service]\nLimitNOFILE=10\nExecStart=a\n[Install]\nWantedBy=x\n";
        for name in ["a.service", "b.service", "c.service", "t@.service"] {
            fs::write(lib.join(name), unit).expect("written");
        }
        fs::write(lib.join("s.service"), "[Service]\nExecStart=a\n").expect("written");
        symlink("/usr/lib/systemd/system/a.service", etc.join("multi-user.target.wants/a.service"))
            .expect("linked");
        symlink("/dev/null", etc.join("c.service")).expect("linked");
        let place = Place::directory(root.path()).expect("a place");
        check(&place, "a.service", "enabled");
        check(&place, "b.service", "disabled");
        check(&place, "c.service", "masked");
        check(&place, "s.service", "static");
        check(&place, "t@1.service", "disabled");
        check(&place, "x.service", "absent");
        symlink("/usr/lib/systemd/system/b.service", etc.join("alias.service")).expect("linked");
        check(&place, "b.service", "enabled");
        assert_eq!(declared(&place, "a.service", "LimitNOFILE"), Reading::text("10"));
        assert_eq!(declared(&place, "a.service", "LimitNO"), Reading::Absent);
        fs::create_dir_all(etc.join("a.service.d")).expect("made");
        fs::write(etc.join("a.service.d/x.conf"), "[Service]\nLimitNOFILE=20\n").expect("written");
        assert_eq!(declared(&place, "a.service", "LimitNOFILE"), Reading::text("20"));
    }
}
