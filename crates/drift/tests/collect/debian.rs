//! The default configuration on a whole Debian: what means nothing is no alert, and what a
//! package brings is known to be the package's.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use libtest_mimic::{Failed, Trial};
use umbra_drift::collect::packages::Manifest;
use umbra_drift::collect::{Collector, Place};
use umbra_drift::compare::{Circumstances, Comparer, Outcome, UNEXPLAINED};
use umbra_drift::config::{self, Config, Provenance, Severity};
use umbra_drift::defaults::{Survey, configuration};
use umbra_drift::discrepancy::Discrepancy;
use umbra_drift::reading::{Item, Snapshot};

use super::support::Root;
use super::trial;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("quiet::what_means_nothing_in_a_format_is_no_alert", meaningless),
        Trial::test("quiet::a_debian_that_is_kept_up_to_date", kept_up_to_date),
    ]
}

/// A place under the default configuration, and what it said first.
struct Held {
    config: Config,
    comparer: Comparer,
    collector: Collector,
    first: Snapshot,
}

impl Held {
    fn new(place: Place) -> Self {
        let text = configuration(&Survey::of(&place));
        let config = config::parse("monitoring_config.yml", &text)
            .unwrap_or_else(|problems| panic!("{}\n{text}", problems.render(false)));
        let mut collector = Collector::new(&config, place).expect("a collector");
        let (comparer, first) = (Comparer::new(&config), collector.all());
        Self { config, comparer, collector, first }
    }

    /// What differs from the first reading, by what is known of each item.
    fn differs(&mut self, known: impl FnMut(&Item) -> Circumstances) -> Vec<Discrepancy> {
        let now = self.collector.all();
        let outcomes = self.comparer.compare_all(&self.first, &now, known).into_iter();
        let differs = outcomes.filter_map(|(item, outcome)| match outcome {
            Outcome::Differs(discrepancy) => Some(*discrepancy),
            Outcome::Same => None,
            Outcome::Unknown { why } => panic!("{item:?}: {why}"),
        });
        differs.collect()
    }

    #[track_caller]
    fn is_quiet(&mut self, after: &str) {
        let grave: Vec<_> = self
            .differs(|_| UNEXPLAINED)
            .into_iter()
            .filter(|one| one.severity >= Severity::Medium)
            .map(|one| (shown(&one.item), one.findings))
            .collect();
        assert!(grave.is_empty(), "after {after}: {grave:#?}");
    }
}

fn shown(item: &Item) -> String {
    let part = item.part.as_ref().map(|part| String::from_utf8_lossy(&part.0).into_owned());
    format!("{} {}", item.parameter, part.unwrap_or_default())
}

/// Files, and the same written in another way.
const MEANINGLESS: [(&str, &str, &str); 15] = [
    (
        "/etc/sysctl.d/a.conf",
        "net.ipv4.ip_forward = 0\nvm.swappiness=60\n",
        "# ours\nvm.swappiness  =  60\n\n; old\nnet.ipv4.ip_forward=0\n",
    ),
    (
        "/etc/ssh/sshd_config",
        "PermitRootLogin no\nX11Forwarding yes\n",
        "# locked down\n\nX11Forwarding   yes\n\tPermitRootLogin no\n",
    ),
    (
        "/etc/hosts",
        "127.0.0.1 localhost\n10.0.0.1 db db.lan\n",
        "# names\n127.0.0.1\tlocalhost\n\n10.0.0.1  db  db.lan # the old one\n",
    ),
    (
        "/etc/resolv.conf",
        "nameserver 9.9.9.9\nsearch lan\n",
        "; written by hand\nsearch lan\n# resolver\nnameserver\t9.9.9.9\n",
    ),
    (
        "/etc/fstab",
        "/dev/sda1 / ext4 defaults 0 1\n",
        "# disks\n\n/dev/sda1   /\text4  defaults  0  1\n",
    ),
    (
        "/etc/passwd",
        "root:x:0:0::/root:/bin/sh\nbob:x:7:7::/:/bin/sh\n",
        "bob:x:7:7::/:/bin/sh\nroot:x:0:0::/root:/bin/sh\n",
    ),
    (
        "/etc/nsswitch.conf",
        "passwd: files\nhosts: files dns\n",
        "# order\nhosts:   files dns\npasswd:\tfiles\n",
    ),
    (
        "/etc/systemd/system/a.service",
        "[Service]\nExecStart=/bin/a\nUser=b\n",
        "# a\n[Service]\nUser = b\n\n; c\nExecStart = /bin/a\n",
    ),
    (
        "/etc/apt/sources.list.d/a.sources",
        "Types: deb\nURIs: http://a/\nSuites: b\n",
        "# mirror\nSuites: b\nTypes:  deb\nURIs: http://a/\n",
    ),
    ("/etc/apt/sources.list", "deb http://a/ b main\n", "# mirror\n\ndeb  http://a/ b\tmain\n"),
    (
        "/etc/crontab",
        "PATH=/bin\n1 2 * * * root a b\n",
        "# daily\nPATH=/bin\n\n1  2\t* * *  root  a b\n",
    ),
    (
        "/etc/sudoers",
        "root ALL=(ALL) ALL\n@includedir /etc/sudoers.d\n",
        "# who may\n\nroot  ALL=(ALL)\tALL\n#\n@includedir /etc/sudoers.d\n",
    ),
    ("/etc/pam.d/login", "auth required pam_unix.so\n", "# how\n\nauth   required\tpam_unix.so\n"),
    ("/etc/security/limits.conf", "* hard core 0\n", "# limits\n*  hard  core  0\n\n"),
    ("/etc/modules-load.d/a.conf", "loop\n", "# always\nloop\n\n"),
];

fn meaningless() {
    let root = Root::new();
    for (path, before, _) in MEANINGLESS {
        root.write(path, before);
    }
    let mut held = Held::new(root.place());
    for (path, _, after) in MEANINGLESS {
        root.write(path, after);
        held.is_quiet(&format!("another writing of {path}"));
    }
    // The same files are looked into all the same.
    for (path, before, _) in MEANINGLESS {
        let cut = before.trim_end().rsplit_once(['\n', ' ', '=']).map_or("", |(cut, _)| cut);
        root.write(path, format!("{cut}\n"));
        let found = held.differs(|_| UNEXPLAINED);
        assert!(!found.is_empty() && found[0].severity >= Severity::Medium, "{path}: {found:?}");
        root.write(path, before);
    }
    // To sudo this is no comment.
    root.write(
        "/etc/sudoers",
        "root ALL=(ALL) ALL\n@includedir /etc/sudoers.d\n#includedir /tmp\n",
    );
    assert_eq!(held.differs(|_| UNEXPLAINED).len(), 1);
}

/// Packages with configuration files of their own, and nobody's accounts.
const PACKAGES: [&str; 3] = ["nano", "wget", "procps"];

/// Packages with configuration of every kind: that which dpkg asks about, which scripts write
/// out, and which is made of other packages' files. Some are newer among the security updates,
/// until a point release takes them up.
const UPDATED: [&str; 6] = [
    "ca-certificates",
    "exim4-config",
    "libpam-modules",
    "libpam-runtime",
    "nginx-common",
    "openssl",
];

fn kept_up_to_date() -> Result<(), Failed> {
    let missing = |why: &str| {
        println!("skipped: {why}");
        Ok(())
    };
    if !rustix::process::geteuid().is_root() {
        return missing("a Debian root is made by root");
    }
    let directory = tempfile::tempdir()?;
    let root = directory.path().join("root");
    // A root that was made before saves minutes.
    let made = match std::env::var_os("UMBRA_TEST_DEBIAN") {
        Some(before) => Command::new("cp").arg("-a").arg(before).arg(&root).output(),
        None => confined("mmdebstrap")
            .args(["--mode=root", "--quiet", "--format=directory", "--variant=apt", "bookworm"])
            .arg(&root)
            .output(),
    };
    match made {
        Ok(made) if made.status.success() => {}
        Ok(made) => return missing(&format!("no Debian root can be made: {}", said(&made))),
        Err(error) => return missing(&format!("no Debian root can be made: {error}")),
    }
    // How names are found is this machine's affair.
    fs::copy("/etc/resolv.conf", root.join("etc/resolv.conf"))?;
    let fetched = apt(&root, &["update"])?;
    if !fetched.status.success() {
        return missing(&format!("the archive is out of reach: {}", said(&fetched)));
    }
    let mut held = Held::new(Place::directory(&root)?);
    by_hand(&root, &mut held)?;
    let installed = apt(&root, &[&["install"], &PACKAGES[..]].concat())?;
    if !installed.status.success() {
        return missing(&format!("the archive is out of reach: {}", said(&installed)));
    }
    let by_package = explained(&mut held);
    let brought = |path: &[u8]| {
        by_package.iter().any(|item| item.part.as_ref().is_some_and(|part| part.0 == path))
    };
    assert!(brought(b"/etc/nanorc") && brought(b"/etc/wgetrc"), "{by_package:?}");
    let held_again = &mut Held::new(Place::directory(&root)?);
    let again = apt(&root, &[&["install", "--reinstall"], &PACKAGES[..]].concat())?;
    if again.status.success() {
        held_again.is_quiet("an installation once more");
    }
    match upgraded(&root)? {
        None => Ok(()),
        Some(why) => missing(&format!("no upgrade to other versions: {why}")),
    }
}

/// What people do without meaning anything by it.
fn by_hand(root: &Path, held: &mut Held) -> Result<(), Failed> {
    let files = files_below(&root.join("etc"))?;
    for file in &files {
        fs::File::open(file)?.set_modified(std::time::SystemTime::UNIX_EPOCH)?;
    }
    held.is_quiet("touching everything");
    for file in &files {
        fs::write(file, fs::read(file)?)?;
    }
    held.is_quiet("writing everything once more");
    for name in ["sysctl.conf", "fstab", "passwd", "pam.d/login", "login.defs", "hosts"] {
        let path = root.join("etc").join(name);
        let Ok(before) = fs::read(&path) else { continue };
        // No comment is possible among accounts.
        let comment: &[u8] = if name == "passwd" { b"" } else { b"\n# a comment\n" };
        fs::write(&path, [&before, comment].concat())?;
        held.is_quiet(&format!("a comment in {name}"));
        fs::write(&path, before)?;
    }
    Ok(())
}

/// From the versions of the release to those of its updates: no alarm, whatever the packages'
/// own files became. Says why, if there is nothing to see.
fn upgraded(root: &Path) -> Result<Option<String>, Failed> {
    // What is installed goes back only if it is asked for by name, what comes with it by default.
    let named = UPDATED.map(|name| format!("{name}/bookworm"));
    let released = ["install", "-t", "bookworm", "--allow-downgrades"];
    let older = apt(root, &[&released[..], &named.each_ref().map(String::as_str)].concat())?;
    if !older.status.success() {
        return Ok(Some(said(&older)));
    }
    let planned = apt(root, &["upgrade", "--simulate"])?;
    let planned = String::from_utf8_lossy(&planned.stdout).into_owned();
    let newer = planned.lines().filter(|line| line.starts_with("Inst ")).count();
    if newer == 0 {
        return Ok(Some("the archive has no update of any of the packages".to_owned()));
    }
    let mut held = Held::new(Place::directory(root)?);
    let done = apt(root, &["upgrade"])?;
    if !done.status.success() {
        return Ok(Some(said(&done)));
    }
    let by_package = explained(&mut held);
    println!("{newer} packages upgraded, {} files explained by them", by_package.len());
    Ok(None)
}

/// Of what package tools do everything is explained: by a package's list, or by being made anew
/// from what packages brought. Tells what was by a list.
fn explained(held: &mut Held) -> BTreeSet<Item> {
    let mut manifest = Manifest::default();
    let place = Place::directory(&held.collector.place().outside(Path::new("/"))).expect("a place");
    let mut explained = BTreeSet::new();
    let config = held.config.clone();
    let found = held.differs(|item| {
        let path =
            config.path_of(item).map(|path| PathBuf::from(std::ffi::OsStr::from_bytes(&path.0)));
        let by_package = path.is_some_and(|path| manifest.explains(&place, &path).is_some());
        if !by_package {
            return UNEXPLAINED;
        }
        explained.insert(item.clone());
        Circumstances { provenance: Provenance::Expected, ..UNEXPLAINED }
    });
    for discrepancy in &found {
        let what = shown(&discrepancy.item);
        assert_eq!(discrepancy.severity, Severity::Low, "{what}: {:?}", discrepancy.findings);
    }
    explained
}

/// What it mounts and starts goes with it, also if the test is ended.
fn confined(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig=KILL", "unshare", "--mount", "--pid", "--fork", "--mount-proc"]);
    command.args(["--kill-child=KILL", program]).stdin(Stdio::null());
    command
}

fn apt(root: &Path, arguments: &[&str]) -> std::io::Result<Output> {
    confined("chroot")
        .arg(root)
        .args(["apt-get", "-y", "-q", "--no-install-recommends"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .output()
}

fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    text.lines().last().unwrap_or_default().to_owned()
}

fn files_below(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            files.extend(files_below(&entry.path())?);
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(files)
}
