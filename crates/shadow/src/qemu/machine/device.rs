//! What a machine has its files on, as the JSON that QEMU takes.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Endpoint, MachineError};

/// A disk, as it is in a file, that a guest can only read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Disk {
    /// What QEMU calls it, and the guest, as `/dev/disk/by-id/virtio-ID`: 1 to 20 letters,
    /// digits and `-`, beginning with a letter.
    pub(crate) id: String,
    /// The file it is in.
    pub(crate) image: PathBuf,
}

impl Disk {
    /// The argument of `-blockdev`.
    pub(super) fn blockdev(&self) -> Result<Value, MachineError> {
        Ok(json!({
            "driver": "raw",
            "node-name": checked_id(&self.id)?,
            "read-only": true,
            "file": { "driver": "file", "filename": checked_path(&self.image)? },
        }))
    }

    /// The argument of `-device`.
    pub(super) fn device(&self) -> Result<Value, MachineError> {
        let id = checked_id(&self.id)?;
        Ok(json!({
            "driver": "virtio-blk-pci",
            "id": format!("{id}-disk"),
            "drive": id,
            "serial": id,
        }))
    }
}

/// A directory of this machine that a guest sees, served by virtiofsd. The machine's memory
/// must be [`super::Backing::Shared`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Share {
    /// What the guest mounts: 1 to 36 letters, digits and `-`, beginning with a letter.
    pub(crate) tag: String,
    /// Where virtiofsd is.
    pub(crate) server: Endpoint,
}

/// Requests under way between guest and virtiofsd.
const SHARE_QUEUE: u16 = 1024;

impl Share {
    /// What QEMU calls the socket to virtiofsd.
    pub(super) fn chardev(&self) -> String {
        format!("{}-server", self.tag)
    }

    /// The argument of `-device`, which needs [`Share::chardev`] first.
    pub(super) fn device(&self) -> Result<Value, MachineError> {
        let tag = checked_word("a share's tag", &self.tag, 36)?;
        Ok(json!({
            "driver": "vhost-user-fs-pci",
            "id": format!("{tag}-share"),
            "chardev": self.chardev(),
            "tag": tag,
            "queue-size": SHARE_QUEUE,
        }))
    }
}

/// A disk's serial number has twenty bytes.
fn checked_id(id: &str) -> Result<&str, MachineError> {
    checked_word("a disk's id", id, 20)
}

/// What stands for itself wherever QEMU reads it.
pub(super) fn checked_word<'a>(
    what: &str,
    word: &'a str,
    chars_max: usize,
) -> Result<&'a str, MachineError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let fine = word.len() <= chars_max
        && word.starts_with(|first: char| first.is_ascii_alphabetic())
        && word.bytes().all(plain);
    let expected = || {
        let is = umbra_state::escape::line(word.as_bytes(), 60);
        MachineError(format!(
            "{what} is {is:?}, expected 1 to {chars_max} letters, digits and -, a letter first"
        ))
    };
    if fine { Ok(word) } else { Err(expected()) }
}

/// A path that QEMU takes for a file's: a colon before the first slash would be a protocol.
pub(super) fn checked_path(path: &Path) -> Result<&str, MachineError> {
    let text = path.to_str().filter(|text| {
        path.is_absolute() && !text.starts_with("//") && !text.contains(char::is_control)
    });
    text.ok_or_else(|| {
        let is = umbra_state::escape::line(path.as_os_str().as_encoded_bytes(), 200);
        MachineError(format!("a path is {is:?}, expected an absolute one of printable text"))
    })
}
