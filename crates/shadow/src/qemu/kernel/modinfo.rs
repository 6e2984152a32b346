//! What a module says of itself: the modules it depends on (ELF section `.modinfo`). So an
//! order of loading needs no program that has looked at all modules before.

/// No list is longer.
const NAMES_MAX: usize = 64;

/// No module's name is longer; Linux has 56 bytes for it.
pub(super) const NAME_BYTES_MAX: usize = 56;

/// What one depends on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Depends {
    /// Those without which it cannot be loaded.
    pub(crate) on: Vec<String>,
    /// Those that it uses where they are there, loaded before it.
    pub(crate) softly: Vec<String>,
}

/// Reads a module; `None` if it is none.
pub(crate) fn read(module: &[u8]) -> Option<Depends> {
    let mut depends = Depends::default();
    for field in section(module, b".modinfo\0")?.split(|&byte| byte == 0) {
        if let Some(list) = field.strip_prefix(b"depends=") {
            add(&mut depends.on, list.split(|&byte| byte == b','))?;
        } else if let Some(list) = field.strip_prefix(b"softdep=") {
            add(&mut depends.softly, before(list))?;
        }
    }
    Some(depends)
}

/// What is to be loaded before, of `pre: a b post: c`.
fn before(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut is_before = false;
    list.split(|&byte| byte == b' ').filter(move |word| {
        if word.ends_with(b":") {
            is_before = *word == b"pre:";
            return false;
        }
        is_before
    })
}

fn add<'a>(to: &mut Vec<String>, names: impl Iterator<Item = &'a [u8]>) -> Option<()> {
    for name in names.filter(|name| !name.is_empty()) {
        if to.len() == NAMES_MAX {
            return None;
        }
        to.push(self::name(name)?);
    }
    Some(())
}

/// A module's name as the kernel has it, with `_` for `-`; `None` if it can be none.
pub(super) fn name(bytes: &[u8]) -> Option<String> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-".contains(byte);
    let fine = (1..=NAME_BYTES_MAX).contains(&bytes.len()) && bytes.iter().all(plain);
    fine.then(|| String::from_utf8_lossy(bytes).replace('-', "_"))
}

/// The bytes of a section of a 64-bit little-endian ELF file. Its name ends with a zero.
fn section<'a>(elf: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    if !elf.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let headers = usize::try_from(number::<8>(elf, 0x28)?).ok()?;
    let size = usize::try_from(number::<2>(elf, 0x3a)?).ok()?;
    let count = usize::try_from(number::<2>(elf, 0x3c)?).ok()?;
    let of_names = usize::try_from(number::<2>(elf, 0x3e)?).ok()?;
    let header = |index: usize| elf.get(headers.checked_add(index.checked_mul(size)?)?..);
    let names = content(elf, header(of_names)?)?;
    (0..count).find_map(|index| {
        let header = header(index)?;
        let at = usize::try_from(number::<4>(header, 0)?).ok()?;
        names.get(at..)?.starts_with(name).then(|| content(elf, header))?
    })
}

fn content<'a>(elf: &'a [u8], header: &[u8]) -> Option<&'a [u8]> {
    let offset = usize::try_from(number::<8>(header, 24)?).ok()?;
    let size = usize::try_from(number::<8>(header, 32)?).ok()?;
    elf.get(offset..offset.checked_add(size)?)
}

fn number<const BYTES: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let found = bytes.get(at..at.checked_add(BYTES)?)?;
    Some(found.iter().rev().fold(0, |sum, &byte| (sum << 8) | u64::from(byte)))
}

/// A module that says this of itself and does nothing.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fake(modinfo: &str) -> Vec<u8> {
    let names = b"\0.shstrtab\0.modinfo\0";
    let (names_at, info_at) = (64, 64 + names.len());
    let headers_at = info_at + modinfo.len();
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(64, 0);
    elf[0x28..0x30].copy_from_slice(&(headers_at as u64).to_le_bytes());
    elf[0x3a..0x40].copy_from_slice(&[64, 0, 3, 0, 1, 0]);
    elf.extend_from_slice(names);
    elf.extend_from_slice(modinfo.as_bytes());
    for (name, at, size) in [(0, 0, 0), (1, names_at, names.len()), (11, info_at, modinfo.len())] {
        let mut header = [0; 64];
        header[0] = name;
        header[24..32].copy_from_slice(&(at as u64).to_le_bytes());
        header[32..40].copy_from_slice(&(size as u64).to_le_bytes());
        elf.extend_from_slice(&header);
    }
    elf
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(modinfo: &str, on: &[&str], softly: &[&str]) {
        let depends = read(&fake(modinfo)).expect("a module");
        assert_eq!(depends.on, on);
        assert_eq!(depends.softly, softly);
    }

    #[test]
    fn a_module_says_what_it_depends_on() {
        check("", &[], &[]);
        check("license=GPL\0depends=\0name=fuse\0", &[], &[]);
        check("depends=virtio,virtio-ring\0", &["virtio", "virtio_ring"], &[]);
        check(
            "softdep=pre: crc32c aes post: x pre: y\0softdep=post: z\0",
            &[],
            &["crc32c", "aes", "y"],
        );
    }

    #[test]
    fn what_is_no_module_is_none() {
        let whole = fake("depends=virtio\0");
        for length in 0..whole.len() - 24 {
            assert_eq!(read(&whole[..length]), None, "{length}");
        }
        assert_eq!(read(&fake("depends=../x\0")), None);
        assert_eq!(read(&fake(&format!("depends={}\0", "a,".repeat(65)))), None);
        assert_eq!(read(&fake(&format!("depends={}\0", "a".repeat(57)))), None);
        let mut far = whole;
        far[0x28..0x30].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(read(&far), None);
    }
}
