//! The default configuration on a healthy machine: nothing to say.

use std::fs;
use std::os::unix::fs::symlink;

use libtest_mimic::Trial;
use umbra_drift::collect::{Collector, Place};
use umbra_drift::compare::{Comparer, UNEXPLAINED};
use umbra_drift::config::{self, Config};
use umbra_drift::defaults::{Survey, configuration};
use umbra_drift::reading::{Item, Snapshot};

use super::support::{Root, is_digest};
use super::trial;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("quiet::this_machine_read_twice_is_the_same", twice),
        trial("quiet::touched_and_rewritten_is_the_same", touched),
        trial("quiet::what_is_managed_is_no_news", managed),
        trial("quiet::only_a_machines_own_certificates_are_watched", certificates),
    ]
}

/// The default configuration of a place, and what reads it.
#[track_caller]
fn defaults(place: Place) -> (Config, Collector) {
    let text = configuration(&Survey::of(&place));
    let config = config::parse("monitoring_config.yml", &text)
        .unwrap_or_else(|problems| panic!("{}\n{text}", problems.render(false)));
    let collector = Collector::new(&config, place).expect("a collector");
    (config, collector)
}

/// What other programs on the machine may change between two readings at any time.
const VOLATILE: [&str; 2] = ["addresses", "routes"];

fn different(one: &Snapshot, other: &Snapshot) -> Vec<Item> {
    let items = one.readings.keys().chain(other.readings.keys());
    let mut items: Vec<Item> = items
        .filter(|item| one.readings.get(item) != other.readings.get(item))
        .filter(|item| !VOLATILE.contains(&item.parameter.as_str()))
        .cloned()
        .collect();
    items.sort();
    items.dedup();
    items
}

fn twice() {
    let (config, mut collector) = defaults(Place::machine().expect("a machine"));
    let all = collector.all();
    let first = config.held(&all);
    assert!(first.readings.len() > 50, "{}", first.readings.len());
    let memory = Item::whole("memory");
    assert!(all.readings.contains_key(&memory) && !first.readings.contains_key(&memory));
    let second = config.held(&collector.all());
    assert_eq!(different(&first, &second), []);
    if rustix::process::geteuid().is_root() {
        let shadow = &first.readings[&Item::whole("shadow")];
        assert!(is_digest(shadow), "{shadow:?}");
    }
}

fn touched() {
    let root = Root::new();
    for path in [
        "/etc/hosts",
        "/etc/passwd",
        "/etc/fstab",
        "/etc/motd",
        "/etc/apt/sources.list.d/a.sources",
    ] {
        root.write(path, format!("# {path}\n"));
    }
    let (_, mut collector) = defaults(root.place());
    let before = collector.all();
    assert!(before.readings.len() > 5);
    for path in ["/etc/hosts", "/etc/motd"] {
        let bytes = fs::read(root.at(path)).expect("read");
        fs::write(root.at(path), &bytes).expect("written");
        // A new file in its place, as editors and package tools do.
        fs::write(root.at("/etc/new.dpkg-new"), &bytes).expect("written");
        fs::rename(root.at("/etc/new.dpkg-new"), root.at(path)).expect("renamed");
        let file = fs::File::open(root.at(path)).expect("opened");
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).expect("touched");
    }
    root.write("/etc/ld.so.cache", "x");
    root.write("/etc/hosts~", "x");
    assert_eq!(different(&before, &collector.all()), []);
    for (_, reading) in collector.path(&root.at("/etc/motd")) {
        assert_eq!(Some(&reading), before.readings.get(&Item::part("etc", b"/etc/motd")));
    }
    root.write("/etc/motd", "other\n");
    assert_eq!(different(&before, &collector.all()), [Item::part("etc", b"/etc/motd")]);
}

fn managed() {
    let root = Root::new();
    root.write("/run/systemd/resolve/stub-resolv.conf", "nameserver 127.0.0.53\n");
    symlink("../run/systemd/resolve/stub-resolv.conf", root.at("/etc/resolv.conf"))
        .expect("linked");
    let survey = Survey::of(&root.place());
    assert!(survey.managed.contains("/etc/resolv.conf"));
    root.write("/etc/hosts", "");
    assert!(!Survey::of(&root.place()).managed.contains("/etc/hosts"));
}

fn certificates() {
    let root = Root::new();
    let made = |name: &str, is_authority: bool| {
        let mut params = rcgen::CertificateParams::new([name.to_owned()]).expect("params");
        if is_authority {
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        }
        params.not_after = rcgen::date_time_ymd(2090, 1, 1);
        let key = rcgen::KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("a certificate").pem()
    };
    let (own, authority) = (made("a.example", false), made("ca.example", true));
    root.write("/etc/letsencrypt/archive/a.example/fullchain1.pem", format!("{own}{authority}"));
    fs::create_dir_all(root.at("/etc/letsencrypt/live/a.example")).expect("made");
    symlink(
        "../../archive/a.example/fullchain1.pem",
        root.at("/etc/letsencrypt/live/a.example/fullchain.pem"),
    )
    .expect("linked");
    root.write("/etc/letsencrypt/live/README", "");
    root.write("/etc/ssl/certs/ca-certificates.crt", authority.repeat(3));
    root.write("/etc/ssl/certs/shop.pem", &own);
    root.write("/usr/share/ca-certificates/x.crt", &own);
    symlink("/usr/share/ca-certificates/x.crt", root.at("/etc/ssl/certs/x.pem")).expect("linked");
    root.write("/etc/ssl/site.crt", &own);
    root.write("/etc/ssl/openssl.cnf", "");
    root.write("/etc/ssl/broken.pem", "-----BEGIN CERTIFICATE-----\n");
    let survey = Survey::of(&root.place());
    let expected = [
        "/etc/letsencrypt/live/a.example/fullchain.pem",
        "/etc/ssl/certs/shop.pem",
        "/etc/ssl/site.crt",
    ];
    assert_eq!(survey.certificates, expected);
    let (config, mut collector) = defaults(root.place());
    let compared = Comparer::new(&config).compare_all(
        &Snapshot::default(),
        &Snapshot { readings: collector.parameter(&format!("certificate {}", expected[0])) },
        |_| UNEXPLAINED,
    );
    assert_eq!(compared, [], "it lasts long enough");
}
