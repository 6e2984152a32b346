//! What the project needs from Debian, for what, and how to see that it is there.

use std::path::{Path, PathBuf};

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Build,
    Run,
    Test,
    Bench,
}

impl Purpose {
    pub(crate) const ALL: [Self; 4] = [Self::Build, Self::Run, Self::Test, Self::Bench];

    fn word(self) -> &'static str {
        match self {
            Self::Build => "to build",
            Self::Run => "to build images",
            Self::Test => "to test",
            Self::Bench => "to measure",
        }
    }
}

/// How a package shows. A program counts wherever it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    Program(&'static str),
    File(&'static str),
    /// One of them is enough.
    Files(&'static [&'static str]),
}

/// One package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) package: &'static str,
    purpose: Purpose,
    sign: Sign,
    why: &'static str,
}

const NEEDS: [Need; 40] = [
    need("gcc", Purpose::Build, Sign::Program("cc"), "compiles SQLite, zstd and AWS-LC"),
    need("libc6-dev", Purpose::Build, Sign::File("/usr/include/stdio.h"), "C headers"),
    need("pkg-config", Purpose::Build, Sign::Program("pkg-config"), "finds OpenSSL"),
    need(
        "libssl-dev",
        Purpose::Build,
        Sign::File("/usr/include/openssl/ssl.h"),
        "composefs links to it",
    ),
    need("mmdebstrap", Purpose::Run, Sign::Program("mmdebstrap"), "makes Debian roots"),
    need(
        "debian-archive-keyring",
        Purpose::Run,
        Sign::File("/usr/share/keyrings/debian-archive-keyring.gpg"),
        "proves that packages are Debian's",
    ),
    need("gpg", Purpose::Run, Sign::Program("gpg"), "with which mmdebstrap chooses the keys"),
    need(
        "ca-certificates",
        Purpose::Run,
        Sign::File("/etc/ssl/certs/ca-certificates.crt"),
        "archives behind https",
    ),
    need("nftables", Purpose::Run, Sign::Program("nft"), "the fence around shadows"),
    need("mount", Purpose::Run, Sign::Program("mount"), "probes for overlayfs"),
    need("iproute2", Purpose::Run, Sign::Program("tc"), "copies what passes an interface"),
    need("grub-common", Purpose::Run, Sign::Program("grub-mkimage"), "boot loaders of disks"),
    need(
        "grub-pc-bin",
        Purpose::Run,
        Sign::File("/usr/lib/grub/i386-pc/boot.img"),
        "likewise, for BIOS",
    ),
    need(
        "grub-efi-amd64-bin",
        Purpose::Run,
        Sign::File("/usr/lib/grub/x86_64-efi/moddep.lst"),
        "likewise, for UEFI",
    ),
    need("busybox-static", Purpose::Test, Sign::Program("busybox"), "small roots for tests"),
    need("python3-minimal", Purpose::Test, Sign::Program("python3"), "the example's service"),
    need("curl", Purpose::Test, Sign::Program("curl"), "a client of the gateway"),
    need("nghttp2-client", Purpose::Test, Sign::Program("h2load"), "likewise"),
    need(
        "python3-websockets",
        Purpose::Test,
        Sign::File("/usr/lib/python3/dist-packages/websockets/__init__.py"),
        "likewise",
    ),
    need(
        "python3-grpcio",
        Purpose::Test,
        Sign::File("/usr/lib/python3/dist-packages/grpc/__init__.py"),
        "likewise",
    ),
    need("tcpdump", Purpose::Test, Sign::Program("tcpdump"), "sees what a tap must see"),
    need("wrk", Purpose::Test, Sign::Program("wrk"), "load for taps and proxies"),
    need("prometheus", Purpose::Test, Sign::Program("prometheus"), "what analyses ask"),
    need("openssh-client", Purpose::Test, Sign::Program("ssh"), "reaches other machines"),
    need("openssh-server", Purpose::Test, Sign::Program("sshd"), "stands for another machine"),
    need("lynis", Purpose::Test, Sign::Program("lynis"), "audits shadows that have none"),
    need("openscap-scanner", Purpose::Test, Sign::Program("oscap"), "likewise, benchmarks"),
    need("augeas-tools", Purpose::Test, Sign::Program("augtool"), "reads what our formats read"),
    need("qemu-system-x86", Purpose::Test, Sign::Program("qemu-system-x86_64"), "virtual machines"),
    need(
        "virtiofsd",
        Purpose::Test,
        Sign::Files(&["/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd"]),
        "shows virtual machines their files",
    ),
    need("qemu-utils", Purpose::Test, Sign::Program("qemu-img"), "reads what we write"),
    need(
        "ovmf",
        Purpose::Test,
        Sign::File("/usr/share/OVMF/OVMF_CODE_4M.fd"),
        "UEFI firmware that boots disks",
    ),
    need("e2fsprogs", Purpose::Test, Sign::Program("e2fsck"), "checks what we write"),
    need("dosfstools", Purpose::Test, Sign::Program("fsck.fat"), "likewise"),
    need("xz-utils", Purpose::Test, Sign::Program("xz"), "packs modules as Debian does"),
    need("erofs-utils", Purpose::Test, Sign::Program("mkfs.erofs"), "their read-only disks"),
    need("rsync", Purpose::Bench, Sign::Program("rsync"), "what umbra is compared with"),
    need("nginx-light", Purpose::Bench, Sign::Program("nginx"), "likewise, as a proxy"),
    need("haproxy", Purpose::Bench, Sign::Program("haproxy"), "likewise"),
    need("strace", Purpose::Bench, Sign::Program("strace"), "counts system calls"),
];

const fn need(package: &'static str, purpose: Purpose, sign: Sign, why: &'static str) -> Need {
    Need { package, purpose, sign, why }
}

/// What is missing on this machine for these purposes, in the table's order.
pub(crate) fn missing(purposes: &[Purpose]) -> Vec<Need> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Root's programs are needed although not every account's PATH has them.
    let extra = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    let dirs: Vec<PathBuf> = std::env::split_paths(&path).chain(extra).collect();
    let mut missing = missing_in(purposes, &|sign| match sign {
        Sign::Program(name) => dirs.iter().any(|dir| dir.join(name).exists()),
        Sign::File(path) => Path::new(path).exists(),
        Sign::Files(paths) => paths.iter().any(|path| Path::new(path).exists()),
    });
    let release = std::fs::read_to_string("/etc/debian_version").unwrap_or_default();
    missing.iter_mut().for_each(|need| need.package = package_in(&release, need.package));
    missing
}

/// What this package is called in a release of Debian, or of Ubuntu, which names Debian's.
fn package_in(release: &str, package: &'static str) -> &'static str {
    let old = ["11", "12", "bullseye", "bookworm"].iter().any(|name| release.starts_with(name));
    match package {
        // It came with QEMU until 7.2.
        "virtiofsd" if old => "qemu-system-common",
        package => package,
    }
}

fn missing_in(purposes: &[Purpose], present: &dyn Fn(Sign) -> bool) -> Vec<Need> {
    let wanted = NEEDS.iter().filter(|need| purposes.contains(&need.purpose));
    wanted.filter(|need| !present(need.sign)).copied().collect()
}

/// One line about each, for a person who is to agree.
pub(crate) fn described(needs: &[Need]) -> String {
    let lines = needs
        .iter()
        .map(|need| format!("  {:<24}{} ({})\n", need.package, need.purpose.word(), need.why));
    lines.collect()
}

/// Their names, as apt-get takes them.
pub(crate) fn names(needs: &[Need]) -> Vec<&'static str> {
    needs.iter().map(|need| need.package).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_purpose_needs_is_missing() {
        let nothing = |_| false;
        let build = missing_in(&[Purpose::Build], &nothing);
        assert_eq!(names(&build), ["gcc", "libc6-dev", "pkg-config", "libssl-dev"]);
        assert_eq!(missing_in(&Purpose::ALL, &nothing).len(), NEEDS.len());
        assert!(missing_in(&Purpose::ALL, &|_| true).is_empty());
    }

    #[test]
    fn packages_are_called_what_the_release_calls_them() {
        let called = ["12.11\n", "bookworm/sid\n", "13.1\n", "trixie/sid\n", ""]
            .map(|release| package_in(release, "virtiofsd"));
        let (old, new) = ("qemu-system-common", "virtiofsd");
        assert_eq!(called, [old, old, new, new, new]);
        assert_eq!(package_in("12.11", "gcc"), "gcc");
    }

    #[test]
    fn what_is_there_is_not_asked_for() {
        let only_compiler = |sign| sign == Sign::Program("cc");
        let build = missing_in(&[Purpose::Build], &only_compiler);
        assert_eq!(names(&build), ["libc6-dev", "pkg-config", "libssl-dev"]);
        assert!(described(&build).contains("libssl-dev"));
    }
}
