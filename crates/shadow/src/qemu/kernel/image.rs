//! A Linux kernel for x86 as boot loaders get it ("bzImage"; Linux's
//! `Documentation/arch/x86/boot.rst`).

use std::cmp::Ordering;

/// Where the header's parts are.
const BOOT_FLAG: usize = 0x1fe;
const MAGIC: usize = 0x202;
const VERSION: usize = 0x206;
const TEXT: usize = 0x20e;

/// The first protocol with initrds anywhere and command lines of any length.
const VERSION_MIN: u16 = 0x0206;

/// No release's name is longer; Linux has 65 bytes for it.
pub(super) const RELEASE_BYTES_MAX: usize = 64;

/// The release of a kernel, such as `6.1.0-57-cloud-amd64`; `None` if it is no kernel.
pub(crate) fn release(image: &[u8]) -> Option<String> {
    let number = |at: usize| {
        let bytes = image.get(at..at + 2)?;
        Some(u16::from_le_bytes([bytes[0], bytes[1]]))
    };
    let is_kernel = number(BOOT_FLAG)? == 0xaa55 && image.get(MAGIC..MAGIC + 4)? == b"HdrS";
    if !is_kernel || number(VERSION)? < VERSION_MIN {
        return None;
    }
    let text = image.get(usize::from(number(TEXT)?) + 0x200..)?;
    let end =
        text.iter().take(RELEASE_BYTES_MAX + 1).position(|byte| *byte == b' ' || *byte == 0)?;
    let release = std::str::from_utf8(&text[..end]).ok()?;
    is_release(release).then(|| release.to_owned())
}

/// Whether it can be a release, and part of a path.
pub(super) fn is_release(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._+~-".contains(&byte);
    (1..=RELEASE_BYTES_MAX).contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_digit())
        && text.bytes().all(plain)
}

/// Which of two releases is newer: numbers compare as numbers, the rest as text.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        if a.is_empty() || b.is_empty() {
            return a.len().cmp(&b.len());
        }
        let (number_a, text_a, rest_a) = split(a);
        let (number_b, text_b, rest_b) = split(b);
        let numbers = (number_a.len(), number_a).cmp(&(number_b.len(), number_b));
        let order = numbers.then_with(|| text_a.cmp(text_b));
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
}

/// Digits without leading zeros, what follows up to the next digit, and the rest.
fn split(text: &str) -> (&str, &str, &str) {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    let words = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
    let (word, rest) = rest.split_at(words);
    (number.trim_start_matches('0'), word, rest)
}

/// The least that is a kernel to us, and to QEMU.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fake(release: &str) -> Vec<u8> {
    let mut image = vec![0; 0x1000];
    image[0x1f1] = 1;
    image[BOOT_FLAG..BOOT_FLAG + 2].copy_from_slice(&[0x55, 0xaa]);
    image[MAGIC..MAGIC + 4].copy_from_slice(b"HdrS");
    image[VERSION..VERSION + 2].copy_from_slice(&0x020f_u16.to_le_bytes());
    image[TEXT..TEXT + 2].copy_from_slice(&0x100_u16.to_le_bytes());
    image[0x211] = 1;
    image[0x22c..0x230].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
    image[0x238..0x23c].copy_from_slice(&2047_u32.to_le_bytes());
    let text = format!("{release} (somebody@somewhere) #1 SMP\0");
    image[0x300..0x300 + text.len()].copy_from_slice(text.as_bytes());
    image
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_says_its_release() {
        assert_eq!(release(&fake("6.1.0-57-cloud-amd64")).as_deref(), Some("6.1.0-57-cloud-amd64"));
        assert_eq!(release(&fake("6.12.48+deb13-amd64")).as_deref(), Some("6.12.48+deb13-amd64"));
        for bad in ["../../etc", "", "6.1/..", &"6".repeat(65), "v6", "6.1\n"] {
            assert_eq!(release(&fake(bad)), None, "{bad:?}");
        }
    }

    #[test]
    fn what_is_no_kernel_is_none() {
        let whole = fake("6.1.0");
        for length in [0, 1, BOOT_FLAG + 1, MAGIC + 3, TEXT + 1, 0x300, 0x303] {
            assert_eq!(release(&whole[..length]), None, "{length}");
        }
        let mut old = whole.clone();
        old[VERSION] = 5;
        assert_eq!(release(&old), None);
        let mut far = whole;
        far[TEXT..TEXT + 2].copy_from_slice(&[0xff, 0xff]);
        assert_eq!(release(&far), None);
    }

    #[test]
    fn newer_is_newer() {
        let sorted =
            ["5.10.0-1", "6.1.0-9-amd64", "6.1.0-10-amd64", "6.1.0-10-cloud-amd64", "6.12.1"];
        for (index, older) in sorted.iter().enumerate() {
            for newer in &sorted[index + 1..] {
                assert_eq!(compare(older, newer), Ordering::Less, "{older} {newer}");
                assert_eq!(compare(newer, older), Ordering::Greater, "{newer} {older}");
            }
            assert_eq!(compare(older, older), Ordering::Equal);
        }
        assert_eq!(compare("6.01", "6.1"), Ordering::Equal);
    }
}
