//! Modules as distributions pack them: plain, xz (Debian 13), zstd (Ubuntu), gzip.

use std::io::{self, Read};

use lzma_rust2::XzReader;

/// How a packed file's name ends.
pub(super) const ENDINGS: [&str; 4] = ["", ".xz", ".zst", ".gz"];

/// No module is longer once unpacked.
pub(super) const BYTES_MAX: u64 = 64 << 20;

/// What unpacking may hold beside the result. A module packed by `xz -9` needs a quarter of it,
/// one packed by `zstd --ultra -22` an eighth.
const XZ_KIB_MAX: u32 = 256 << 10;
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// A module's bytes, by what they begin with.
pub(super) fn unpack(packed: Vec<u8>) -> io::Result<Vec<u8>> {
    let bytes = packed.as_slice();
    match packed.get(..4) {
        Some([0xfd, b'7', b'z', b'X']) => bounded(XzReader::new_mem_limit(bytes, true, XZ_KIB_MAX)),
        Some([0x28, 0xb5, 0x2f, 0xfd]) => {
            let mut reader = zstd::Decoder::with_buffer(bytes)?;
            reader.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            bounded(reader)
        }
        Some([0x1f, 0x8b, ..]) => bounded(flate2::bufread::MultiGzDecoder::new(bytes)),
        _ => Ok(packed),
    }
}

fn bounded(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// As a program that is not ours packs it.
    fn packed(program: &str, arguments: &[&str], bytes: &[u8]) -> Vec<u8> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("module.ko");
        std::fs::write(&path, bytes).expect("written");
        let output = Command::new(program)
            .args(arguments)
            .arg("-c")
            .arg(&path)
            .stderr(Stdio::inherit())
            .output()
            .expect(program);
        assert!(output.status.success(), "{program}");
        output.stdout
    }

    #[test]
    fn every_kind_is_unpacked() {
        let module: Vec<u8> = (0..200_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        assert_eq!(unpack(module.clone()).expect("plain"), module);
        for (program, arguments) in [
            // As the kernel's own build does it, and as strongly as it goes.
            ("xz", ["--check=crc32", "--lzma2=dict=1MiB"].as_slice()),
            ("xz", &["-9e"]),
            ("gzip", &[]),
        ] {
            let packed = packed(program, arguments, &module);
            assert!(packed.len() < module.len());
            assert_eq!(unpack(packed).expect(program), module, "{program} {arguments:?}");
        }
        let zstd = zstd::bulk::compress(&module, 19).expect("packed");
        assert_eq!(unpack(zstd).expect("zstd"), module);
    }

    #[test]
    fn what_is_cut_off_or_grows_without_end_is_an_error() {
        let module = vec![7; 1 << 16];
        let xz = packed("xz", &[], &module);
        let zstd = zstd::bulk::compress(&module, 3).expect("packed");
        for whole in [xz, zstd] {
            unpack(whole[..whole.len() / 2].to_vec()).expect_err("it has no end");
        }
        let mut large = zstd::Encoder::new(Vec::new(), 1).expect("an encoder");
        io::copy(&mut io::repeat(0).take(BYTES_MAX + 1), &mut large).expect("packed");
        unpack(large.finish().expect("packed")).expect_err("it is too long");
    }
}
