//! What a state's `/etc/fstab` says that does not hold on the disk. It is not changed: somebody
//! wrote it, and a machine's own disks may be meant.

use umbra_state::escape::escape;

use crate::ids::Ids;

/// Filesystems that need no device.
const NO_DEVICE: [&str; 12] = [
    "tmpfs", "proc", "sysfs", "devpts", "devtmpfs", "cgroup2", "debugfs", "overlay", "nfs", "nfs4",
    "cifs", "9p",
];

/// Warnings that are told one by one.
const WARNINGS_MAX: usize = 20;

/// One warning for each line that names a device the disk does not have.
pub(crate) fn warnings(fstab: &[u8], ids: &Ids) -> Vec<String> {
    let text = String::from_utf8_lossy(fstab);
    let mut all = text.lines().filter_map(|line| warning(line, ids));
    let mut told: Vec<String> = all.by_ref().take(WARNINGS_MAX).collect();
    let more = all.count();
    if more > 0 {
        told.push(format!("/etc/fstab has {more} more lines like these"));
    }
    told
}

fn warning(line: &str, ids: &Ids) -> Option<String> {
    let mut fields = line.split_whitespace();
    let source = fields.next().filter(|source| !source.starts_with('#'))?;
    let (target, kind) = (fields.next()?, fields.next()?);
    let options = fields.next().unwrap_or_default();
    let names_device = source.starts_with("/dev/") || source.contains('=');
    if !names_device || NO_DEVICE.contains(&kind) || is_on_disk(source, ids) {
        return None;
    }
    let shown = |text: &str| escape(text.as_bytes()).to_string();
    let (source, shown_target) = (shown(source), shown(target));
    if target == "/" {
        return Some(format!(
            "/etc/fstab has / on {source}; the disk's is PARTUUID={}, and is mounted by the \
             kernel's command line",
            ids.root
        ));
    }
    if options.split(',').any(|option| matches!(option, "noauto" | "nofail")) {
        return None;
    }
    Some(format!(
        "/etc/fstab has {shown_target} on {source}, which the disk does not have; without nofail \
         the machine waits for it and does not come up"
    ))
}

/// Whether a source is a partition, or a filesystem, of the disk.
fn is_on_disk(source: &str, ids: &Ids) -> bool {
    let Some((key, value)) = source.split_once('=') else { return false };
    let value = value.trim_matches('"').to_ascii_lowercase();
    match key {
        "PARTUUID" => [ids.root, ids.esp].iter().any(|id| id.to_string() == value),
        "UUID" => {
            let volume = format!("{:04x}-{:04x}", ids.esp_volume >> 16, ids.esp_volume & 0xffff);
            value == ids.filesystem.to_string() || value == volume
        }
        "PARTLABEL" => value == "root" || value == "esp",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use umbra_state::{Digest, StateId};

    use super::*;

    fn ids() -> Ids {
        Ids::of(StateId(Digest::new([3; 32])))
    }

    #[track_caller]
    fn check(line: &str, expected: Option<&str>) {
        let found = warnings(line.as_bytes(), &ids());
        match expected {
            None => assert!(found.is_empty(), "{line}: {found:?}"),
            Some(part) => assert!(found.len() == 1 && found[0].contains(part), "{found:?}"),
        }
    }

    #[test]
    fn what_the_disk_does_not_have_is_told() {
        check("UUID=1234 / ext4 defaults 0 1", Some("has / on UUID=1234"));
        check("/dev/sda1 /boot ext4 defaults 0 2", Some("/boot on /dev/sda1"));
        check("LABEL=data /srv xfs defaults,nofail 0 2", None);
        check("/dev/sda5 none swap sw 0 0", Some("/dev/sda5"));
    }

    #[test]
    fn what_needs_no_device_or_is_there_is_not() {
        check("# UNCONFIGURED FSTAB FOR BASE SYSTEM", None);
        check("tmpfs /tmp tmpfs defaults 0 0", None);
        check("server:/home /home nfs defaults 0 0", None);
        check("PARTLABEL=root / ext4 defaults 0 1", None);
        check(&format!("PARTUUID={} / ext4 defaults 0 1", ids().root), None);
        check(&format!("UUID=\"{}\" / ext4 defaults 0 1", ids().filesystem), None);
    }

    #[test]
    fn many_lines_are_counted() {
        let lines = "/dev/sda1 /boot ext4 defaults 0 2\n".repeat(1000);
        let found = warnings(lines.as_bytes(), &ids());
        assert_eq!(found.len(), WARNINGS_MAX + 1);
        assert!(found[WARNINGS_MAX].contains("980 more"), "{found:?}");
    }

    #[test]
    fn foreign_letters_are_shown_harmlessly() {
        check("/dev/\u{1b}[31m /x ext4 defaults 0 0", Some("\\u{1b}"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            for warning in warnings(&bytes, &ids()) {
                prop_assert!(!warning.contains(char::is_control));
            }
        }
    }
}
