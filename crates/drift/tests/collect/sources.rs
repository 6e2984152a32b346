//! What is no file.

use std::net::TcpListener;

use libtest_mimic::Trial;
use umbra_drift::reading::{Item, Reading};

use super::support::{Mounted, Root, collector, of_machine, text, why};
use super::{root_trial, trial};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("sources::kernel_settings_are_read_and_declared", sysctl),
        trial("sources::packages_have_versions", package),
        trial("sources::accounts_are_read_from_their_files", user),
        trial("sources::a_machine_tells_what_runs", machine),
        trial("sources::a_machine_tells_how_much_room_there_is", room),
        root_trial("sources::a_directory_tells_how_full_what_is_mounted_in_it_is", mounted),
        trial("sources::certificates_are_read_from_their_files", certificate),
        trial("sources::a_directory_tells_why_not", directory),
    ]
}

fn sysctl() {
    let expected = std::fs::read_to_string("/proc/sys/kernel/ostype").expect("a setting");
    assert_eq!(text(&of_machine("source: sysctl, key: kernel.ostype")), expected);
    assert_eq!(of_machine("source: sysctl, key: kernel.no_such"), Reading::Absent);
    assert_eq!(why(&of_machine("source: sysctl, key: 'a/../b'")), "this is no name of a setting");
    let place = umbra_drift::collect::Place::machine().expect("a machine");
    let mut all = collector(place, "[{name: p, source: sysctl, glob: 'kernel.os*'}]");
    let names: Vec<Item> = all.parameter("p").into_keys().collect();
    let expected = [Item::part("p", b"kernel.osrelease"), Item::part("p", b"kernel.ostype")];
    assert_eq!(names, expected);

    let root = Root::new();
    root.write("/usr/lib/sysctl.d/50.conf", "vm.swappiness = 60\nkernel.a = 1\n");
    root.write("/etc/sysctl.d/99.conf", "vm/swappiness=10\n-kernel.b = 2\n");
    assert_eq!(text(&root.read("source: sysctl, key: vm.swappiness")), "10");
    assert_eq!(text(&root.read("source: sysctl, key: kernel.a")), "1");
    assert_eq!(root.read("source: sysctl, key: kernel.c"), Reading::Absent);
    root.write("/etc/sysctl.d/50.conf", "");
    assert_eq!(root.read("source: sysctl, key: kernel.a"), Reading::Absent, "it hides the other");
}

fn package() {
    let root = Root::new();
    let unknown = root.read("source: package, key: bash");
    assert_eq!(why(&unknown), "neither dpkg nor rpm has a list of packages there");
    let stanza = "Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5\n\n";
    root.write("/var/lib/dpkg/status", stanza);
    let reading = root.read("source: package, key: bash");
    assert_eq!(text(&reading), "5 amd64 install ok installed\n");
    assert_eq!(root.read("source: package, key: vim"), Reading::Absent);
    assert_eq!(root.read("source: package, key: 'bash:i386'"), Reading::Absent);
}

fn user() {
    let root = Root::new();
    assert_eq!(why(&root.read("source: user, key: root")), "there is no /etc/passwd");
    root.write(
        "/etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nbob:x:7:8:Bob,,,:/home/bob:/bin/sh\n",
    );
    root.write("/etc/group", "root:x:0:\nwheel:x:9:bob\nadm:x:4:root,bob\n");
    let expected = "uid=7\ngid=8\ngroups=adm,wheel\nhome=/home/bob\nshell=/bin/sh\n";
    assert_eq!(text(&root.read("source: user, key: bob")), expected);
    assert_eq!(root.read("source: user, key: eve"), Reading::Absent);
}

fn machine() {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let port = socket.local_addr().expect("an address").port();
    let listening = text(&of_machine("source: listen"));
    assert!(listening.lines().any(|line| line == format!("tcp 127.0.0.1:{port}")), "{listening}");
    let mounted = text(&of_machine("source: mount"));
    assert!(mounted.lines().any(|line| line.contains(" /proc proc ")), "{mounted}");
    let proc = text(&of_machine("source: mount, path: /proc"));
    assert!(proc.contains(" proc ") && proc.contains("rw"), "{proc}");
    assert_eq!(of_machine("source: mount, path: /no/such/mount"), Reading::Absent);
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("a release");
    assert_eq!(text(&of_machine("source: kernel, key: release")), release);
    for key in ["cmdline", "modules", "tainted"] {
        assert!(of_machine(&format!("source: kernel, key: {key}")).value().is_some(), "{key}");
    }
    text(&of_machine("source: network, key: addresses"));
    text(&of_machine("source: network, key: routes"));
    assert_eq!(text(&of_machine("source: network, key: link.lo.mtu")), "65536\n");
    assert_eq!(of_machine("source: network, key: link.no-such.mtu"), Reading::Absent);
    for key in ["link.lo", "link.../etc/passwd.mtu", "speed", "link...mtu"] {
        assert!(
            why(&of_machine(&format!("source: network, key: {key}"))).starts_with("it is none")
        );
    }
}

/// A number, of the last reading.
#[track_caller]
fn number(reading: &Reading) -> f64 {
    text(reading).trim_end().parse().expect("a number")
}

fn room() {
    let of_memory =
        |key: &str| number(&of_machine(&format!("source: memory, key: {key}, expect: {{ge: 0}}")));
    assert!((0.0..=100.0).contains(&of_memory("available_percent")));
    assert!((0.0..=100.0).contains(&of_memory("swap_used_percent")));
    assert!(of_memory("available_bytes") >= 4096.0);
    let of_mount = |path: &str, key: &str| {
        of_machine(&format!("source: mount, path: {path}, key: {key}, expect: {{ge: 0}}"))
    };
    assert_eq!(number(&of_mount("/proc", "used_percent")), 0.0, "there is no room at all");
    for key in ["used_percent", "size_bytes", "options"] {
        assert_eq!(of_mount("/proc/sys", key), Reading::Absent, "{key}: nothing is mounted there");
        assert_eq!(of_mount("/no/such/mount", key), Reading::Absent, "{key}");
    }
    assert!(text(&of_mount("/proc", "options")).split(',').any(|option| option.trim() == "rw"));
}

fn mounted() {
    let root = Root::new();
    std::fs::create_dir(root.at("/srv")).expect("made");
    let used = "source: mount, path: /srv, key: used_percent, expect: {le: 90}";
    assert_eq!(root.read(used), Reading::Absent);
    let _mount = Mounted::tmpfs(&root.at("/srv"), c"size=1m,nr_inodes=100");
    assert_eq!(number(&root.read(used)), 0.0);
    let size = "source: mount, path: /srv, key: size_bytes";
    assert_eq!(text(&root.read(size)), "1048576\n");
    root.write("/srv/half", vec![b'x'; 512 << 10]);
    assert_eq!(text(&root.read(used)), "50.0000\n");
    let left = "source: mount, path: /srv, key: available_bytes, tolerance: 10%";
    assert_eq!(text(&root.read(left)), "524288\n");
    let files = "source: mount, path: /srv, key: inodes_used_percent, expect: {le: 90}";
    assert_eq!(text(&root.read(files)), "2.0000\n", "the top and one file");
    let options = root.read("source: mount, path: /srv, key: options");
    assert_eq!(why(&options), "no kernel runs in a directory");
}

fn certificate() {
    let root = Root::new();
    let of = |key: &str| {
        let tolerance = if key == "days_left" { ", tolerance: 1" } else { "" };
        root.read(&format!("source: certificate, path: /etc/shop.pem, key: {key}{tolerance}"))
    };
    assert_eq!(of("subject"), Reading::Absent);
    let mut params = rcgen::CertificateParams::new(["shop.example".to_owned()]).expect("params");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "shop.example");
    params.not_after = rcgen::date_time_ymd(2090, 1, 1);
    let key = rcgen::KeyPair::generate().expect("a key");
    let made = params.self_signed(&key).expect("a certificate");
    root.write("/etc/shop.pem", format!("{}{}", key.serialize_pem(), made.pem()));
    assert_eq!(text(&of("subject")), "CN=shop.example\n");
    assert_eq!(text(&of("expires")), "2090-01-01T00:00:00.000Z\n");
    assert_eq!(text(&of("fingerprint")).trim_end().split(':').count(), 32);
    assert!(number(&of("days_left")) > 1000.0);
    root.write("/etc/shop.pem", "no certificate");
    assert_eq!(why(&of("days_left")), "it is no certificate");
}

fn directory() {
    let root = Root::new();
    for parameter in [
        "source: listen",
        "source: mount",
        "source: kernel, key: release",
        "source: network, key: routes",
        "source: memory, key: available_percent, expect: {ge: 5}",
    ] {
        assert_eq!(why(&root.read(parameter)), "no kernel runs in a directory", "{parameter}");
    }
    assert_eq!(root.read("source: service, unit: a.service"), Reading::Absent);
    root.write("/usr/lib/systemd/system/a.service", "[Service]\nExecStart=/bin/a\n");
    assert_eq!(text(&root.read("source: service, unit: a.service")), "UnitFileState=static\n");
    assert_eq!(text(&root.read("source: service, unit: a.service, key: ExecStart")), "/bin/a");
}
