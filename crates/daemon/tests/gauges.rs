//! Numbers that move by themselves, as a client meets them: a disk that fills is told of before
//! it is full, and what moves makes neither changes nor shadows.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount,
};
use rustix::thread::UnshareFlags;
use support::{Threads, client, idle, try_start_paced};
use umbra_daemon::instance::Instance;
use umbra_daemon::primaries::Pace;
use umbra_drift::alert::{Alert, News};
use umbra_drift::discrepancy::Finding;
use umbra_drift::forecast::{Bound, Rules};
use umbra_drift::service::{
    AddPrimary, Blame, ConfigText, DriftReply, Event, PrimaryInfo, ShadowEntry, What,
};

/// As long as anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// A disk of 64 MiB, of which so much is written at once.
const PIECE: usize = 256 << 10;

/// A filesystem in memory, with mounts of its own: nobody else sees it, and it ends with the
/// test's process at the latest.
struct Disk(PathBuf);

impl Disk {
    fn new(at: &Path) -> Self {
        // SAFETY: a new mount namespace shares no memory or descriptors less than before; only
        // the working directory becomes the thread's own, and tests use absolute paths.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }.expect("own mounts");
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private).expect("private mounts");
        fs::create_dir_all(at).unwrap();
        mount("umbra-test", at, "tmpfs", MountFlags::empty(), Some(c"size=64m")).expect("mounted");
        Self(at.to_owned())
    }

    /// One piece more.
    fn fill(&self) {
        use std::io::Write;
        let mut file = fs::File::options().create(true).append(true).open(self.0.join("log"));
        file.as_mut().unwrap().write_all(&vec![b'x'; PIECE]).unwrap();
    }

    fn empty(&self) {
        fs::remove_file(self.0.join("log")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

fn alerts(instance: &Instance) -> Vec<Alert> {
    let events = client(instance).follow("/v1/drift/events?primary=web&from=0&follow=false");
    let told = events.unwrap().filter_map(|event: Result<Event, _>| match event.unwrap().what {
        What::Alert(alert) => Some(*alert),
        _ => None,
    });
    told.collect()
}

const CONFIG: &str = "
version: 2
history: {every: 1s}
parameters:
  - {name: used, source: mount, path: /srv, key: used_percent, expect: {le: 90}, poll: 100ms, severity: high}
  - {name: size, source: mount, path: /srv, key: size_bytes, severity: high}
notify: [{log: false}]
";

#[test]
fn a_disk_that_fills_is_told_of_before_it_is_full() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: a disk is mounted by root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::new(&dir.path().join("root/srv"));
    let rules = Rules { span_min: Duration::from_secs(5), ..Rules::default() };
    let pace = Pace { every: Duration::from_millis(500), rules, ..Pace::default() };
    let agents = Arc::new(Threads);
    let instance = try_start_paced(dir.path(), Arc::default(), agents, pace, idle).unwrap();
    let umbra = client(&instance);
    let request = AddPrimary {
        name: "web".into(),
        root: Some(dir.path().join("root").display().to_string()),
        image: None,
        remote: None,
        config: Some(ConfigText { path: "c.yml".into(), text: CONFIG.into() }),
    };
    let _: PrimaryInfo = umbra.post("/v1/primaries", &request).unwrap();

    let began = Instant::now();
    let ahead = loop {
        disk.fill();
        // How fast it fills is what is forecast: not a wait for something to happen.
        std::thread::sleep(Duration::from_millis(250));
        if let Some(alert) = alerts(&instance).into_iter().next() {
            break alert;
        }
        assert!(began.elapsed() < PATIENCE, "nobody was told");
    };
    assert_eq!((ahead.news, ahead.discrepancy.item.parameter.as_str()), (News::Opened, "used"));
    let [Finding::Nears { bound: Bound::Above(limit), breach }] = ahead.discrepancy.findings[..]
    else {
        panic!("{ahead:?}")
    };
    assert_eq!(limit, 90.0);
    let used: f64 =
        String::from_utf8_lossy(ahead.discrepancy.primary.bytes().unwrap()).trim().parse().unwrap();
    assert!(used < 90.0, "it is told before");
    assert!(breach.expected_ms > ahead.opened_at_ms, "{breach:?}");
    assert!(breach.earliest_ms <= breach.expected_ms, "{breach:?}");
    assert!(breach.latest_ms.is_none_or(|latest| breach.expected_ms <= latest), "{breach:?}");
    assert!(breach.per_day > 0.0);
    let reply: DriftReply = umbra.get("/v1/primaries/web/drift").unwrap();
    assert!(reply.alerts.iter().all(|alert| alert.discrepancy.is_ahead()), "nothing differs yet");

    // What moved was neither a change nor worth a shadow, however often it was looked for news.
    let blame: Vec<Blame> = umbra.get("/v1/primaries/web/blame/used").unwrap();
    assert_eq!(blame, []);
    let shadows: Vec<ShadowEntry> = umbra.get("/v1/primaries/web/shadows").unwrap();
    assert_eq!((shadows.len(), shadows[0].items), (1, 1), "the first, with the size only");

    // The alert goes on as that of the drift, and ends with it.
    for _ in 0..(64 << 20) * 92 / 100 / PIECE {
        disk.fill();
        if fs::metadata(disk.0.join("log")).unwrap().len() > (64 << 20) * 91 / 100 {
            break;
        }
    }
    let until = |is: &dyn Fn(&Alert) -> bool| {
        let events = client(&instance).follow("/v1/drift/events?primary=web&from=0").unwrap();
        let mut told = events.filter_map(|event: Result<Event, _>| match event.unwrap().what {
            What::Alert(alert) => Some(*alert),
            _ => None,
        });
        told.find(is).expect("it is told")
    };
    let full =
        until(&|alert| matches!(alert.discrepancy.findings[..], [Finding::Unexpected { .. }]));
    assert_eq!((full.id.as_str(), full.news), (ahead.id.as_str(), News::Changed));
    disk.empty();
    until(&|alert| alert.id == ahead.id && alert.news == News::Resolved);
    let told = alerts(&instance).into_iter().filter(|alert| alert.id == ahead.id).count();
    assert_eq!(told, 3, "once ahead, once full, once over");
    instance.shutdown();
}
