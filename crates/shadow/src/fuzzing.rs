//! Doors to parsers that are no part of this crate's interface, for the fuzz targets.

use crate::qemu::kernel::index::Index;
use crate::qemu::kernel::{image, modinfo};
use crate::qemu::qmp::message::{self, Message};

/// Reads a line of QEMU's monitor. Panics where something that may be shown is not fit for it.
/// False for what QEMU does not say.
pub fn qmp(line: &[u8]) -> bool {
    match message::parse(line) {
        Ok(Message::Answer(_, Err(refusal))) => {
            check_word(&refusal.class);
            check_shown(&refusal.description);
        }
        Ok(Message::Greeting(_) | Message::Event | Message::Answer(_, Ok(_))) => {}
        Err(garbled) => {
            check_shown(&garbled.to_string());
            return false;
        }
    }
    true
}

/// Reads a kernel, a module and a list of modules. Panics where a name leads out of the
/// directory it should be in, or there are more names than were said. False for none of them.
pub fn kernel(bytes: &[u8]) -> bool {
    let release = image::release(bytes);
    if let Some(release) = &release {
        check_name(release);
    }
    let depends = modinfo::read(bytes);
    if let Some(depends) = &depends {
        depends.on.iter().chain(&depends.softly).for_each(|name| check_name(name));
    }
    let index = Index::parse(bytes, bytes);
    for (name, path) in index.paths() {
        check_name(name);
        check_shown(path);
        path.split('/').for_each(|part| assert!(!matches!(part, "" | "." | ".."), "{path:?}"));
    }
    release.is_some() || depends.is_some() || index.paths().next().is_some()
}

/// A kernel and a module, for the fuzz target to begin with.
pub fn kernel_seeds() -> Vec<Vec<u8>> {
    let fields = "depends=virtio,virtio-ring\0softdep=pre: crc32c post: x\0name=a\0";
    vec![image::fake("6.1.0-57-cloud-amd64"), modinfo::fake(fields)]
}

fn check_word(text: &str) {
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    assert!((1..=80).contains(&text.len()) && text.bytes().all(plain), "{text:?}");
}

fn check_name(text: &str) {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._+~-".contains(&byte);
    assert!((1..=64).contains(&text.len()) && text.bytes().all(plain), "{text:?}");
    assert!(!text.starts_with('.'), "{text:?}");
}

fn check_shown(text: &str) {
    assert!(!text.chars().any(char::is_control), "a control character is shown: {text:?}");
    assert!(text.len() <= 8 << 10, "{} bytes are shown", text.len());
}
