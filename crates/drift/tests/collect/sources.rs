//! What is no file.

use std::net::TcpListener;

use libtest_mimic::Trial;
use umbra_drift::reading::{Item, Reading};

use super::support::{Root, collector, of_machine, text, why};
use super::trial;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("sources::kernel_settings_are_read_and_declared", sysctl),
        trial("sources::packages_have_versions", package),
        trial("sources::accounts_are_read_from_their_files", user),
        trial("sources::a_machine_tells_what_runs", machine),
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

fn directory() {
    let root = Root::new();
    for parameter in [
        "source: listen",
        "source: mount",
        "source: kernel, key: release",
        "source: network, key: routes",
    ] {
        assert_eq!(why(&root.read(parameter)), "no kernel runs in a directory", "{parameter}");
    }
    assert_eq!(root.read("source: service, unit: a.service"), Reading::Absent);
    root.write("/usr/lib/systemd/system/a.service", "[Service]\nExecStart=/bin/a\n");
    assert_eq!(text(&root.read("source: service, unit: a.service")), "UnitFileState=static\n");
    assert_eq!(text(&root.read("source: service, unit: a.service, key: ExecStart")), "/bin/a");
}
