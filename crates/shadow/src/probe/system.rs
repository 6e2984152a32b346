//! Rights, tools, devices and room.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags, open};

use super::{Found, Probe, is_root, probe};
use crate::sandbox::Hierarchies;

/// Less room than this is worth a warning.
const ROOM_BYTES_MIN: u64 = 5 << 30;

/// Below this, one-digit numbers of systemd containers use all inotify instances of root.
const INOTIFY_INSTANCES_MIN: u64 = 1024;

pub(super) fn probes(store: &Path) -> Vec<Probe> {
    let mut probes = vec![
        probe(
            "root",
            if is_root() { Ok("running as root".into()) } else { Err("not root".into()) },
            "no sandbox shadows and no builds",
            "run umbra as root",
        ),
        probe(
            "mmdebstrap",
            tool("mmdebstrap", "--version"),
            "no images from a Debian suite; directories, tar files and OCI layouts still work",
            "apt-get install mmdebstrap",
        ),
        probe(
            "grub-mkimage",
            tool("grub-mkimage", "--version"),
            "no exports to disks that boot; other formats still work",
            "apt-get install grub-common grub-pc-bin grub-efi-amd64-bin",
        ),
        probe(
            "tun device",
            device("/dev/net/tun", OFlags::RDWR),
            "no network for virtual machines",
            "modprobe tun",
        ),
        probe(
            "inotify instances",
            inotify_instances(),
            "shadows that run systemd stop starting after about 17",
            "sysctl fs.inotify.max_user_instances=2048",
        ),
        probe(
            "disk space",
            room(store),
            "builds end when the disk is full",
            "free some space, or keep the store on a larger disk",
        ),
    ];
    probes.extend(control_groups(&Hierarchies::probe()));
    probes
}

fn control_groups(hierarchies: &Hierarchies) -> Vec<Probe> {
    let enforced = hierarchies.enforced();
    let delegate = "boot with systemd.unified_cgroup_hierarchy=1, or mount the controller";
    let limits = [
        ("memory", enforced.memory, "a shadow may use all memory"),
        ("cpu", enforced.cpu, "a shadow may use all processors"),
        ("pids", enforced.pids, "a shadow may start any number of processes"),
    ];
    let mut probes: Vec<Probe> = limits
        .into_iter()
        .map(|(controller, ok, cost)| {
            let found = match (ok, hierarchies.version_of(controller)) {
                (true, Some(version)) => Ok(format!("limited by cgroup version {version}")),
                _ => Err("no hierarchy has this controller".to_owned()),
            };
            probe(&format!("{controller} limit"), found, cost, delegate)
        })
        .collect();
    let freezing = if hierarchies.can_freeze() {
        Ok("shadows can be stopped where they stand".to_owned())
    } else {
        Err("neither cgroup version 2 nor the version 1 freezer is mounted".to_owned())
    };
    probes.push(probe("freezing", freezing, "a failed shadow goes on running", delegate));
    let systems = if hierarchies.serve_systems() {
        Ok("an image's own systemd gets control groups of its own".to_owned())
    } else {
        Err("no cgroup version 2 mount".to_owned())
    };
    probes.push(probe(
        "systemd in shadows",
        systems,
        "recipes cannot say `init: systemd`",
        "mount -t cgroup2 none /sys/fs/cgroup/unified",
    ));
    probes
}

pub(super) fn tool(name: &str, argument: &str) -> Found {
    let output =
        Command::new(name).arg(argument).stdin(Stdio::null()).stderr(Stdio::null()).output();
    match output {
        Ok(output) if output.status.success() => {
            let first = output.stdout.split(|byte| *byte == b'\n').next().unwrap_or_default();
            Ok(umbra_state::escape::escape(&first[..first.len().min(80)]).to_string())
        }
        Ok(output) => Err(format!("{name} {argument} fails: {}", output.status)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err("not installed".to_owned()),
        Err(error) => Err(format!("{name} does not start: {error}")),
    }
}

fn device(path: &str, flags: OFlags) -> Found {
    match open(path, flags | OFlags::CLOEXEC, Mode::empty()) {
        Ok(_) => Ok("opens".to_owned()),
        Err(error) => Err(format!("{path}: {}", io::Error::from(error))),
    }
}

fn inotify_instances() -> Found {
    let path = "/proc/sys/fs/inotify/max_user_instances";
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let count: u64 = text.trim().parse().map_err(|_| format!("{path} is not a number"))?;
    let detail = format!("{count} for all of root's processes");
    if count >= INOTIFY_INSTANCES_MIN { Ok(detail) } else { Err(detail) }
}

fn room(store: &Path) -> Found {
    let stat = rustix::fs::statvfs(store).map_err(|e| io::Error::from(e).to_string())?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let detail = format!("{} MB free", free / 1_000_000);
    if free >= ROOM_BYTES_MIN { Ok(detail) } else { Err(detail) }
}
