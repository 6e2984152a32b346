//! The boot loader: GRUB for BIOS and for UEFI firmware, made of the modules of this machine's
//! packages by `grub-mkimage`.
//!
//! Its configuration is on the EFI system partition, and it finds the root partition on the disk
//! it was itself read from: two disks of one state do not confuse it.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{MemfdFlags, memfd_create};
use umbra_state::StateId;
use umbra_state::escape::escape;

use crate::boot::Boot;
use crate::error::DiskError;
use crate::gpt::SECTOR;
use crate::ids::Ids;
use crate::layout::BIOS_BYTES;
use crate::medium::Bytes;

const MODULES: &str = "/usr/lib/grub";

/// Filesystems and commands that the configuration needs.
const WANTED: [&str; 9] =
    ["part_gpt", "fat", "ext2", "normal", "configfile", "test", "regexp", "linux", "echo"];
const WANTED_BIOS: [&str; 2] = ["biosdisk", "serial"];

/// What is put on a disk so that both kinds of firmware boot it.
pub(crate) struct Loader {
    /// For the first 440 bytes.
    pub(crate) mbr: Vec<u8>,
    /// For the partition from which it goes on.
    pub(crate) bios: Vec<u8>,
    /// The program for UEFI.
    pub(crate) uefi: Vec<u8>,
}

impl Loader {
    /// Made for a disk on which the BIOS's partition begins at sector `bios_first`.
    pub(crate) fn make(bios_first: u64) -> Result<Self, DiskError> {
        let boot = Path::new(MODULES).join("i386-pc/boot.img");
        let mbr = std::fs::read(&boot).map_err(|_| DiskError::NoTool {
            what: boot.display().to_string(),
            package: "grub-pc-bin",
        })?;
        // The second partition of the disk that the BIOS says it booted from.
        let bios = make_image("i386-pc", "grub-pc-bin", "(,gpt2)/grub", &WANTED_BIOS)?;
        let uefi = make_image("x86_64-efi", "grub-efi-amd64-bin", "/grub", &[])?;
        Ok(Self { mbr: first_stage(mbr, bios_first)?, bios: second_stage(bios, bios_first)?, uefi })
    }
}

/// What GRUB is to do, for `/grub/grub.cfg` on the EFI system partition.
pub(crate) fn configuration(state: StateId, boot: &Boot, ids: &Ids) -> String {
    let Boot { kernel, initrd, links } = boot;
    let newest = links.map_or(String::new(), |(kernel, initrd)| {
        format!(
            "  # The system keeps these on its newest kernel.\n  \
             if [ -e {kernel} -a -e {initrd} ]; then\n    \
             set kernel={kernel}\n    set initrd={initrd}\n  fi\n"
        )
    });
    format!(
        "# Written by `umbra export`; it is on the EFI system partition, not in the state.\n\
         regexp --set=1:disk '^(.*),gpt2$' \"$root\"\n\
         set root=\"$disk,gpt3\"\n\
         if [ \"$grub_platform\" = pc ]; then\n  \
         if serial --unit=0 --speed=115200; then\n    \
         terminal_input console serial\n    terminal_output console serial\n  fi\nfi\n\
         set timeout=1\n\
         menuentry 'state {short}' {{\n  \
         set kernel={kernel}\n  set initrd={initrd}\n{newest}  \
         echo \"loading $kernel\"\n  \
         linux $kernel root=PARTUUID={root} rw console=tty0 console=ttyS0,115200\n  \
         initrd $initrd\n}}\n",
        short = state.short(),
        root = ids.root,
    )
}

/// What the BIOS reads: told where the rest is, and that the disk is none of floppies.
fn first_stage(mut image: Vec<u8>, bios_first: u64) -> Result<Vec<u8>, DiskError> {
    const CODE: usize = 440;
    if image.len() < CODE {
        return Err(odd("boot.img"));
    }
    let mut to = Bytes(&mut image);
    to.u64(0x5c, bios_first);
    // In place of a jump over a mend for BIOSes that name the wrong drive.
    to.put(0x66, &[0x90, 0x90]);
    image.truncate(CODE);
    Ok(image)
}

/// The rest: its first sector is told where the others are.
fn second_stage(mut image: Vec<u8>, bios_first: u64) -> Result<Vec<u8>, DiskError> {
    const LIST_AT: usize = SECTOR as usize - 12;
    const SEGMENT: u16 = 0x820;
    let sectors = (image.len() as u64).div_ceil(SECTOR);
    if sectors < 2 || sectors * SECTOR > BIOS_BYTES {
        return Err(odd("the core image"));
    }
    let mut to = Bytes(&mut image);
    to.u64(LIST_AT, bios_first + 1);
    to.u16(LIST_AT + 8, (sectors - 1) as u16);
    to.u16(LIST_AT + 10, SEGMENT);
    Ok(image)
}

fn odd(what: &str) -> DiskError {
    let said = format!("{what} has a size that GRUB's never had");
    DiskError::Tool { program: MODULES.into(), said }
}

fn make_image(
    target: &str,
    package: &'static str,
    prefix: &str,
    modules: &[&str],
) -> Result<Vec<u8>, DiskError> {
    let dir = Path::new(MODULES).join(target);
    if !dir.is_dir() {
        return Err(DiskError::NoTool { what: dir.display().to_string(), package });
    }
    let program = find_program("grub-mkimage")
        .ok_or_else(|| DiskError::NoTool { what: "grub-mkimage".into(), package: "grub-common" })?;
    let run = || format!("run {}", program.display());
    // Not a pipe: it wants to see what it made on the disk.
    let image = memfd_create("boot loader", MemfdFlags::CLOEXEC).map_err(DiskError::io(run()))?;
    let mut image = File::from(image);
    let output = Command::new(&program)
        .args(["--format", target, "--prefix", prefix, "--directory"])
        .arg(&dir)
        .args(modules)
        .args(WANTED)
        .env("LC_ALL", "C")
        .env("SOURCE_DATE_EPOCH", "0")
        .stdin(Stdio::null())
        .stdout(image.try_clone().map_err(DiskError::io(run()))?)
        .output()
        .map_err(DiskError::io(run()))?;
    if !output.status.success() {
        let end = output.stderr.len().saturating_sub(500);
        let said = escape(output.stderr[end..].trim_ascii()).to_string();
        return Err(DiskError::Tool { program, said });
    }
    let mut bytes = Vec::new();
    let read = image.rewind().and_then(|()| image.read_to_end(&mut bytes));
    read.map_err(DiskError::io("read the boot loader"))?;
    Ok(bytes)
}

/// Root's programs too, although not every account's PATH has them.
fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let extra = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(extra).map(|dir| dir.join(name)).find(|it| it.is_file())
}

#[cfg(test)]
mod tests {
    use umbra_state::Digest;

    use super::*;

    fn configured(links: Option<(&'static str, &'static str)>) -> String {
        let state = StateId(Digest::new([3; 32]));
        let (kernel, initrd) = ("/boot/vmlinuz-6.1".into(), "/boot/initrd.img-6.1".into());
        configuration(state, &Boot { kernel, initrd, links }, &Ids::of(state))
    }

    #[test]
    fn the_root_is_named_by_its_partition() {
        let text = configured(None);
        assert!(text.contains(" root=PARTUUID="), "{text}");
        assert!(text.contains("set kernel=/boot/vmlinuz-6.1\n"));
        assert!(!text.contains("-e "), "no links, nothing to look for");
    }

    #[test]
    fn links_to_the_newest_kernel_win() {
        let text = configured(Some(("/vmlinuz", "/initrd.img")));
        assert!(text.contains("if [ -e /vmlinuz -a -e /initrd.img ]"), "{text}");
    }

    #[test]
    fn the_stages_know_where_the_next_is() {
        let first = first_stage(vec![1; 512], 2048).unwrap();
        assert_eq!((first.len(), &first[0x5c..0x64]), (440, &2048u64.to_le_bytes()[..]));
        let second = second_stage(vec![1; 5 * 512 + 1], 2048).unwrap();
        assert_eq!(second[500..508], 2049u64.to_le_bytes());
        assert_eq!(second[508..512], [5, 0, 0x20, 0x08]);
        assert!(second_stage(vec![1; 512], 2048).is_err());
        assert!(second_stage(vec![1; 2 << 20], 2048).is_err());
    }
}
