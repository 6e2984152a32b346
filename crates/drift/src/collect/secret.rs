//! What never leaves the machine: of it only a digest is kept.

use std::path::Path;

use globset::GlobSet;
use regex::bytes::Regex;

use super::globs::set;
use crate::config::NoDiff;

/// What every private key in a text file has in its first line.
const PRIVATE_KEY: &str = "PRIVATE KEY-----";

/// Which contents must not leave the machine.
#[derive(Debug)]
pub(super) struct Secrecy {
    whole: bool,
    paths: GlobSet,
    marker: Option<Regex>,
}

impl Secrecy {
    pub(super) fn new(nodiff: &NoDiff) -> Result<Self, globset::Error> {
        let (whole, paths) = match nodiff {
            NoDiff::Whole(whole) => (*whole, set([])?),
            NoDiff::Paths(paths) => (false, set(paths.iter().map(String::as_str))?),
        };
        Ok(Self { whole, paths, marker: Regex::new(PRIVATE_KEY).ok() })
    }

    /// Whether all of this parameter's values are secret.
    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    /// Whether what is at `path` is secret, whatever it says.
    pub(super) fn hides(&self, path: &Path) -> bool {
        self.whole || is_known(path) || self.paths.is_match(path)
    }

    /// Whether these bytes are secret, wherever they are.
    pub(super) fn hides_bytes(&self, bytes: &[u8]) -> bool {
        self.marker.as_ref().is_none_or(|marker| marker.is_match(bytes))
    }
}

/// Files that hold secrets on every machine, and the copies programs and people make of them.
fn is_known(path: &Path) -> bool {
    // Names that are no text are none of these.
    let Some(path) = path.to_str() else { return false };
    let Some((parent, name)) = path.rsplit_once('/') else { return false };
    let any = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    match parent {
        "/etc" => any(&["shadow", "gshadow", "krb5.keytab", "sasldb2", "ipsec.secrets"]),
        "/var/backups" => any(&["shadow", "gshadow"]),
        "/etc/security" => any(&["opasswd"]),
        "/etc/ssh" => name.starts_with("ssh_host_") && !name.ends_with(".pub"),
        "/etc/apt" => any(&["auth.conf"]),
        "/etc/mysql" => any(&["debian.cnf"]),
        "/etc/ppp" => name.contains("-secrets"),
        "/etc/apt/auth.conf.d" | "/etc/wireguard" | "/etc/NetworkManager/system-connections" => {
            true
        }
        _ if parent.ends_with("/.ssh") => name.starts_with("id_") && !name.ends_with(".pub"),
        _ => path.starts_with("/etc/ssl/private/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_secrets_are_known() {
        for (path, secret) in [
            ("/etc/shadow", true),
            ("/etc/shadow-", true),
            ("/etc/gshadow.dpkg-old", true),
            ("/etc/shadow-maint/userdel-post.d", false),
            ("/etc/passwd", false),
            ("/etc/ssh/ssh_host_ed25519_key", true),
            ("/etc/ssh/ssh_host_ed25519_key.pub", false),
            ("/etc/ssh/sshd_config", false),
            ("/etc/ssl/private/a/b.pem", true),
            ("/etc/ssl/certs/a.pem", false),
            ("/root/.ssh/id_ed25519", true),
            ("/etc/machine-id", false),
            ("shadow", false),
        ] {
            assert_eq!(is_known(Path::new(path)), secret, "{path}");
        }
    }

    #[test]
    fn a_private_key_is_one_wherever_it_is() {
        let secrecy = Secrecy::new(&NoDiff::Whole(false)).expect("no patterns");
        assert!(secrecy.hides_bytes(b"x\n-----BEGIN OPENSSH PRIVATE KEY-----\nb3B\n"));
        assert!(!secrecy.hides_bytes(b"-----BEGIN CERTIFICATE-----\n"));
        assert!(!secrecy.hides(Path::new("/srv/app.conf")));
    }

    #[test]
    fn patterns_name_more() {
        let paths = NoDiff::Paths(vec!["/srv/**/token".to_owned()]);
        let secrecy = Secrecy::new(&paths).expect("patterns");
        assert!(secrecy.hides(Path::new("/srv/a/b/token")));
        assert!(!secrecy.hides(Path::new("/srv/a/b/taken")));
        assert!(secrecy.hides(Path::new("/etc/shadow")), "these cannot be uncovered");
    }
}
