//! Unit, session and container of a process, read from its control group.
//!
//! Formats: systemd's `*.service`, `session-N.scope`; docker, podman (`libpod`), CRI and
//! LXC as they name their groups, plain or below systemd.

use serde::{Deserialize, Serialize};

/// Where a process belongs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The innermost systemd service or scope that is neither a session nor a container.
    pub unit: Option<String>,
    /// The login session.
    pub session: Option<String>,
    /// The innermost container: its runtime's id or name.
    pub container: Option<String>,
}

const RUNTIMES: [&str; 6] = ["docker", "libpod", "crio", "cri-containerd", "nspawn", "machine"];

/// Parse a `/proc/PID/cgroup`: the version 2 line, or systemd's own of version 1.
pub fn parse(cgroup: &str) -> Origin {
    let path = cgroup
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
        .filter(|path| *path != "/")
        .or_else(|| {
            cgroup.lines().find_map(|line| line.split_once(":name=systemd:").map(|(_, path)| path))
        })
        .unwrap_or_default();
    let mut origin = Origin::default();
    let mut above = "";
    for part in path.split('/').filter(|part| !part.is_empty()) {
        if let Some(container) = container(above, part) {
            origin.container = Some(container.to_owned());
        } else if let Some(scope) = part.strip_suffix(".scope") {
            match scope.strip_prefix("session-") {
                Some(session) => origin.session = Some(session.to_owned()),
                None => origin.unit = Some(part.to_owned()),
            }
        } else if part.ends_with(".service") {
            origin.unit = Some(part.to_owned());
        }
        above = part;
    }
    origin
}

fn container<'a>(above: &str, part: &'a str) -> Option<&'a str> {
    if let Some(name) = part.strip_prefix("lxc.payload.") {
        return Some(name);
    }
    if let Some(scope) = part.strip_suffix(".scope") {
        return RUNTIMES.iter().find_map(|runtime| scope.strip_prefix(runtime)?.strip_prefix('-'));
    }
    let id = part.len() == 64 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    (id && (above == "docker" || above.starts_with("pod") || above.starts_with("kubepods")))
        .then_some(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_the_common_runtimes() {
        #[track_caller]
        fn check(cgroup: &str, unit: Option<&str>, session: Option<&str>, container: Option<&str>) {
            let origin = parse(cgroup);
            let seen = (origin.unit.as_deref(), origin.session.as_deref());
            assert_eq!((seen, origin.container.as_deref()), ((unit, session), container));
        }
        let id = "0123456789abcdef".repeat(4);
        let nginx = Some("nginx.service");
        check("0::/system.slice/nginx.service\n", nginx, None, None);
        check("0::/user.slice/user-1000.slice/session-3.scope\n", None, Some("3"), None);
        check(&format!("0::/system.slice/docker-{id}.scope"), None, None, Some(&id));
        check(&format!("0::/docker/{id}"), None, None, Some(&id));
        check("0::/lxc.payload.web/system.slice/nginx.service", nginx, None, Some("web"));
        check("12:cpu:/x\n1:name=systemd:/system.slice/nginx.service\n0::/\n", nginx, None, None);
        check("0::/", None, None, None);
        check("not a control group", None, None, None);
    }
}
