//! Single files and keys in them.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::time::Duration;

use libtest_mimic::Trial;
use umbra_drift::config::Attribute;
use umbra_drift::reading::{Item, Reading};

use super::support::{Root, attribute, concerned, is_digest, of_machine, text, why};
use super::trial;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("files::missing_unreadable_and_empty_are_three", three),
        trial("files::a_file_has_all_its_attributes", attributes),
        trial("files::a_link_is_followed_and_said_to_be_one", links),
        trial("files::a_key_is_read_alone", keys),
        trial("files::secrets_stay_secret", secrets),
        trial("files::large_files_are_known_by_their_digests", large),
        trial("files::a_change_is_looked_up_by_its_path", by_path),
        trial("files::both_views_are_two_facts", views),
        trial("files::what_nothing_tells_of_is_polled", polled),
    ]
}

fn three() {
    let root = Root::new();
    root.write("/etc/empty", "");
    assert_eq!(root.read("path: /etc/missing"), Reading::Absent);
    assert_eq!(text(&root.read("path: /etc/empty")), "");
    assert_eq!(why(&root.read("path: /etc")), "it is a directory");
    assert!(root.read("path: /etc, attrs: [mode]").value().is_some());
}

fn attributes() {
    let root = Root::new();
    root.write("/etc/f", "x");
    fs::set_permissions(root.at("/etc/f"), fs::Permissions::from_mode(0o4640)).expect("changed");
    let reading = root.read("path: /etc/f");
    assert_eq!(attribute(&reading, Attribute::Mode).as_deref(), Some("4640"));
    assert_eq!(attribute(&reading, Attribute::Type).as_deref(), Some("file"));
    let own = rustix::process::geteuid().as_raw().to_string();
    assert_eq!(attribute(&reading, Attribute::Owner), Some(own));
    assert_eq!(attribute(&reading, Attribute::Link), None);
    assert_eq!(attribute(&reading, Attribute::Xattr), None);
    let flags = rustix::fs::XattrFlags::empty();
    match rustix::fs::setxattr(root.at("/etc/f"), "user.note", b"hi", flags) {
        Ok(()) => {
            let reading = root.read("path: /etc/f");
            let xattr = attribute(&reading, Attribute::Xattr);
            assert_eq!(xattr.as_deref(), Some("user.note\0\u{2}\0\0\0hi"));
        }
        Err(error) => println!("skipped: no attributes on this filesystem ({error})"),
    }
}

fn links() {
    let root = Root::new();
    root.write("/run/resolve/stub", "nameserver 127.0.0.53\n");
    symlink("../run/resolve/stub", root.at("/etc/resolv.conf")).expect("linked");
    let reading = root.read("path: /etc/resolv.conf");
    assert_eq!(text(&reading), "nameserver 127.0.0.53\n");
    assert_eq!(attribute(&reading, Attribute::Link).as_deref(), Some("../run/resolve/stub"));
    assert_eq!(attribute(&reading, Attribute::Type).as_deref(), Some("file"));
    symlink("/etc/hostname", root.at("/etc/escape")).expect("linked");
    assert_eq!(root.read("path: /etc/escape"), Reading::Absent, "it leads to the root's own");
}

fn keys() {
    let root = Root::new();
    root.write("/etc/app.conf", "port = 80\nSystem time = 3\n");
    assert_eq!(text(&root.read("path: /etc/app.conf, format: kv, key: port")), "80");
    assert_eq!(root.read("path: /etc/app.conf, format: kv, key: host"), Reading::Absent);
    assert_eq!(root.read("path: /etc/no.conf, format: kv, key: host"), Reading::Absent);
    root.write("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
    assert_eq!(text(&root.read("path: /etc/passwd, format: auto, key: root.shell")), "/bin/sh");
    root.write("/etc/x", b"\xff\x00\x01 = \n[[[");
    assert_eq!(root.read("path: /etc/x, format: ini, key: a.b"), Reading::Absent);
}

fn secrets() {
    let root = Root::new();
    root.write("/etc/shadow", "root:$y$secret:1::::::\n");
    root.write("/etc/app", "token = hunter2\n");
    root.write("/srv/key.pem", "-----BEGIN PRIVATE KEY-----\nMII\n");
    symlink("shadow", root.at("/etc/alias")).expect("linked");
    for parameter in [
        "path: /etc/shadow",
        "path: /etc/alias",
        "path: /etc/shadow, format: auto, key: root.password",
        "path: /etc/alias, format: shadow, key: root.password",
        "path: /etc/app, nodiff: true",
        "path: /etc/app, nodiff: true, format: kv, key: token",
        "path: /srv/key.pem",
    ] {
        assert!(is_digest(&root.read(parameter)), "{parameter}");
    }
    let mut tree = root.collector("[{name: t, glob: ['/etc/**', '/srv/**'], nodiff: [/etc/app]}]");
    let all = tree.all();
    let debug = format!("{all:?}");
    assert!(!debug.contains(&format!("{:?}", b"hunter2").replace(['[', ']'], "")), "{debug}");
    for path in ["/etc/shadow", "/etc/app", "/srv/key.pem"] {
        let item = Item::part("t", path.as_bytes());
        assert!(is_digest(&all.readings[&item]), "{path}");
    }
}

fn large() {
    let root = Root::new();
    let bytes = vec![b'x'; umbra_drift::collect::KEEP_BYTES_MAX];
    root.write("/etc/fits", &bytes);
    root.write("/etc/long", [&bytes[..], b"y"].concat());
    assert_eq!(root.read("path: /etc/fits").bytes(), Some(&bytes[..]));
    let reading = root.read("path: /etc/long");
    let content = reading.value().and_then(|value| value.content.clone()).expect("content");
    let whole = [&bytes[..], b"y"].concat();
    assert_eq!(content, umbra_drift::reading::Content::digest_of(&whole));
}

fn by_path() {
    let root = Root::new();
    root.write("/run/real", "1");
    symlink("/run/hop", root.at("/etc/link")).expect("linked");
    symlink("real", root.at("/run/hop")).expect("linked");
    let mut collector = root.collector("[{name: a, path: /etc/link}, {name: b, path: /srv/b/c}]");
    collector.all();
    let names = |collector: &mut umbra_drift::collect::Collector, path: &str| {
        let mut names: Vec<String> = collector
            .path(&root.at(path))
            .into_iter()
            .map(|(item, reading)| {
                format!("{}{}", item.parameter, u8::from(reading.value().is_some()))
            })
            .collect();
        names.sort();
        names.join(",")
    };
    for path in ["/etc/link", "/run/hop", "/run/real", "/run", "/etc"] {
        assert_eq!(names(&mut collector, path), "a1", "{path}");
    }
    assert_eq!(names(&mut collector, "/etc/lin"), "");
    assert_eq!(names(&mut collector, "/srv"), "b0");
    assert_eq!(concerned(&mut collector, &PathBuf::from("/elsewhere")), Vec::<String>::new());
    assert_eq!(collector.watched_roots(), [root.at("/etc"), root.at("/run")]);
    assert_eq!(collector.polled(), [("b".to_owned(), Duration::from_secs(30))]);
    fs::remove_file(root.at("/etc/link")).expect("removed");
    symlink("/srv/new", root.at("/etc/link")).expect("linked");
    assert_eq!(names(&mut collector, "/etc/link"), "a0");
    root.write("/srv/new", "2");
    assert_eq!(names(&mut collector, "/srv/new"), "a1");
    assert_eq!(names(&mut collector, "/run/real"), "");
}

fn views() {
    let root = Root::new();
    root.write("/etc/sysctl.d/x.conf", "net.ipv4.ip_forward = 1\n");
    let parameter = "[{name: p, path: /etc/sysctl.d/x.conf, format: auto, key: net.ipv4.ip_forward, view: both}]";
    let mut collector = root.collector(parameter);
    let all = collector.parameter("p");
    assert_eq!(text(&all[&Item::part("p", b"declared")]), "1");
    assert_eq!(why(&all[&Item::part("p", b"effective")]), "no kernel runs in a directory");
    let declared = root.read(&parameter[11..parameter.len() - 2].replace("both", "declared"));
    assert_eq!(text(&declared), "1");
    root.write("/etc/x.ini", "[a]\nb=1\n");
    let unknown = root.read("path: /etc/x.ini, format: ini, key: a.b, view: effective");
    assert!(why(&unknown).starts_with("nothing tells"), "{unknown:?}");
    let unit = root
        .read("path: /etc/systemd/system/a.service, format: auto, key: Service.X, view: effective");
    assert_eq!(why(&unit), "systemd does not run there");
}

fn polled() {
    let swappiness = of_machine("path: /proc/sys/vm/swappiness");
    assert!(text(&swappiness).trim().parse::<u32>().is_ok());
    let root = Root::new();
    let collector = root.collector(
        "[{name: a, path: /proc/x}, {name: b, path: /etc/b}, {name: c, source: listen, poll: 2m}, \
         {name: d, glob: ['/sys/**']}, {name: e, glob: ['/etc/**']}]",
    );
    let polled = collector.polled();
    let names: Vec<&str> = polled.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["a", "c", "d"]);
    assert_eq!(polled[1].1, Duration::from_secs(120));
}
