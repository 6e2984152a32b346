//! Foreign trees as roots of disks, and their `/etc/fstab`.

use umbra_disk::fuzzing;

use crate::Target;
use crate::store::{IMAGE, Temp};

/// See [`root`].
pub const ROOT: Target = Target {
    name: "disk_root",
    open: || {
        let temp = Temp::new();
        Box::new(move |bytes| root(&temp, bytes))
    },
    seeds: IMAGE.seeds,
    words: IMAGE.words,
    cases: 1_500,
    heap_factor: 2_000,
};

/// See [`table`].
pub const FSTAB: Target = Target {
    name: "fstab",
    open: || Box::new(table),
    seeds: || {
        let lines = "UUID=12 / ext4 rw 0 1\n/dev/sda1 /boot ext4 nofail 0 2\nproc /proc proc\n";
        vec![lines.into(), b"# none\n".to_vec()]
    },
    words: &["UUID=", "PARTLABEL=root", "/dev/", " / ", "ext4", "noauto,nofail", "\n", "#", "\""],
    cases: 3_000,
    heap_factor: 100,
};

/// A tree is refused, or becomes a filesystem in which nothing is written over.
fn root(temp: &Temp, bytes: &[u8]) -> bool {
    let Ok(tree) = umbra_store::fuzzing::decode(bytes) else { return false };
    let Some((size, mut writes)) = fuzzing::root(&temp.store, &tree) else { return true };
    writes.retain(|(_, length)| *length > 0);
    writes.sort_unstable();
    let mut end = 0;
    for (offset, length) in writes {
        assert!(offset >= end, "two writes meet at {offset}");
        end = offset + length;
    }
    assert!(end <= size, "written until {end} of {size}");
    true
}

/// Warnings are lines that a terminal can be shown, one for each line at most.
fn table(bytes: &[u8]) -> bool {
    let warnings = fuzzing::warnings(bytes);
    assert!(warnings.len() <= bytes.split(|&byte| byte == b'\n').count());
    assert!(warnings.iter().all(|warning| !warning.contains(char::is_control)), "{warnings:?}");
    !warnings.is_empty() || std::str::from_utf8(bytes).is_ok()
}
