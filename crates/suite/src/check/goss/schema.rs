//! How each kind of resource is written in a goss file.

use super::Kind;

/// How a kind of resource is written.
pub(super) struct Schema {
    pub(super) kind: Kind,
    pub(super) word: &'static str,
    pub(super) attributes: &'static [&'static str],
    /// Attributes whose lists hold line patterns.
    pub(super) lines: &'static [&'static str],
    pub(super) options: &'static [&'static str],
    /// The option that may name the thing instead of the key.
    pub(super) id: &'static str,
    /// What goss knows and this does not, with the reason.
    pub(super) unsupported: &'static [(&'static str, &'static str)],
}

pub(super) const SCHEMAS: [Schema; 15] = [
    Schema {
        kind: Kind::File,
        word: "file",
        attributes: &[
            "exists",
            "mode",
            "size",
            "owner",
            "group",
            "uid",
            "gid",
            "linked-to",
            "filetype",
            "contents",
            "md5",
            "sha256",
            "sha512",
        ],
        lines: &["contents"],
        options: &["path"],
        id: "path",
        unsupported: &[],
    },
    Schema {
        kind: Kind::Package,
        word: "package",
        attributes: &["installed", "versions"],
        lines: &[],
        options: &["name"],
        id: "name",
        unsupported: &[],
    },
    Schema {
        kind: Kind::Service,
        word: "service",
        attributes: &["enabled", "running"],
        lines: &[],
        options: &["name"],
        id: "name",
        unsupported: &[("runlevels", "services are those of systemd")],
    },
    Schema {
        kind: Kind::User,
        word: "user",
        attributes: &["exists", "uid", "gid", "groups", "home", "shell"],
        lines: &[],
        options: &["username"],
        id: "username",
        unsupported: &[],
    },
    Schema {
        kind: Kind::Group,
        word: "group",
        attributes: &["exists", "gid"],
        lines: &[],
        options: &["groupname"],
        id: "groupname",
        unsupported: &[],
    },
    Schema {
        kind: Kind::Port,
        word: "port",
        attributes: &["listening", "ip"],
        lines: &[],
        options: &["port"],
        id: "port",
        unsupported: &[],
    },
    Schema {
        kind: Kind::Process,
        word: "process",
        attributes: &["running"],
        lines: &[],
        options: &["comm"],
        id: "comm",
        unsupported: &[],
    },
    Schema {
        kind: Kind::Command,
        word: "command",
        attributes: &["exit-status", "stdout", "stderr"],
        lines: &["stdout", "stderr"],
        options: &["exec", "timeout"],
        // The key stays the command's name; `exec` says what to run.
        id: "",
        unsupported: &[],
    },
    Schema {
        kind: Kind::Http,
        word: "http",
        attributes: &["status", "headers", "body"],
        lines: &["headers", "body"],
        options: &[
            "url",
            "method",
            "request-headers",
            "request-body",
            "allow-insecure",
            "no-follow-redirects",
            "timeout",
            "username",
            "password",
            "ca-file",
        ],
        id: "url",
        unsupported: &[
            ("proxy", "requests go straight to the shadow"),
            ("cert-file", "client certificates are not supported"),
            ("key-file", "client certificates are not supported"),
        ],
    },
    Schema {
        kind: Kind::Dns,
        word: "dns",
        attributes: &["resolvable", "addrs"],
        lines: &[],
        options: &["resolve", "timeout"],
        id: "resolve",
        unsupported: &[("server", "names are resolved as the shadow resolves them")],
    },
    Schema {
        kind: Kind::Mount,
        word: "mount",
        attributes: &["exists", "opts", "vfs-opts", "source", "filesystem", "usage"],
        lines: &[],
        options: &["mountpoint", "timeout"],
        id: "mountpoint",
        unsupported: &[],
    },
    Schema {
        kind: Kind::KernelParam,
        word: "kernel-param",
        attributes: &["value"],
        lines: &[],
        options: &["name"],
        id: "name",
        unsupported: &[],
    },
    Schema {
        kind: Kind::Interface,
        word: "interface",
        attributes: &["exists", "addrs", "mtu"],
        lines: &[],
        options: &["name"],
        id: "name",
        unsupported: &[],
    },
    Schema {
        kind: Kind::Addr,
        word: "addr",
        attributes: &["reachable"],
        lines: &[],
        options: &["address", "timeout"],
        id: "address",
        unsupported: &[("local-address", "the shadow chooses its own address")],
    },
    Schema {
        kind: Kind::Matching,
        word: "matching",
        attributes: &["matches"],
        lines: &[],
        options: &["content"],
        id: "",
        unsupported: &[],
    },
];

/// What every resource may say.
pub(super) const COMMON: [&str; 3] = ["skip", "title", "meta"];

impl Kind {
    /// The word a goss file uses for it.
    pub fn word(self) -> &'static str {
        SCHEMAS.iter().find(|schema| schema.kind == self).map_or("", |schema| schema.word)
    }
}
