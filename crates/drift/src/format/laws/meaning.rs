//! What is a difference and what is none, and how edits are written.

use super::super::{Change, Difference, Format, Key, diff, parse};

/// Changes, one on each line: `+key=value`, `-key=value`, `~key=old>new`;
/// in brackets what is not in force.
#[track_caller]
fn check(format: Format, old: &str, new: &str, expected: &[&str]) {
    let text = |v: &[u8]| String::from_utf8_lossy(v).into_owned();
    let line = |c: &Change| {
        let line = match &c.difference {
            Difference::Added(new) => format!("+{}={}", c.key, text(new)),
            Difference::Removed(old) => format!("-{}={}", c.key, text(old)),
            Difference::Changed { old, new } => format!("~{}={}>{}", c.key, text(old), text(new)),
        };
        if c.in_force { line } else { format!("({line})") }
    };
    let changes = diff(&parse(format, old.as_bytes()), &parse(format, new.as_bytes()));
    assert_eq!(changes.iter().map(line).collect::<Vec<_>>(), expected);
}

#[test]
fn what_means_nothing_is_no_difference() {
    use Format::*;
    check(KeyValue, "A=1\nB=2\n", "# x\nB = 2\n\n  A=1", &[]);
    check(Sysctl, "kernel.a = 1 2\n", "kernel/a=1\t2\r\n", &[]);
    check(Systemd, "[A]\nX=1 \\\n  2\n[B]\nY=1\n", "[B]\nY=1\n; c\n[A]\nX=1 2\n", &[]);
    check(Resolv, "options a b\nsearch x\n", "search   x\noptions b a\n", &[]);
    check(Hosts, "1.1.1.1 a b\n2.2.2.2 c\n", "2.2.2.2\tc # x\n1.1.1.1  a\tb\n", &[]);
    check(Fstab, "a /a ext4 x 0 0\nb /b ext4\n", "b  /b  ext4\na\t/a ext4 x 0 0\n", &[]);
    check(Passwd, "a:x:1:1::/:/s\nb:x:2:1::/:/s\n", "b:x:2:1::/:/s\na:x:1:1::/:/s\n", &[]);
    check(Sshd, "Port 22\nUsePAM yes\n", "usepam=yes # c\n\nPORT  22\n", &[]);
    check(Crontab, "@daily a\n@hourly b\n", "# c\n@hourly  b\n@daily a\n", &[]);
    check(Nginx, "http { a 1; b 2; }", "http {\n  b  2; # c\n  a 1;\n}\n", &[]);
    check(Deb822, "A: x y\nB: 1\n\n", "# c\nB: 1\nA: x\n# d\n y\n", &[]);
    check(Json, r#"{"a":1,"b":"\u00e9"}"#, "{\n \"b\": \"é\", \"a\": 1}", &[]);
    check(Toml, "a = [1, 2]\n[t]\nb = 1\n", "a = [\n 1, # x\n 2,\n]\n[ t ]\n\"b\" = 1\n", &[]);
    check(Yaml, "a:\n  b: 1\nc: [x]\n", "c: [x] # y\n\na:\n    b: 1\n", &[]);
    let rules = "table t {\nchain c {\ncounter packets 1 bytes 2 accept\n}\n}\n";
    check(Nft, rules, &rules.replace("1 bytes 2", "77 bytes 99").replace('\n', "\n\t"), &[]);
}

#[test]
fn differences_have_keys_and_both_values() {
    use Format::*;
    check(KeyValue, "A=1\n", "A=2\nB=3\n", &["~A=1>2", "+B=3"]);
    check(Resolv, "nameserver a\n", "nameserver a\nnameserver b\n", &["+nameserver[1]=b"]);
    check(Passwd, "r:x:0:0::/:/a\n", "r:x:0:0::/:/b\n", &["~r.shell=/a>/b"]);
    check(Passwd, "r:x:0:0::/:/a\n", "", &["-r=r:x:0:0::/:/a"]);
    check(Fstab, "a /a x ro\n", "a /a x rw\n", &["~/a.options=ro>rw"]);
    check(Ini, "[a]\nx=1\n", "[a]\nx=1\ny=2\n[b]\nz=1\n", &["+a.y=2", "+b=z=1"]);
    check(Nginx, "h { s { l 80; } }", "h { s { l 81; } }", &["~h.s.l=80>81"]);
    check(Json, r#"{"a":[1,2,3]}"#, r#"{"a":[1,3]}"#, &["-a[1]=2"]);
    check(Yaml, "a:\n- b: 1\n", "a:\n- b: 2\n", &["~a[0].b=1>2"]);
    check(Sysctl, "net.a.b=1\n", "net.a.b=2\n", &["~net.a.b=1>2"]);
    check(Sysctl, "a.b=1\n", "- a.b=1\n", &["~a.b=1>1"]);
    check(Raw, "a\nb\n", "a\nc\n", &["~?[1]=b>c"]);
    check(Sshd, "UsePAM yes\n", "UsePAM yes\ngarbage\n", &["+?=garbage"]);
}

#[test]
fn order_counts_where_the_format_says_so() {
    use Format::*;
    let swapped = &["-nameserver[0]=a", "+nameserver[1]=a"];
    check(Resolv, "nameserver a\nnameserver b\n", "nameserver b\nnameserver a\n", swapped);
    check(Nginx, "allow a;\ndeny all;\n", "deny all;\nallow a;\n", &["-allow=a", "+allow=a"]);
    check(Hosts, "1.1.1.1 a\n2.2.2.2 a\n", "2.2.2.2 a\n1.1.1.1 a\n", &["-1.1.1.1=a", "+1.1.1.1=a"]);
}

#[test]
fn what_has_no_effect_is_marked() {
    use Format::*;
    check(Sshd, "UsePAM no\n", "UsePAM no\nUsePAM yes\n", &["(+usepam[1]=yes)"]);
    check(Sysctl, "a.b=1\n", "a.b=0\na.b=1\n", &["(+a.b[0]=0)"]);
    let unit = "[S]\nX=\nX=2\n";
    check(Systemd, unit, "[S]\nX=1\nX=\nX=2\n", &["(+S.X[0]=1)"]);
}

#[track_caller]
fn edits(format: Format, before: &str, key: &str, value: Option<&str>, after: &str) {
    let tree = parse(format, before.as_bytes());
    let key: Key = key.parse().unwrap();
    let edited = tree.edit(&key, value.map(str::as_bytes)).unwrap();
    assert_eq!(String::from_utf8(edited).unwrap(), after);
}

#[test]
fn edits_touch_their_value_only() {
    use Format::*;
    edits(KeyValue, "A = 1 \nB=2", "A", Some("3"), "A = 3 \nB=2");
    edits(Resolv, "nameserver a\n", "nameserver[1]", Some("b"), "nameserver a\nnameserver b\n");
    edits(Sysctl, "a.b = 1\n", "a.b", Some("0"), "a.b = 0\n");
    edits(Passwd, "r:x:0:0::/:/a\n", "r.shell", Some("/b"), "r:x:0:0::/:/b\n");
    edits(Passwd, "", "r", Some("r:x:0:0::/:/a"), "r:x:0:0::/:/a\n");
    edits(Systemd, "[A]\nX=1", "A.Y", Some("2"), "[A]\nX=1\nY=2\n");
    edits(Systemd, "[A]\nX=1\n", "B.Y", Some("2"), "[A]\nX=1\n[B]\nY=2\n");
    edits(Systemd, "[A]\nX=1\n[B]\nY=2\n", "A", None, "[B]\nY=2\n");
    edits(
        Sshd,
        "Port 22\nMatch all\n  X no\n",
        "UsePAM",
        Some("no"),
        "Port 22\nUsePAM no\nMatch all\n  X no\n",
    );
    edits(Nginx, "h {\n  a 1;\n}\n", "h.b", Some("2"), "h {\n  a 1;\n  b 2;\n}\n");
    edits(Nginx, "h {\n  a 1;\n  b 2;\n}\n", "h.a", None, "h {\n  b 2;\n}\n");
    edits(Json, "{\n  \"a\": 1,\n  \"b\": 2\n}\n", "b", None, "{\n  \"a\": 1\n}\n");
    edits(Json, "{\n  \"a\": 1,\n  \"b\": 2\n}\n", "a", None, "{\n  \"b\": 2\n}\n");
    edits(Json, "{\n  \"a\": 1\n}\n", "c", Some("[]"), "{\n  \"a\": 1,\n  \"c\": []\n}\n");
    edits(Json, "{\"a\": [1, 2]}", "a[2]", Some("3"), "{\"a\": [1, 2, 3]}");
    edits(Yaml, "a:\n  b: 1 # x\n", "a.c", Some("2"), "a:\n  b: 1 # x\n  c: 2\n");
    edits(Yaml, "a:\n- x\n- y\n", "a[0]", None, "a:\n- y\n");
    edits(Toml, "[a.b]\nc = 1 # x\n", "a.b.c", Some("2"), "[a.b]\nc = 2 # x\n");
    edits(Deb822, "A: 1\n", "[0].B", Some("2"), "A: 1\nB: 2\n");
    edits(
        Nft,
        "table t {\n\tchain c {\n\t\ta\n\t}\n}\n",
        "\"table t\".\"chain c\".rule[1]",
        Some("b"),
        "table t {\n\tchain c {\n\t\ta\n\t\tb\n\t}\n}\n",
    );
}

#[test]
fn keys_pick_by_place_and_value() {
    let cron = parse(Format::CronD, b"@daily root a\n@hourly www b c\n");
    let get = |key: &str| cron.get(&key.parse().unwrap());
    assert_eq!(get("job[user=www].command"), Some(&b"b c"[..]));
    assert_eq!(get("job[user=nobody].command"), None);
    let nested = parse(Format::Json, b"[[1, 2]]");
    assert_eq!(nested.get(&"[0][1]".parse().unwrap()), Some(&b"2"[..]));
    let deb = parse(Format::Deb822, b"Package: a\nVersion: 1\n\nPackage: b\nVersion: 2\n");
    assert_eq!(deb.get(&"[package=b].version".parse().unwrap()), Some(&b"2"[..]));
}

/// The text of a key's value, and the key as the file spells it.
#[track_caller]
fn names(format: Format, text: &str, key: &str, expected: Option<(&str, &str)>) {
    let tree = parse(format, text.as_bytes());
    let key: Key = key.parse().unwrap();
    let spelled = tree.spelled(&key).map(|key| key.to_string());
    let value = tree.get(&key).map(|value| std::str::from_utf8(value).unwrap());
    assert_eq!(value.zip(spelled.as_deref()), expected);
}

/// Lines that fit nowhere may stand between elements and do not count.
#[test]
fn elements_are_counted_by_themselves() {
    let text = "a:\n  - b: c\n   odd\n  - d: e\n";
    names(Format::Yaml, text, "a[1].d", Some(("e", "a[1].d")));
    names(Format::Yaml, text, "a[last].d", Some(("e", "a[1].d")));
    names(Format::Yaml, text, "a.?", Some(("   odd", "a.?")));
    edits(Format::Yaml, "a:\n  - b\n   odd\n", "a[1]", Some("c"), "a:\n  - b\n   odd\n  - c\n");
}

const SSHD: &str = "Port 22\nMatch User bob\n X11Forwarding no\nMatch all\n X11Forwarding yes\n";
const HOSTS: &str = "127.0.0.1 localhost\n10.0.0.2  db db.example data # x\n";
const UNIT: &str = "[Service]\nExecStart=/a\nRestart=no\n";
const FSTAB: &str = "a / ext4 ro\nb /boot/efi vfat rw\n";

/// No more than so many steps are tried as one name; a longer one is quoted.
#[test]
fn names_with_many_dots_are_found() {
    let name = ["a"; 17].join(".");
    let ours = format!("\"{name}\"");
    names(Format::KeyValue, &format!("{name}=1\n"), &ours, Some(("1", &ours)));
}

#[test]
fn blocks_and_rows_have_shorter_names() {
    names(
        Format::Sshd,
        SSHD,
        "match[1].x11forwarding",
        Some(("yes", "\"Match all\".x11forwarding")),
    );
    let nginx = "http { server { location / { root /a; } location /b { root /c; } } }";
    let ours = "http.server.\"location /b\".root";
    names(Format::Nginx, nginx, "http.server.location[1].root", Some(("/c", ours)));
    names(Format::Fstab, FSTAB, "[1].type", Some(("vfat", "/boot/efi.type")));
    names(Format::Passwd, "r:x:0:0::/:/a\n", "[uid=0].shell", Some(("/a", "r.shell")));
    names(Format::KeyValue, "A=1\n", "[0]", None);
    names(Format::Hosts, HOSTS, "[last].alias[1]", Some(("data", "10.0.0.2.alias[1]")));
    names(Format::Hosts, HOSTS, "10.0.0.2.canonical", Some(("db", "10.0.0.2.canonical")));
}

#[test]
fn parts_of_a_row_are_edited_on_their_own() {
    let after = HOSTS.replace("db.example", "x");
    edits(Format::Hosts, HOSTS, "10.0.0.2.alias[0]", Some("x"), &after);
    edits(Format::Hosts, HOSTS, "/2/alias[2]", Some("x"), &HOSTS.replace("data", "x"));
    check(Format::Hosts, HOSTS, &after, &["~10.0.0.2=db db.example data>db x data"]);
    let tree = parse(Format::Hosts, HOSTS.as_bytes());
    for (key, value) in [("10.0.0.2.alias[0]", Some("x y")), ("10.0.0.2.alias[0]", None)] {
        assert!(tree.edit(&key.parse().unwrap(), value.map(str::as_bytes)).is_err(), "{key}");
    }
    assert!(tree.edit(&"127.0.0.1.alias".parse().unwrap(), Some(b"x")).is_err());
}

#[test]
fn other_dialects_find_the_same() {
    use Format::*;
    let json = r#"{"a": [{"b": 1}, {"b": 2, "c d": 3}], "$schema": "x", "/p": {"q": 4}}"#;
    names(Json, json, "$.a[0].b", Some(("1", "a[0].b")));
    names(Json, json, "$['a'][-1]['c d']", Some(("3", "a[1].\"c d\"")));
    names(Json, json, "$schema", Some(("\"x\"", "$schema")));
    names(Json, json, "$['$schema']", Some(("\"x\"", "$schema")));
    names(Json, json, "/a/2/b", Some(("2", "a[1].b")));
    names(Json, json, "/a[b='2']/b", Some(("2", "a[1].b")));
    names(Toml, "[a.b]\nc = 1\n", "$.a.b.c", Some(("1", "\"a.b\".c")));
    names(Yaml, "a:\n- b\n- c\n", "/a/*[last()]", Some(("c", "a[1]")));
    names(Sshd, SSHD, "/Match[1]/X11Forwarding", Some(("no", "\"Match User bob\".x11forwarding")));
    names(Sshd, SSHD, "/Port", Some(("22", "port")));
    names(Hosts, HOSTS, "/1/ipaddr", Some(("127.0.0.1", "127.0.0.1.ipaddr")));
    names(Hosts, HOSTS, "/*[canonical='db']/ipaddr", Some(("10.0.0.2", "10.0.0.2.ipaddr")));
    names(Sysctl, "net.a.b=1\n", "/net.a.b", Some(("1", "net.a.b")));
    names(Systemd, UNIT, "/Service/Restart", Some(("no", "Service.Restart")));
    names(Fstab, FSTAB, "/*[file='/']/options", Some(("ro", "/.options")));
}

/// What began with a slash and meant something means it still.
#[test]
fn a_name_may_begin_with_a_slash() {
    use Format::*;
    names(Fstab, FSTAB, "/boot/efi.options", Some(("rw", "/boot/efi.options")));
    names(Fstab, FSTAB, "/boot/efi", Some(("b /boot/efi vfat rw", "/boot/efi")));
    names(Fstab, FSTAB, "/.type", Some(("ext4", "/.type")));
    names(KeyValue, "/srv/a ro\n", "/srv/a", Some(("ro", "/srv/a")));
    let nginx = "/http/a 1;\nhttp { a 2; }";
    names(Nginx, nginx, "/http/a", Some(("1", "/http/a")));
    names(Nginx, nginx, "/http[1]/a", Some(("2", "http.a")));
    edits(Fstab, "a / x\n", "/boot/efi", Some("b /boot/efi x"), "a / x\nb /boot/efi x\n");
    edits(KeyValue, "/srv/a ro\n", "/srv/b", Some("rw"), "/srv/a ro\n/srv/b rw\n");
    // What is added is Augeas's where there is something to put it in, or can be nothing else.
    edits(Nginx, "http {\n  a 1;\n}\n", "/http/b", Some("2"), "http {\n  a 1;\n  b 2;\n}\n");
    edits(Systemd, "[Unit]\nA=b\n", "/Service/C", Some("d"), "[Unit]\nA=b\n[Service]\nC=d\n");
}

#[test]
fn an_edit_the_file_cannot_express_is_refused() {
    let refused = |format, text: &str, key: &str, value: Option<&str>| {
        let tree = parse(format, text.as_bytes());
        assert!(tree.edit(&key.parse().unwrap(), value.map(str::as_bytes)).is_err(), "{key}");
    };
    refused(Format::KeyValue, "A=1\n", "A", Some("1\nB=2"));
    refused(Format::Passwd, "r:x:0:0::/:/a\n", "r.shell", Some("/a:b"));
    refused(Format::Passwd, "r:x:0:0::/:/a\n", "r.shell", None);
    refused(Format::Json, "{\"a\": 1}", "a", Some("1, \"b\": 2"));
    refused(Format::Json, "{\"a\": 1}", "b.c", Some("1"));
    refused(Format::Nginx, "a 1;\n", "a", Some("1; b 2"));
    refused(Format::KeyValue, "A=1\n", "B", None);
}
