//! What virtual machines are made of and what their QEMU says.

use umbra_guest::tunnel::frame::{Decoder, Frame};
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

/// Whatever a guest sends is read the same way however it comes, and each frame is what it would
/// be written as.
pub const TUNNEL: Target = Target {
    name: "tunnel",
    open: || Box::new(tunnel),
    seeds: || {
        use umbra_guest::tunnel::frame::Body;
        let bodies = [
            Body::Open(b"{}".to_vec()),
            Body::Message(b"{\"Run\":\"Started\"}".to_vec()),
            Body::Data(1, b"hello".to_vec()),
            Body::Eof(2),
            Body::Credit(0, 4096),
            Body::End,
        ];
        let mut all = Vec::new();
        for body in bodies {
            Frame { channel: 1, body }.write(&mut all);
        }
        vec![all]
    },
    words: &["\x05\0\0\0", "\x01\0\0\0", "\x02\0\0\0", "\x03\x01\0\0"],
    cases: 5_000,
    heap_factor: 200,
};

fn tunnel(bytes: &[u8]) -> bool {
    let whole = frames(bytes, bytes.len().max(1));
    assert_eq!(whole, frames(bytes, 7), "in pieces");
    let mut written = Vec::new();
    whole.0.iter().for_each(|frame| frame.write(&mut written));
    assert!(bytes.starts_with(&written), "written as it came");
    !whole.0.is_empty()
}

/// The frames of what comes in pieces of this length, and whether it ended with something else.
fn frames(bytes: &[u8], length: usize) -> (Vec<Frame>, bool) {
    let (mut decoder, mut frames) = (Decoder::default(), Vec::new());
    for piece in bytes.chunks(length) {
        decoder.push(piece);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(_) => return (frames, true),
            }
        }
    }
    (frames, false)
}
