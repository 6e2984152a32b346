//! Configuration files as trees of keys that remember where each byte is.
//!
//! [`parse`] accepts every input: a line it does not understand becomes an
//! *opaque* node, compared as text. [`Tree::edit`] replaces one value and leaves
//! every other byte alone, [`diff`] says which keys differ between two trees;
//! comments, white space and an order that mean nothing are not differences.
//!
//! The value of a key is its text as the file has it, quotes and escapes
//! included, because that is what an edit must be able to put back exactly.
//!
//! # Keys
//!
//! ```text
//! key   = step { "." step | "[" pick "]" } | "[" pick "]" { ... }
//! step  = name [ "[" pick "]" ]
//! name  = any bytes but . [ ] " \ and white space, spaces inside | '"' with \" \\ \xNN inside '"'
//! pick  = number                       occurrence or element, from 0
//!       | "last"                       the last of them
//!       | [ name ] "=" value           whose child `name` (or itself) has this value;
//!                                      value = name, or any bytes but ] and "
//! ```
//!
//! `[n]` on a name that stands once and holds a list is an element of the list,
//! otherwise an occurrence of the name. Without a pick a repeated name means the
//! one in force: the first where the format says so (sshd, hosts), else the last.
//! A name with dots in it may be written as it is where that is not ambiguous
//! (`net.ipv4.ip_forward`, `tool.ruff.line-length`). A block may be called by the
//! first word of its header (`Match[0]`, `server.location[1]`), a row of a table
//! by its number or a field (`[0]`, `[uid=0].shell`). An opaque line is `?`.
//!
//! | format | a key |
//! |---|---|
//! | key-value, sysctl, resolv.conf | `net.ipv4.ip_forward`, `nameserver[1]` |
//! | hosts | `127.0.0.1`, of which `ipaddr`, `canonical` and `alias[0]` are parts |
//! | ini, systemd, TOML | `Service.ExecStart[0]`, `tool.ruff.line-length` |
//! | fstab, crypttab, passwd, shadow, group, gshadow | `/boot.options`, `root.shell` |
//! | crontab | `PATH`, `job[3].command`, `job[user=backup].schedule` |
//! | sshd | `PermitRootLogin`, `"Match User bob".X11Forwarding` |
//! | nginx, nftables | `http.server[0]."location /".root`, `"table inet filter"."chain input".rule[2]` |
//! | deb822 | `[0].URIs`, `[Package=bash].Version` |
//! | JSON, YAML | `log-opts.max-size`, `hosts[0]`, `network.ethernets.eth0.mtu` |
//!
//! # Other spellings
//!
//! Two more are read, and printed as ours. What of them is no plain way to one
//! value (recursive descent, wildcards, slices, filters, functions, arithmetic)
//! is a [`KeyError`].
//!
//! | text | is | in ours |
//! |---|---|---|
//! | `$.a[0]`, `$.a['b c']`, `$['a']`, `$.a[-1]` | JSONPath | `a[0]`, `a."b c"`, `a`, `a[last]` |
//! | `/Match[1]/X11Forwarding`, `/nameserver[last()]` | Augeas | `Match[0].X11Forwarding`, `nameserver[last]` |
//! | `/1/ipaddr`, `/*[canonical='db']/ipaddr` | Augeas | `[0].ipaddr`, `[canonical=db].ipaddr` |
//!
//! Names are those of the table above, not those of Augeas's lenses where they
//! differ. A text is JSONPath only if `$` stands before `.` or `[`: `$schema` is
//! a name. One that begins with `/` is always Augeas's if it is no key of ours.
//! If it is both (`/boot/efi`, `/Service/Restart`) it means ours where the file
//! has such a thing, as it always did, and otherwise Augeas's where the file has
//! that, or what it would lie in, or in the formats in which no outermost name
//! begins with a slash: all but fstab, key-value, ini, nginx, JSON, TOML, YAML.
//! In quotes (`"/boot/efi"`) a name is a name.

mod braces;
mod canon;
mod columns;
mod crontab;
mod cursor;
mod deb822;
mod detect;
mod dialect;
mod diff;
mod edit;
mod ini;
mod insert;
mod json;
mod key;
mod keyvalue;
#[cfg(test)]
mod laws;
mod lines;
mod lookup;
mod nft;
mod nginx;
mod sections;
mod sshd;
mod toml;
mod tree;
mod yaml;

pub use diff::{Change, Difference, diff};
pub use edit::EditError;
pub use key::{Key, KeyError};
pub use tree::Tree;

use tree::{Node, Order};

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Lines of text without further meaning.
    Raw,
    /// `name=value`, `name: value` or `name value` on each line.
    KeyValue,
    /// sysctl.d(5).
    Sysctl,
    /// `[section]` and `name=value`.
    Ini,
    /// systemd.syntax(7): an empty assignment resets the list before it.
    Systemd,
    /// resolv.conf(5).
    Resolv,
    /// hosts(5).
    Hosts,
    /// fstab(5).
    Fstab,
    /// crypttab(5).
    Crypttab,
    /// passwd(5).
    Passwd,
    /// shadow(5).
    Shadow,
    /// group(5).
    Group,
    /// gshadow(5).
    Gshadow,
    /// sshd_config(5) and ssh_config(5).
    Sshd,
    /// A user's crontab(5).
    Crontab,
    /// crontab(5) of the system, with a user column.
    CronD,
    /// nginx's directives and blocks.
    Nginx,
    /// deb822(5).
    Deb822,
    /// RFC 8259.
    Json,
    /// TOML 1.0.
    Toml,
    /// Block style YAML; flow collections are values.
    Yaml,
    /// An nftables ruleset, nft(8).
    Nft,
}

/// Larger input is one opaque node: no configuration file is, and a tree costs
/// many times its text.
const BYTES_MAX: usize = 8 << 20;
/// Bytes that can begin a node; more make the input one opaque node too.
const SEPARATORS_MAX: usize = 1 << 19;
/// Blocks inside blocks. What lies deeper is text.
const DEPTH_MAX: usize = 48;

/// Reads `bytes` as `format`. Never fails; takes time linear in `bytes`.
pub fn parse(format: Format, bytes: &[u8]) -> Tree<'_> {
    let separators = || bytes.iter().filter(|b| b"\n,;:{[".contains(b)).count();
    if bytes.len() > BYTES_MAX || separators() > SEPARATORS_MAX {
        let whole = Node::opaque(0, bytes.len(), bytes.len());
        return Tree::new(format, bytes, vec![whole], Order::Sequence);
    }
    let (nodes, order) = match format {
        Format::Raw => (lines::raw(bytes), Order::Sequence),
        Format::KeyValue => keyvalue::parse(bytes, &keyvalue::KEY_VALUE),
        Format::Sysctl => keyvalue::sysctl(bytes),
        Format::Resolv => keyvalue::parse(bytes, &keyvalue::RESOLV),
        Format::Hosts => columns::hosts(bytes),
        Format::Ini => ini::parse(bytes, false),
        Format::Systemd => ini::parse(bytes, true),
        Format::Fstab => columns::spaced(bytes, &columns::FSTAB),
        Format::Crypttab => columns::spaced(bytes, &columns::CRYPTTAB),
        Format::Passwd => columns::colons(bytes, &columns::PASSWD),
        Format::Shadow => columns::colons(bytes, &columns::SHADOW),
        Format::Group => columns::colons(bytes, &columns::GROUP),
        Format::Gshadow => columns::colons(bytes, &columns::GSHADOW),
        Format::Sshd => sshd::parse(bytes),
        Format::Crontab => crontab::parse(bytes, false),
        Format::CronD => crontab::parse(bytes, true),
        Format::Nginx => nginx::parse(bytes),
        Format::Nft => nft::parse(bytes),
        Format::Deb822 => deb822::parse(bytes),
        Format::Json => json::parse(bytes),
        Format::Toml => toml::parse(bytes),
        Format::Yaml => yaml::parse(bytes),
    };
    Tree::new(format, bytes, nodes, order)
}
