//! Where values come from.

use std::path::Path;
use std::time::Duration;

use super::words::words;
use crate::format::Format;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// One file.
    File {
        /// Its path, taken as it is.
        path: String,
        /// One value inside it; the whole if not given.
        key: Option<Key>,
        /// How it is written, where no key says so: one of the words for `format`. It is
        /// compared as text if not given.
        format: Option<String>,
        /// Which value of that key.
        view: View,
        /// What of it counts.
        attributes: Vec<Attribute>,
    },
    /// Everything below a path, or all paths that match patterns.
    Tree {
        /// Patterns of absolute paths; those behind a `!` leave out. Empty for all.
        globs: Vec<String>,
        /// Where it begins; `/` where there are only patterns.
        root: String,
        /// How its files are written: one of the words for `format`. They are compared as text
        /// if not given.
        format: Option<String>,
        /// What of each path counts.
        attributes: Vec<Attribute>,
    },
    /// Kernel settings by dotted name, such as `net.ipv4.ip_forward`.
    Sysctl {
        /// A name, or a pattern of names.
        names: String,
    },
    /// What a program prints.
    Command {
        /// The program and its arguments; no shell reads them.
        argv: Vec<String>,
        /// Who runs it.
        user: String,
        /// How long it may take.
        timeout: Duration,
        /// How much it may print.
        output_bytes_max: u64,
        /// One value of what it prints; the whole if not given.
        key: Option<Key>,
    },
    /// The version and status of an installed package.
    Package {
        /// Its name.
        package: String,
    },
    /// A unit of systemd.
    Service {
        /// Its name, such as `ssh.service`.
        unit: String,
        /// One property of it, such as `LimitNOFILE`; whether it is enabled and active if not given.
        property: Option<String>,
    },
    /// The ports something listens on, as a set.
    Listen,
    /// What is mounted.
    Mount {
        /// At one path; everywhere if not given.
        path: Option<String>,
        /// One fact of what is mounted there; its line of the table if not given.
        fact: Option<MountFact>,
    },
    /// How much memory there is.
    Memory {
        /// Which part of it.
        fact: MemoryFact,
    },
    /// Certificates in a file.
    Certificate {
        /// Its path.
        path: String,
        /// What of them.
        fact: CertificateFact,
    },
    /// An account: its ids, groups, home and shell.
    User {
        /// Its name.
        account: String,
    },
    /// The network as the kernel has it.
    Network {
        /// `addresses`, `routes` or `link.NAME.PROPERTY`.
        key: String,
    },
    /// A fact about the running kernel.
    Kernel {
        /// Which one.
        fact: KernelFact,
    },
}

/// One value inside a file or an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// How the text is written: one of the words for `format`.
    pub format: String,
    /// Which value, in the manner of that format.
    pub key: String,
}

/// The word that leaves the format to the path.
pub(super) const AUTO: &str = "auto";

impl Source {
    /// How the text at `path` is written: by the word for `format`, else as plain text. The path
    /// decides where that word is `auto`.
    pub fn format(&self, path: &Path) -> Format {
        let word = match self {
            Self::File { key: Some(key), .. } | Self::Command { key: Some(key), .. } => &key.format,
            Self::File { format: Some(format), .. } | Self::Tree { format: Some(format), .. } => {
                format
            }
            _ => return Format::Raw,
        };
        match word.as_str() {
            AUTO => Format::of(path),
            word => Format::named(word).unwrap_or(Format::Raw),
        }
    }

    /// Whether it is a gauge: a number that moves by itself, however well all is. It is held
    /// against what is expected of it, and against its shadow only if it has a tolerance.
    pub fn is_gauge(&self) -> bool {
        match self {
            Self::Mount { fact: Some(fact), .. } => fact.is_gauge(),
            Self::Memory { .. } => true,
            Self::Certificate { fact, .. } => fact.is_gauge(),
            _ => false,
        }
    }

    /// Whether it falls by one a day, whatever happens: when it will be where is known then.
    pub fn counts_days_down(&self) -> bool {
        matches!(self, Self::Certificate { fact: CertificateFact::DaysLeft, .. })
    }
}

impl MountFact {
    pub(super) fn is_gauge(self) -> bool {
        match self {
            Self::Used | Self::InodesUsed | Self::Available => true,
            Self::Size | Self::Options => false,
        }
    }
}

impl CertificateFact {
    pub(super) fn is_gauge(self) -> bool {
        match self {
            Self::DaysLeft => true,
            Self::Expires | Self::Subject | Self::Fingerprint => false,
        }
    }
}

words! {
    /// What of a path counts.
    Attribute {
        /// Its bytes.
        Content = "content",
        /// File, directory, link or another.
        Type = "type",
        /// Permission bits.
        Mode = "mode",
        /// Its user.
        Owner = "owner",
        /// Its group.
        Group = "group",
        /// Its access control list.
        Acl = "acl",
        /// Extended attributes besides.
        Xattr = "xattr",
        /// File capabilities.
        Caps = "caps",
        /// Where a symbolic link leads.
        Link = "link",
    }
}

words! {
    /// Which of the values a key can have counts.
    View {
        /// What the file says.
        Declared = "declared",
        /// What its service goes by.
        Effective = "effective",
        /// Either.
        Both = "both",
    }
}

words! {
    /// A fact about the running kernel.
    KernelFact {
        /// Its release, as `uname -r` says.
        Release = "release",
        /// What it was booted with.
        Cmdline = "cmdline",
        /// The modules that are loaded, as a set.
        Modules = "modules",
        /// What has made it unsupported.
        Tainted = "tainted",
    }
}

words! {
    /// A fact of what is mounted at a path.
    MountFact {
        /// How much of the room is used, of what there is for programs that are not root's.
        Used = "used_percent",
        /// How many of the files it can hold it does hold; 0 where it can hold any number.
        InodesUsed = "inodes_used_percent",
        /// How much room there is for programs that are not root's.
        Available = "available_bytes",
        /// How much there is in all.
        Size = "size_bytes",
        /// How it is mounted.
        Options = "options",
    }
}

words! {
    /// How much of a machine's memory.
    MemoryFact {
        /// What programs can have before anything must be moved out.
        AvailablePercent = "available_percent",
        /// The same in bytes.
        Available = "available_bytes",
        /// How much was moved out, of what can be; 0 where nothing can be.
        SwapUsed = "swap_used_percent",
    }
}

words! {
    /// A fact of the certificates in a file.
    CertificateFact {
        /// How many days until the first of them ends.
        DaysLeft = "days_left",
        /// When the first of them ends.
        Expires = "expires",
        /// Whose the topmost one is.
        Subject = "subject",
        /// The SHA-256 digest of the topmost one.
        Fingerprint = "fingerprint",
    }
}
