//! What virtual machines are made of and what their QEMU says.

use umbra_shadow::fuzzing;

use crate::Target;
use crate::seeds::texts;

/// See [`umbra_shadow::fuzzing::qmp`].
pub const QMP: Target = Target {
    name: "qmp",
    open: || Box::new(fuzzing::qmp),
    seeds: || {
        texts(&[
            r#"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}}, "capabilities": []}}"#,
            r#"{"return": {"running": true, "status": "running"}, "id": 3}"#,
            r#"{"error": {"class": "DeviceNotFound", "desc": "Device 'a' not found"}, "id": 4}"#,
            r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}"#,
        ])
    },
    words: &[
        "{\"return\": ",
        "\"error\": {\"class\": \"GenericError\", \"desc\": \"",
        "\"event\": \"STOP\"",
        "\"data\": {}",
        "\"id\": ",
        "\"QMP\": ",
        "\\u001b[2J",
        "\\ud800",
        "18446744073709551616",
        "[[[[[[[[",
    ],
    cases: 5_000,
    heap_factor: 200,
};

/// See [`umbra_shadow::fuzzing::kernel`].
pub const KERNEL: Target = Target {
    name: "kernel",
    open: || Box::new(fuzzing::kernel),
    seeds: || {
        let mut seeds = fuzzing::kernel_seeds();
        seeds.extend(texts(&[
            "kernel/drivers/virtio/virtio-rng.ko\nkernel/fs/fuse/fuse.ko\n",
            "kernel/fs/fuse/virtiofs.ko.xz: kernel/fs/fuse/fuse.ko.xz kernel/a.ko.xz\nb.ko.zst:\n",
        ]));
        seeds
    },
    words: &["kernel/", "../", "//", ".ko", ".ko.xz:", "\n", "depends=", "softdep=pre: ", "HdrS"],
    cases: 5_000,
    heap_factor: 200,
};
