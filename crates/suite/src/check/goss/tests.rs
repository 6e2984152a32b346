//! Whole goss files against a directory that plays the shadow.

use super::*;
use crate::target::DirTarget;
use crate::test_server::{LOOPBACK, Server, answer};
use proptest::prelude::*;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use umbra_state::Verdict;

fn shadow() -> (tempfile::TempDir, DirTarget) {
    let dir = tempfile::tempdir().expect("tempdir");
    let make = |path: &str, text: &str| {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().expect("parent")).expect("mkdir");
        fs::write(path, text).expect("write");
    };
    make(
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/bash\nwww-data:x:33:33:www:/var/www:/usr/sbin/nologin\n",
    );
    make("etc/group", "root:x:0:\nwww-data:x:33:\nssl-cert:x:110:www-data,postgres\n");
    make("etc/motd", "Welcome\nto the shadow\n");
    make(
        "var/lib/dpkg/status",
        "Package: nginx\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.22.1-9\n\n",
    );
    make("usr/lib/systemd/system/nginx.service", "[Service]\nExecStart=/usr/sbin/nginx -g 'x'\n");
    fs::create_dir_all(dir.path().join("etc/systemd/system/multi-user.target.wants"))
        .expect("mkdir");
    symlink(
        "/lib/systemd/system/nginx.service",
        dir.path().join("etc/systemd/system/multi-user.target.wants/nginx.service"),
    )
    .expect("symlink");
    symlink("/etc/motd", dir.path().join("etc/issue")).expect("symlink");
    fs::set_permissions(dir.path().join("etc/motd"), fs::Permissions::from_mode(0o640))
        .expect("chmod");
    let target = DirTarget::new(dir.path()).expect("target").with_address(LOOPBACK);
    (dir, target)
}

fn run(target: &DirTarget, yaml: &str) -> Outcome {
    let file = match GossFile::parse("goss.yaml", yaml) {
        Ok(file) => file,
        Err(problems) => panic!("{problems:?}"),
    };
    look(&file, target, &Context::default(), Instant::now() + Duration::from_secs(10))
}

/// Every observation passes, and there are so many.
#[track_caller]
fn check_passes(target: &DirTarget, yaml: &str, count: usize) {
    let outcome = run(target, yaml);
    let bad: Vec<_> = outcome.evidence.iter().filter(|one| one.verdict != Verdict::Pass).collect();
    assert!(bad.is_empty() && outcome.errors.is_empty(), "{bad:?} {:?}", outcome.errors);
    assert_eq!(outcome.evidence.len(), count);
}

/// Every observation fails.
#[track_caller]
fn check_fails(target: &DirTarget, yaml: &str) {
    let outcome = run(target, yaml);
    assert!(!outcome.evidence.is_empty());
    assert!(
        outcome.evidence.iter().all(|one| one.verdict == Verdict::Fail),
        "{:?}",
        outcome.evidence
    );
}

#[test]
fn files_packages_users_and_groups_need_nothing_running() {
    let (_dir, target) = shadow();
    let yaml = r#"
file:
  /etc/motd:
    exists: true
    mode: "0640"
    size: 22
    owner: root
    group: root
    filetype: file
    contents: [Welcome, "!secret", "/^to .* shadow$/"]
    md5: 8c67dbaeb2d4ea9b4f9bd7cea0a8a2a1
  /etc/issue:
    exists: true
    filetype: symlink
    linked-to: /etc/motd
    contains: ["/shadow/"]
  /etc: {exists: true, filetype: directory}
  /etc/none: {exists: false}
package:
  nginx: {installed: true, versions: ["1.22.1-9"]}
  apache2: {installed: false}
user:
  www-data:
    exists: true
    uid: 33
    gid: 33
    groups: [www-data, ssl-cert]
    home: /var/www
    shell: /usr/sbin/nologin
  nobody: {exists: false}
group:
  ssl-cert: {exists: true, gid: 110}
matching:
  m: {content: [1, 2], matches: {contain-element: {gt: 1}}}
"#;
    let digest = {
        use md5::Digest;
        let bytes = md5::Md5::digest(b"Welcome\nto the shadow\n");
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let yaml = yaml.replace("8c67dbaeb2d4ea9b4f9bd7cea0a8a2a1", &digest);
    check_passes(&target, &yaml, 28);
    assert!(target.asked().is_empty(), "nothing was run");
    assert!(GossFile::parse("", &yaml).expect("parse").is_static());
}

#[test]
fn what_is_not_so_fails_with_what_was_seen() {
    let (_dir, target) = shadow();
    check_fails(
        &target,
        "file:\n  /etc/motd: {exists: false, mode: '0644', size: {gt: 100}, owner: www-data, contents: [nowhere, '!Welcome']}\n  /etc/none: {exists: true, mode: '0644'}\n",
    );
    check_fails(
        &target,
        "package:\n  nginx: {installed: false, versions: ['9']}\n  x: {installed: true}\n",
    );
    check_fails(
        &target,
        "user:\n  www-data: {exists: false, uid: 1, groups: [wheel]}\ngroup:\n  wheel: {exists: true}\n",
    );
    let outcome = run(&target, "file:\n  /etc/motd: {mode: 0644}\n");
    assert_eq!(outcome.evidence[0].subject, "file /etc/motd: mode");
    assert_eq!(outcome.evidence[0].seen, "0640");
    assert_eq!(outcome.evidence[0].expected.as_deref(), Some("0644"));
}

#[test]
fn services_processes_ports_and_the_kernel() {
    let (_dir, target) = shadow();
    let target = target
        .with_answer("/proc/[0-9]*/comm", 0, "init\nnginx\nnginx\n", "")
        .with_answer("/proc/net/", 0, "tcp\n 0: 00000000:0050 00000000:0000 0A\ntcp6\nudp\n", "")
        .with_answer("mountinfo", 0, "1 0 0:1 / / rw,relatime - overlay overlay rw\n", "")
        .with_answer("/proc/sys/net/core/somaxconn", 0, "4096\n", "")
        .with_answer("/proc/sys/", 1, "", "no such file")
        .with_answer("/sys/class/net/eth0/mtu", 0, "1500\n", "")
        .with_answer("/sys/class/net/", 1, "", "")
        .with_answer("ip -o addr", 0, "2: eth0    inet 10.0.0.2/24 scope global eth0\n", "")
        .with_answer(
            "getent ahosts -- localhost",
            0,
            "127.0.0.1 STREAM localhost\n127.0.0.1 DGRAM\n::1 STREAM\n",
            "",
        )
        .with_answer("getent", 2, "", "");
    let yaml = "
service:
  nginx: {enabled: true, running: true}
  ssh: {enabled: false, running: false}
process:
  nginx: {running: true}
  apache2: {running: false}
port:
  tcp:80: {listening: true, ip: [0.0.0.0]}
  tcp:443: {listening: false}
mount:
  /: {exists: true, opts: [rw], source: overlay, filesystem: overlay}
  /home: {exists: false}
kernel-param:
  net.core.somaxconn: {value: {ge: 1024}}
interface:
  eth0: {exists: true, mtu: 1500, addrs: [10.0.0.2/24]}
  eth9: {exists: false}
dns:
  localhost: {resolvable: true, addrs: {consist-of: ['127.0.0.1', '::1']}}
  nowhere.invalid: {resolvable: false}
";
    check_passes(&target, yaml, 22);
    check_fails(
        &target,
        "kernel-param:\n  no.such: {value: '1'}\nport:\n  tcp:80: {ip: [10.0.0.1]}\n",
    );
}

#[test]
fn commands_are_run_and_their_output_matched() {
    let (_dir, target) = shadow();
    let target = target
        .with_answer("nginx -v", 0, "", "nginx version: nginx/1.22.1\n")
        .with_answer("false", 1, "", "");
    check_passes(
        &target,
        "command:\n  version:\n    exec: nginx -v\n    exit-status: 0\n    stdout: []\n    stderr: ['nginx/1.22', '!apache']\n    timeout: 2000\n  'false': {exit-status: {not: 0}}\n",
        3,
    );
    let limit = target.asked()[0].timeout.expect("a limit");
    assert!(limit <= Duration::from_secs(2));
}

#[test]
fn http_goes_to_the_shadow_itself() {
    let (_dir, target) = shadow();
    let server = Server::start(|asked| match asked.path.as_str() {
        "/ok" => answer(200, "all\nfine\n"),
        _ => {
            let mut moved = answer(301, "");
            moved.headers_mut().insert("location", "/ok".parse().expect("value"));
            moved
        }
    });
    let port = server.address.port();
    let yaml = format!(
        "
http:
  http://localhost:{port}/old: {{status: 200, body: [fine, '!bad'], headers: ['Content-Length: 9']}}
  http://127.0.0.1:{port}/moved: {{status: 301, no-follow-redirects: true, timeout: 5000}}
addr:
  tcp://127.0.0.1:{port}: {{reachable: true, timeout: 2000}}
"
    );
    check_passes(&target, &yaml, 5);
    drop(server);
    check_fails(&target, &format!("http:\n  http://localhost:{port}/: {{status: 200}}\n"));
    check_passes(&target, &format!("addr:\n  tcp://127.0.0.1:{port}: {{reachable: false}}\n"), 1);
}

#[test]
fn not_being_able_to_look_is_not_a_failure() {
    let (dir, target) = shadow();
    let outcome =
        run(&target, "process:\n  nginx: {running: true}\nuser:\n  root: {exists: true}\n");
    assert_eq!(outcome.errors.len(), 1, "{:?}", outcome.errors);
    assert_eq!(outcome.evidence.len(), 1, "the rest is looked at all the same");
    fs::remove_file(dir.path().join("var/lib/dpkg/status")).expect("remove");
    let outcome = run(&target, "package:\n  nginx: {installed: false}\n");
    assert!(outcome.evidence.is_empty() && outcome.errors.len() == 1);
    let skipped = run(&target, "process:\n  nginx: {running: true, skip: true}\n");
    assert!(skipped.evidence.is_empty() && skipped.errors.is_empty());
}

#[test]
fn a_test_whose_time_is_over_says_so() {
    let (_dir, target) = shadow();
    let file = GossFile::parse("", "user:\n  root: {exists: true}\n").expect("parse");
    let outcome = look(&file, &target, &Context::default(), Instant::now());
    assert_eq!(outcome.evidence.len(), 1);
    assert_eq!(outcome.evidence[0].verdict, Verdict::Fail);
}

#[test]
fn all_problems_are_told_at_once_with_their_places() {
    let yaml = "file:
  /a: {exsts: true}
  /b: {mode: {gt: x}}
  /c:
    skip: maybe
fil: {}
port:
  tcp:99999: {listening: true}
http:
  ftp://a: {status: 200}
  http://a: {status: 200, proxy: x}
dns:
  MX:a.example: {resolvable: true}
command:
  x: {exec: [a]}
gossfile:
  other.yaml: {}
kernel-param:
  ../../etc/shadow: {value: x}
";
    let problems = GossFile::parse("goss.yaml", yaml).expect_err("problems");
    let shown: Vec<_> = problems
        .iter()
        .map(|problem| {
            format!("{}: {}", problem.line, problem.message.chars().take(40).collect::<String>())
        })
        .collect();
    for expected in [
        "2: file has no attribute `exsts`",
        "3: expected a number after gt, found text",
        "5: expected true or false",
        "6: there is no resource `fil`",
        "8: expected a port such as tcp:22",
        "10: expected a URL, this is neither",
        "11: `proxy` is not supported",
        "13: queries for one record type need",
        "15: expected text, found a list",
        "19: expected the name of a kernel",
    ] {
        let found = shown
            .iter()
            .any(|problem| problem.starts_with(&expected.chars().take(38).collect::<String>()));
        assert!(found, "{expected} in {shown:#?}");
    }
    let one = GossFile::parse("g.yaml", "file: [1]\n").expect_err("a list");
    assert_eq!(one[0].to_string(), "g.yaml:1:7: expected a map of resources by name, found a list");
    let template = GossFile::parse("g.yaml", "file:\n  {{.Vars.x}}: {exists: true}\n")
        .expect_err("a template");
    assert!(template[0].message.contains("goss templates"), "{template:?}");
}

proptest! {
    #[test]
    fn parsing_never_panics(text in "(file|port|user|:|\n|  |exists|true|\\[|\\]|\\{|\\}|'|\"|!|/|and|not|gt|-|&a|\\*a|[0-9]|é){0,40}") {
        if let Ok(file) = GossFile::parse("x", &text) {
            prop_assert!(file.resources.len() <= text.len());
        }
    }

    #[test]
    fn matchers_never_panic(matcher in "(and|or|not|gt|have-len|match-regexp|contain-element|consist-of|: |\\[|\\]|\\{|\\}|, |a|1){0,20}", actual in "[a1\n]{0,10}") {
        let yaml = format!("matching:\n  m: {{content: 1, matches: {matcher}}}\n");
        if let Ok(file) = GossFile::parse("x", &yaml) {
            for matcher in file.resources.iter().flat_map(|resource| resource.attributes.values()) {
                matcher.is_met_by(&Actual::Lines(actual.clone().into_bytes()));
                matcher.is_met_by(&Actual::text(actual.clone()));
            }
        }
    }
}

/// Files made to be expensive are refused, or read, in little time and memory.
#[test]
fn hostile_sizes_are_affordable() {
    let started = Instant::now();
    let many = |line: fn(usize) -> String| (0..60_000).map(line).collect::<String>();
    let users = format!("user:\n{}", many(|n| format!("  u{n}: {{exists: true}}\n")));
    let file = GossFile::parse("goss.yaml", &users).expect("many resources");
    assert_eq!(file.resources.len(), 60_000);
    let unknown = many(|n| format!("k{n}: {{}}\n"));
    let problems = GossFile::parse("goss.yaml", &unknown).expect_err("many problems");
    assert_eq!(problems.len(), PROBLEMS_MAX);
    let text = "x".repeat(1 << 20);
    let deep = format!("matching: {}'{text}'{}", "{a: ".repeat(60), "}".repeat(60));
    let problems = GossFile::parse("goss.yaml", &deep).expect_err("nested too deeply");
    assert!(problems[0].message.len() < 5_000);
    let aliases = format!("a: &a '{text}'\nb: [{}]", "*a, ".repeat(90));
    assert!(GossFile::parse("goss.yaml", &aliases).is_err(), "a text copied by aliases");
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
}

#[test]
fn a_later_definition_replaces_an_earlier_one() {
    let yaml = "file:\n  a: {path: /x, exists: true}\n  b: {path: /y, exists: true}\n  c: {path: /x, exists: false}\n";
    let file = GossFile::parse("goss.yaml", yaml).expect("parse");
    let ids: Vec<_> = file.resources.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(ids, ["/y", "/x"]);
    assert_eq!(file.resources[1].attributes["exists"].to_string(), "false");
}
