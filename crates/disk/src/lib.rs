//! States as disks that boot, on BIOS and on UEFI machines.
//!
//! ```text
//!   GPT      protective MBR with GRUB's first stage; mirrored at the end
//!   1 bios   GRUB's second stage
//!   2 esp    FAT32: GRUB for UEFI, and the configuration that both read
//!   3 root   ext4: exactly the state
//! ```
//!
//! Invariants:
//! * the root holds the state, no more and no less: what boots it is beside it;
//! * the same state makes the same bytes: names are derived from its id, nothing is drawn by
//!   chance or read from a clock. Another version of GRUB on this machine makes another loader;
//! * what ext4 cannot hold is refused and named, never left out;
//! * blocks of zeros take no room.
//!
//! Nothing is mounted and no privilege is needed. See `docs/export.md`.
//!
//! | module | holds |
//! |---|---|
//! | `layout` | where the partitions are, and how large a disk a state needs |
//! | `gpt`, `fat`, `ext4` | partition tables and filesystems |
//! | `grub`, `boot`, `fstab` | what boots, and what of the state it needs |
//! | `medium`, `qcow2` | where the bytes go |
//! | `ids`, `crc` | names and checksums |

mod boot;
mod crc;
mod error;
mod ext4;
mod fat;
mod fstab;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod gpt;
mod grub;
mod ids;
mod layout;
mod medium;
mod qcow2;

use std::fs::File;
use std::io::Read as _;

pub use error::DiskError;
use ids::Ids;
use layout::Layout;
use medium::{Medium, Part, Raw};
use qcow2::Qcow2;
use umbra_state::{Content, Node, StateId, Tree};
use umbra_store::Store;

/// The most of `/etc/fstab` that is read.
const FSTAB_BYTES_MAX: u64 = 64 << 10;

/// How a disk is kept in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The file's bytes are the disk's; what is not used is holes.
    Raw,
    /// QEMU's format.
    Qcow2,
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The disk's size.
    pub bytes: u64,
    /// What of the state will not be as it says on this disk, in words.
    pub warnings: Vec<String>,
}

/// Writes a state to an empty file as a disk of `size` bytes, or of what it needs and some room.
/// After an error the file holds a part.
pub fn write(
    store: &Store,
    state: StateId,
    file: &File,
    format: Format,
    size: Option<u64>,
) -> Result<Report, DiskError> {
    let _pin = store.pin()?;
    let tree = store.load(state)?;
    let ids = Ids::of(state);
    let boot = boot::find(store, &tree)?;
    let plan = ext4::Plan::new(store, &tree)?;
    let layout = Layout::new(&plan, size)?;
    let configuration = grub::configuration(state, &boot, &ids);
    let disk = Disk { plan, layout, ids, configuration };
    let written = DiskError::io("write the disk");
    match format {
        Format::Raw => {
            let mut raw = Raw::new(file, disk.layout.bytes).map_err(written)?;
            disk.write(&mut raw)?;
        }
        Format::Qcow2 => {
            let mut image = Qcow2::new(file, disk.layout.bytes);
            disk.write(&mut image)?;
            image.finish().map_err(written)?;
        }
    }
    let fstab = fstab_of(store, &tree)?;
    Ok(Report { bytes: disk.layout.bytes, warnings: fstab::warnings(&fstab, &ids) })
}

struct Disk<'a> {
    plan: ext4::Plan<'a>,
    layout: Layout,
    ids: Ids,
    configuration: String,
}

impl Disk<'_> {
    fn write(&self, medium: &mut dyn Medium) -> Result<(), DiskError> {
        let Layout { bytes, bios_at, esp_at, root_at, .. } = self.layout;
        let loader = grub::Loader::make(bios_at / gpt::SECTOR)?;
        let partitions = self.layout.partitions(&self.ids);
        let mut table = gpt::table(self.ids.disk, self.layout.sectors(), &partitions);
        table.first[..loader.mbr.len()].copy_from_slice(&loader.mbr);
        let end = bytes - table.last.len() as u64;
        let parts = [(&table.first, 0), (&table.last, end), (&loader.bios, bios_at)];
        for (part, offset) in parts {
            medium.write_at(part, offset).map_err(DiskError::io("write the disk"))?;
        }
        self.write_esp(&loader.uefi, &mut Part { disk: medium, start: esp_at })?;
        let mut root = Part { disk: medium, start: root_at };
        ext4::write(&self.plan, &self.layout.geometry, &self.ids, &mut root)
    }

    fn write_esp(&self, loader: &[u8], esp: &mut dyn Medium) -> Result<(), DiskError> {
        use fat::Entry::{Dir, File};
        let files = [
            Dir("EFI", vec![Dir("BOOT", vec![File("BOOTX64.EFI", loader)])]),
            Dir("GRUB", vec![File("GRUB.CFG", self.configuration.as_bytes())]),
        ];
        let hidden = (self.layout.esp_at / gpt::SECTOR) as u32;
        fat::write(esp, layout::ESP_BYTES, hidden, self.ids.esp_volume, &files)
            .map_err(DiskError::io("write the EFI system partition"))
    }
}

fn fstab_of(store: &Store, tree: &Tree) -> Result<Vec<u8>, DiskError> {
    let Some(Node::Leaf(leaf)) = boot::resolve(tree, b"/etc/fstab") else { return Ok(Vec::new()) };
    match &leaf.content {
        Content::Inline(bytes) => Ok(bytes.to_vec()),
        Content::Object { digest, .. } => {
            let object = store.open_object(*digest, b"etc/fstab")?;
            let mut bytes = Vec::new();
            let read = object.take(FSTAB_BYTES_MAX).read_to_end(&mut bytes);
            read.map_err(DiskError::io("read /etc/fstab"))?;
            Ok(bytes)
        }
        _ => Ok(Vec::new()),
    }
}
