//! Edits from what is known of a primary: what it was, what it is and what a plan would make
//! of it.
//!
//! Pure. What is no file, or whose file is not known, is said instead of tried: a shadow has
//! its own kernel settings, network and accounts of programs.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;

use umbra_api::blob::Blob;
use umbra_drift::attributes::Kind;
use umbra_drift::config::{Attribute, Config, Source};
use umbra_drift::reading::{Content, Item, Reading, Snapshot, Value};
use umbra_drift::rollback::Plan;
use umbra_drift::rollback::plan::{Aim, Change, Place};

use crate::edit::Edit;
use crate::report::Untried;

/// What is known of a primary.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// What is watched.
    pub config: &'a Config,
    /// What it said when it was known to be good.
    pub good: &'a Snapshot,
    /// What it says now.
    pub current: &'a Snapshot,
    /// The plan from now to good of all that was chosen, which has the files around keys.
    pub home: &'a Plan,
}

/// Whose files the shadow shows before anything is edited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ground {
    /// Others than the primary's: everything that is known to be good is made there.
    Image,
    /// The primary's own: what has changed is made good.
    Primary,
}

/// Edits for a rehearsal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Derived {
    /// What makes the ground the primary as it is known to be good.
    pub good: Vec<Edit>,
    /// What has drifted.
    pub drift: Vec<Edit>,
    /// What cannot be tried, and why.
    pub untried: Vec<Untried>,
}

/// What the kernel makes, and every shadow has its own of.
const KERNELS: [&str; 3] = ["/proc", "/sys", "/dev"];

/// The edits for the drift of some items.
pub fn drift(known: Known<'_>, ground: Ground, chosen: &BTreeSet<Item>) -> Derived {
    let mut found =
        Finder { known, good: BTreeMap::new(), drift: BTreeMap::new(), untried: vec![] };
    for item in chosen {
        found.chosen(item);
    }
    let items = known.good.readings.keys().chain(known.current.readings.keys());
    let others: BTreeSet<&Item> = items.filter(|item| !chosen.contains(*item)).collect();
    for item in others {
        found.other(item, ground);
    }
    let edits = |edits: BTreeMap<Vec<u8>, Reading>| {
        edits.into_iter().map(|(path, to)| Edit::new(path, to)).collect()
    };
    Derived { good: edits(found.good), drift: edits(found.drift), untried: found.untried }
}

/// The edits a plan makes, and what of it cannot be tried.
pub fn back(plan: &Plan) -> (Vec<Edit>, Vec<Untried>) {
    let (mut edits, mut untried) = (Vec::new(), Vec::new());
    for change in &plan.changes {
        match &change.place {
            Place::Path(path) if !is_kernels(&path.0) => {
                edits.push(Edit::new(path.0.clone(), made(change)));
            }
            Place::Path(path) => untried.push(cannot(&path.0, OF_THE_KERNEL)),
            Place::Setting(name) => untried.push(cannot(name.as_bytes(), OF_THE_KERNEL)),
        }
    }
    let conflicts = plan.conflicts.iter().map(|conflict| {
        let of = conflict.item.part.as_ref().map_or(conflict.item.parameter.as_bytes(), |p| &p.0);
        cannot(of, "it is in conflict, which must be decided first")
    });
    untried.extend(conflicts);
    (edits, untried)
}

const OF_THE_KERNEL: &str = "it is the kernel's, of which a shadow has its own";

struct Finder<'a> {
    known: Known<'a>,
    good: BTreeMap<Vec<u8>, Reading>,
    drift: BTreeMap<Vec<u8>, Reading>,
    untried: Vec<Untried>,
}

impl Finder<'_> {
    fn chosen(&mut self, item: &Item) {
        let Some(path) = self.known.config.path_of(item) else {
            let why = "it is no file, and a shadow has its own";
            return self.untried.push(cannot(item.parameter.as_bytes(), why));
        };
        if is_kernels(&path.0) {
            return self.untried.push(cannot(&path.0, OF_THE_KERNEL));
        }
        let change = self.known.home.changes.iter().find(|change| {
            let mut items = change.items.iter();
            items.any(|one| one.item == *item)
        });
        let place = change.and_then(|change| change.place.path());
        let place = place.map_or(path.0.clone(), |place| place.as_os_str().as_bytes().to_vec());
        if self.is_keyed(item) {
            return match change {
                Some(change) if !self.drift.contains_key(&place) => {
                    self.good.insert(place.clone(), made(change));
                    self.drift.insert(place, change.from.clone());
                }
                Some(_) => {}
                None => {
                    let left = self.known.home.left.iter().find(|left| left.item == *item);
                    let why = left.map_or("of its file only a key is known", |left| &left.why);
                    self.untried.push(cannot(&path.0, why));
                }
            };
        }
        let (good, current) = (reading(self.known.good, item), reading(self.known.current, item));
        let behind = place != path.0 || leads_alike(good, current);
        let shown = |reading: &Reading| if behind { bare(reading) } else { reading.clone() };
        if !matches!(good, Reading::Unreadable { .. }) {
            self.good.insert(place.clone(), shown(good));
        }
        self.drift.insert(place, shown(current));
    }

    /// What has not drifted, or is not tried now, is as it is known to be good.
    fn other(&mut self, item: &Item, ground: Ground) {
        let (good, current) = (reading(self.known.good, item), reading(self.known.current, item));
        let is_there = ground == Ground::Primary && good == current;
        if is_there || self.is_keyed(item) || matches!(good, Reading::Unreadable { .. }) {
            return;
        }
        let Some(path) = self.known.config.path_of(item).filter(|path| !is_kernels(&path.0)) else {
            return;
        };
        let behind = leads_alike(good, current) && good != current;
        let shown = if behind { bare(good) } else { good.clone() };
        self.good.entry(path.0).or_insert(shown);
    }

    fn is_keyed(&self, item: &Item) -> bool {
        let mut parameters = self.known.config.parameters.iter();
        parameters
            .find(|one| one.name == item.parameter)
            .is_some_and(|one| matches!(one.source, Source::File { key: Some(_), .. }))
    }
}

fn reading<'a>(side: &'a Snapshot, item: &Item) -> &'a Reading {
    side.readings.get(item).unwrap_or(&Reading::Absent)
}

fn cannot(of: &[u8], why: &str) -> Untried {
    Untried { path: Blob(of.to_vec()), why: why.to_owned() }
}

fn is_kernels(path: &[u8]) -> bool {
    KERNELS.iter().any(|top| {
        let rest = path.strip_prefix(top.as_bytes());
        rest.is_some_and(|rest| rest.is_empty() || rest.first() == Some(&b'/'))
    })
}

/// Whether both are links to one place, so that what differs lies there.
fn leads_alike(one: &Reading, other: &Reading) -> bool {
    let link = |reading: &Reading| reading.value()?.attributes.get(&Attribute::Link).cloned();
    link(one).is_some_and(|to| link(other) == Some(to))
}

/// Only what it says, wherever that lies.
fn bare(reading: &Reading) -> Reading {
    match reading {
        Reading::Present(Value { content: Some(content), .. }) => {
            let content = Some(content.clone());
            Reading::Present(Value { content, attributes: BTreeMap::new() })
        }
        other => other.clone(),
    }
}

/// What a change of a plan makes of what is there.
fn made(change: &Change) -> Reading {
    let Aim::Present { content, attributes } = &change.to else { return Reading::Absent };
    let mut value = change
        .from
        .value()
        .cloned()
        .unwrap_or(Value { content: None, attributes: BTreeMap::new() });
    if let Some(bytes) = content {
        value.content = Some(Content::Bytes(bytes.clone()));
    }
    for (attribute, blob) in attributes {
        if blob.0.is_empty() {
            value.attributes.remove(attribute);
        } else {
            value.attributes.insert(*attribute, blob.clone());
        }
    }
    let is_link = attributes.get(&Attribute::Type).and_then(Kind::read) == Some(Kind::Link);
    if attributes.contains_key(&Attribute::Type) && !is_link {
        value.attributes.remove(&Attribute::Link);
    }
    Reading::Present(value)
}

#[cfg(test)]
mod tests {
    use umbra_drift::rollback::plan::{Conflicts, Request, Selection, plan};

    use super::*;

    const CONFIG: &str = "
- {name: web, path: /etc/web}
- {name: port, path: /etc/app.ini, key: server.port, format: ini}
- {name: swappiness, path: /proc/sys/vm/swappiness}
- {name: listen, source: listen}
- {name: tree, glob: /etc/tree/**}
";

    fn file(text: &str) -> Reading {
        let attributes = BTreeMap::from([
            (Attribute::Type, Kind::File.blob()),
            (Attribute::Mode, Blob(b"0644".to_vec())),
        ]);
        let content = Some(Content::Bytes(Blob(text.as_bytes().to_vec())));
        Reading::Present(Value { content, attributes })
    }

    fn link(to: &str, text: &str) -> Reading {
        let mut value = file(text).value().cloned().expect("present");
        value.attributes.insert(Attribute::Type, Kind::Link.blob());
        value.attributes.insert(Attribute::Link, Blob(to.as_bytes().to_vec()));
        Reading::Present(value)
    }

    fn snapshot(readings: &[(Item, Reading)]) -> Snapshot {
        Snapshot { readings: readings.iter().cloned().collect() }
    }

    /// Edits as paths and texts.
    type Edits<'a> = &'a [(&'a str, &'a str)];

    /// The edits for the drift of all that differs: those for good, those of the drift, and the
    /// paths of what cannot be tried.
    #[track_caller]
    fn check(
        ground: Ground,
        good: &[(Item, Reading)],
        current: &[(Item, Reading)],
        expected: (Edits<'_>, Edits<'_>, &[&str]),
    ) {
        let config = umbra_drift::config::parse("test", CONFIG).expect("a configuration");
        let (good, current) = (snapshot(good), snapshot(current));
        let files =
            BTreeMap::from([("/etc/app.ini".into(), b"[server]\nport=81\nname=x\n".into())]);
        let home = plan(Request {
            config: &config,
            target: &good,
            base: &good,
            current: &current,
            files: &files,
            selection: &Selection::Everything,
            conflicts: Conflicts::Stop,
        });
        let items = good.readings.keys().chain(current.readings.keys());
        let chosen = items.filter(|item| reading(&good, item) != reading(&current, item));
        let chosen: BTreeSet<Item> = chosen.cloned().collect();
        let known = Known { config: &config, good: &good, current: &current, home: &home };
        let derived = drift(known, ground, &chosen);
        let words = |edits: &[Edit]| -> Vec<(String, String)> {
            let text = |edit: &Edit| match edit.to.bytes() {
                Some(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                None => format!("{:?}", edit.to),
            };
            let path = |edit: &Edit| String::from_utf8_lossy(&edit.path.0).into_owned();
            edits.iter().map(|edit| (path(edit), text(edit))).collect()
        };
        let owned = |all: &[(&str, &str)]| -> Vec<(String, String)> {
            all.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
        };
        assert_eq!(words(&derived.good), owned(expected.0), "good");
        assert_eq!(words(&derived.drift), owned(expected.1), "drift");
        let untried: Vec<_> = derived.untried.iter().map(|one| one.path.0.clone()).collect();
        assert_eq!(untried, expected.2.iter().map(|one| one.as_bytes()).collect::<Vec<_>>());
    }

    #[test]
    fn a_drift_is_made_on_what_was_good() {
        let web = || Item::whole("web");
        let part = |path: &str| Item::part("tree", path.as_bytes());
        let good = [(web(), file("1")), (part("/etc/tree/a"), file("a"))];
        let now = [
            (web(), file("2")),
            (part("/etc/tree/a"), file("a")),
            (part("/etc/tree/b"), file("b")),
        ];
        let drift = [("/etc/tree/b", "b"), ("/etc/web", "2")];
        let changed = [("/etc/tree/b", "Absent"), ("/etc/web", "1")];
        check(Ground::Primary, &good, &now, (&changed, &drift, &[]));
        let all = [("/etc/tree/a", "a"), ("/etc/tree/b", "Absent"), ("/etc/web", "1")];
        check(Ground::Image, &good, &now, (&all, &drift, &[]));
    }

    #[test]
    fn a_key_is_tried_in_its_file() {
        let port = |value: &str| (Item::whole("port"), Reading::text(value));
        let good = [("/etc/app.ini", "[server]\nport=80\nname=x\n")];
        let drift = [("/etc/app.ini", "[server]\nport=81\nname=x\n")];
        check(Ground::Image, &[port("80")], &[port("81")], (&good, &drift, &[]));
    }

    #[test]
    fn what_is_no_file_is_said() {
        let of = |name: &str, value: &str| (Item::whole(name), Reading::text(value));
        let good = [of("swappiness", "60"), of("listen", "a")];
        let now = [of("swappiness", "1"), of("listen", "b")];
        check(Ground::Primary, &good, &now, (&[], &[], &["listen", "/proc/sys/vm/swappiness"]));
    }

    #[test]
    fn behind_a_link_only_the_content_is_another() {
        let web = |text: &str| (Item::whole("web"), link("/etc/real", text));
        let (good, drift) = ([("/etc/real", "1")], [("/etc/real", "2")]);
        check(Ground::Primary, &[web("1")], &[web("2")], (&good, &drift, &[]));
    }

    #[test]
    fn a_plan_is_made_as_a_whole() {
        let from = file("2");
        let attributes = BTreeMap::from([(Attribute::Mode, Blob(b"0600".to_vec()))]);
        let to = Aim::Present { content: Some(Blob(b"1".to_vec())), attributes };
        let change = Change {
            place: Place::Path(Blob(b"/etc/web".to_vec())),
            class: umbra_drift::rollback::plan::Class::Restore,
            from,
            to,
            keys: Vec::new(),
            items: Vec::new(),
            checks: Vec::new(),
            actions: Vec::new(),
        };
        let setting = Change { place: Place::Setting("vm/swappiness".into()), ..change.clone() };
        let plan = Plan { changes: vec![change, setting], ..Plan::default() };
        let (edits, untried) = back(&plan);
        let value = edits[0].to.value().expect("present");
        assert_eq!(value.attributes[&Attribute::Mode].0, b"0600");
        assert_eq!(value.attributes[&Attribute::Type].0, b"file");
        assert_eq!((edits[0].to.bytes(), untried.len()), (Some(&b"1"[..]), 1));
    }
}
