//! What the kernel tells inside the shadow: processes, mounts, parameters.

use umbra_state::Command;

use super::world::World;
use super::{Actual, Facts, Resource};
use crate::target::ProbeError;

/// The kernel keeps this many bytes of a process's name.
const COMM_BYTES: usize = 15;

pub(super) fn observe_process(resource: &Resource, world: &World<'_>) -> Result<Facts, ProbeError> {
    let running = is_process_running(&resource.id, world.processes()?);
    Ok(Facts::from([("running", running.into())]))
}

pub(super) fn is_process_running(name: &str, processes: &[String]) -> bool {
    let cut = name.as_bytes().get(..COMM_BYTES).unwrap_or(name.as_bytes());
    processes.iter().any(|process| process.as_bytes() == cut || process == name)
}

pub(super) fn observe_parameter(
    resource: &Resource,
    world: &World<'_>,
) -> Result<Facts, ProbeError> {
    let path = format!("/proc/sys/{}", parameter_path(&resource.id));
    let output = world.run(Command::new(["cat", "--", &path]), None)?;
    if output.exit.success() {
        let value = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        return Ok(Facts::from([("value", Actual::text(value))]));
    }
    Ok(Facts::new())
}

/// Dots separate, except where a slash is used: then a dot belongs to a name, as in
/// `net/ipv4/conf/eth0.1/forwarding`.
fn parameter_path(name: &str) -> String {
    match name.contains('/') {
        true => name.to_owned(),
        false => name.replace('.', "/"),
    }
}

pub(super) fn is_parameter_name(name: &str) -> bool {
    let path = parameter_path(name);
    let good = |part: &str| !part.is_empty() && part != "." && part != "..";
    path.split('/').all(good) && !path.contains('\0')
}

pub(super) fn observe_mount(resource: &Resource, world: &World<'_>) -> Result<Facts, ProbeError> {
    let text = world.ask("cat /proc/self/mountinfo")?;
    let mount = parse_mounts(&text).into_iter().rfind(|mount| mount.point == resource.id);
    let Some(mount) = mount else { return Ok(Facts::from([("exists", false.into())])) };
    let mut facts = Facts::from([
        ("exists", true.into()),
        ("opts", Actual::list(&mount.options)),
        ("vfs-opts", Actual::list(&mount.super_options)),
        ("source", Actual::text(mount.source)),
        ("filesystem", Actual::text(mount.filesystem)),
    ]);
    if resource.wants("usage")
        && let Some(percent) = usage(&resource.id, world)?
    {
        facts.insert("usage", Actual::number(percent));
    }
    Ok(facts)
}

/// How full a filesystem is, in percent of its blocks.
fn usage(point: &str, world: &World<'_>) -> Result<Option<f64>, ProbeError> {
    let output = world.run(Command::new(["df", "-P", "--", point]), None)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let percent = text.lines().nth(1).and_then(|line| {
        line.split_whitespace().find_map(|word| word.strip_suffix('%')?.parse().ok())
    });
    Ok(percent)
}

/// One line of `mountinfo`.
#[derive(Debug, PartialEq)]
struct Mount {
    point: String,
    options: Vec<String>,
    filesystem: String,
    source: String,
    super_options: Vec<String>,
}

fn parse_mounts(text: &[u8]) -> Vec<Mount> {
    let text = String::from_utf8_lossy(text);
    let options = |field: &str| field.split(',').map(str::to_owned).collect();
    let mount = |line: &str| {
        let (front, back) = line.split_once(" - ")?;
        let mut front = front.split(' ').skip(4);
        let mut back = back.split(' ');
        Some(Mount {
            point: unescape(front.next()?),
            options: options(front.next()?),
            filesystem: back.next()?.to_owned(),
            source: unescape(back.next()?),
            super_options: options(back.next().unwrap_or_default()),
        })
    };
    text.lines().filter_map(mount).collect()
}

/// The kernel writes spaces and the like as three octal digits.
fn unescape(field: &str) -> String {
    let mut out = Vec::new();
    let mut rest = field.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let octal = (first == b'\\').then(|| after.get(..3)).flatten();
        let byte = octal
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match byte {
            Some(byte) => {
                out.push(byte);
                rest = &after[3..];
            }
            None => {
                out.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn mounts_are_read() {
        let text = b"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro\n\
            30 22 0:5 / /mnt/a\\040b ro - tmpfs tmp\\134fs rw\nbroken\n";
        let mounts = parse_mounts(text);
        assert_eq!(mounts.len(), 2);
        assert_eq!((mounts[0].filesystem.as_str(), mounts[0].point.as_str()), ("ext4", "/"));
        assert_eq!(mounts[0].options, ["rw", "relatime"]);
        assert_eq!((mounts[1].point.as_str(), mounts[1].source.as_str()), ("/mnt/a b", "tmp\\fs"));
    }

    #[test]
    fn long_names_are_compared_as_the_kernel_keeps_them() {
        let processes = ["a-very-long-nam".to_owned(), "nginx".to_owned()];
        assert!(is_process_running("a-very-long-name-indeed", &processes));
        assert!(is_process_running("nginx", &processes));
        assert!(!is_process_running("ngin", &processes));
    }

    #[test]
    fn parameters_do_not_leave_their_tree() {
        assert!(is_parameter_name("net.core.somaxconn"));
        assert!(is_parameter_name("net/ipv4/conf/eth0.1/forwarding"));
        for name in ["", "..", "a//b", "net/../../../etc/shadow", "/etc"] {
            assert!(!is_parameter_name(name), "{name}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "( - |[0-9]| |/|\\\\[0-9]{0,3}|,|rw|\n|é){0,50}") {
            prop_assert!(parse_mounts(text.as_bytes()).len() <= text.len());
        }
    }
}
