//! What looks like a secret, and is masked before anybody is told.
//!
//! Values under `nodiff` never get here; this is for those nobody thought of. A name decides by
//! its last word, so that `smtp_password` is one and `PasswordAuthentication` and
//! `password_file` are none; a switch (`yes`, `off`) is never one. Besides: private keys in PEM,
//! hashes of passwords, and files that hold nothing else.

use umbra_api::blob::Blob;

use crate::discrepancy::{Discrepancy, Finding};
use crate::reading::{Content, Item, Reading};

/// What stands in place of a secret.
pub(crate) const MASK: &str = "(hidden)";

const WORDS: [&str; 22] = [
    "password",
    "passwords",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "secrets",
    "token",
    "tokens",
    "apikey",
    "secretkey",
    "privatekey",
    "accesskey",
    "authkey",
    "presharedkey",
    "psk",
    "credential",
    "credentials",
    "masterauth",
    "requirepass",
    "keymaterial",
    "pincode",
];
/// Whole words only: many others end in these.
const SHORT: [&str; 5] = ["pass", "pw", "pin", "dsn", "auth"];
/// Before the word `key`.
const KINDS: [&str; 12] = [
    "private",
    "secret",
    "api",
    "access",
    "encryption",
    "signing",
    "preshared",
    "shared",
    "auth",
    "master",
    "session",
    "account",
];
/// Values that say nothing secret whatever their name.
const SWITCHES: [&str; 14] = [
    "", "yes", "no", "true", "false", "on", "off", "none", "null", "~", "0", "1", "required",
    "optional",
];

/// Whether what is called so is likely a secret.
pub fn is_secret_name(name: &str) -> bool {
    let words = words(name);
    let Some((last, before)) = words.split_last() else { return false };
    if last == "key" || last == "keys" {
        return before.last().is_some_and(|kind| KINDS.contains(&kind.as_str()));
    }
    // The shell's working directory.
    if name == "PWD" || name == "OLDPWD" {
        return false;
    }
    SHORT.contains(&last.as_str()) || WORDS.iter().any(|word| last.ends_with(word))
}

/// The words of an identifier, in lower case: at `_`, `-`, `.` and where a capital begins one.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let (mut began, mut lower) = (false, false);
    for c in name.chars() {
        if !c.is_alphanumeric() {
            (began, lower) = (false, false);
            continue;
        }
        if !began || (lower && c.is_uppercase()) {
            words.push(String::new());
            began = true;
        }
        lower = !c.is_uppercase();
        if let Some(word) = words.last_mut() {
            word.extend(c.to_lowercase());
        }
    }
    words
}

/// Files that hold nothing but secrets.
fn is_secret_path(path: &[u8]) -> bool {
    let Ok(path) = std::str::from_utf8(path) else { return false };
    let name = path.rsplit('/').next().unwrap_or(path);
    let shadow = ["shadow", "shadow-", "gshadow", "gshadow-", "opasswd"].contains(&name);
    let user = [".pgpass", ".netrc", ".htpasswd", ".my.cnf", ".vault-token", "htpasswd"];
    let host_key = name.starts_with("ssh_host_") && name.ends_with("_key");
    let own_key = name.starts_with("id_") && !name.ends_with(".pub");
    let by_name = name.ends_with(".key") || name.ends_with(".keytab") || name.ends_with(".p12");
    shadow && path.starts_with("/etc/")
        || user.contains(&name)
        || host_key
        || own_key
        || by_name
        || path.contains("/private/")
}

fn is_secret_item(item: &Item) -> bool {
    let part = item.part.as_ref().map_or(&b""[..], |part| &part.0);
    is_secret_path(part)
        || is_secret_path(item.parameter.as_bytes())
        || (item.part.is_none() && is_secret_name(&item.parameter))
}

/// The same discrepancy with its secrets hidden. It says still that something differs, and which
/// key.
pub(crate) fn masked(discrepancy: &Discrepancy, path: Option<&Blob>) -> Discrepancy {
    let mut masked = discrepancy.clone();
    let whole = is_secret_item(&masked.item) || path.is_some_and(|path| is_secret_path(&path.0));
    for reading in [&mut masked.shadow, &mut masked.primary] {
        let Reading::Present(value) = reading else { continue };
        let Some(Content::Bytes(bytes)) = &mut value.content else { continue };
        if whole {
            value.content = Some(Content::Bytes(Blob(MASK.into())));
        } else if let Some(hidden) = mask_text(&bytes.0) {
            *bytes = Blob(hidden);
        }
    }
    for finding in &mut masked.findings {
        let Finding::Value { changes, .. } = finding else { continue };
        for change in changes {
            for value in change.shadow.iter_mut().chain(&mut change.primary) {
                if whole || is_secret_name(last_step(&change.key)) && !is_switch(&value.0) {
                    *value = Blob(MASK.into());
                } else if let Some(hidden) = mask_text(&value.0) {
                    *value = Blob(hidden);
                }
            }
        }
    }
    masked
}

/// The last name of a key, picks and quotes left out: of `a."b c"[0]` it is `b c`.
fn last_step(key: &str) -> &str {
    let key = key.split('[').next().unwrap_or(key);
    let key = key.trim_end_matches('"');
    key.rsplit(['.', '"']).next().unwrap_or(key)
}

fn is_switch(value: &[u8]) -> bool {
    let value = String::from_utf8_lossy(value);
    let plain = value.trim_matches(|c: char| c.is_whitespace() || "\"';,".contains(c));
    SWITCHES.contains(&plain.to_ascii_lowercase().as_str())
}

/// The text with as many lines, and its secrets hidden; `None` if it holds none.
pub(crate) fn mask_text(text: &[u8]) -> Option<Vec<u8>> {
    let mut hidden = Vec::new();
    let (mut found, mut in_key) = (false, false);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let shown = String::from_utf8_lossy(line);
        let end = if line.ends_with(b"\n") { "\n" } else { "" };
        let marks = shown.trim_start();
        if marks.starts_with("-----END ") {
            in_key = false;
        }
        if in_key {
            hidden.extend_from_slice(format!("{MASK}{end}").as_bytes());
            found = true;
        } else if let Some(kept) = secret_at(&shown) {
            hidden.extend_from_slice(format!("{}{MASK}{end}", &shown[..kept]).as_bytes());
            found = true;
        } else {
            hidden.extend_from_slice(line);
        }
        if marks.starts_with("-----BEGIN ") && marks.contains("PRIVATE KEY") {
            in_key = true;
        }
    }
    found.then_some(hidden)
}

/// Where in a line a secret begins. All behind it is hidden with it.
fn secret_at(line: &str) -> Option<usize> {
    let is_name = |c: char| c.is_alphanumeric() || "_-.".contains(c);
    let mut at = 0;
    let mut first = true;
    while let Some(begin) = line[at..].find(is_name).map(|offset| at + offset) {
        let end = line[begin..].find(|c| !is_name(c)).map_or(line.len(), |offset| begin + offset);
        let name = &line[begin..end];
        if let Some(begin) = hash_or_key(line, begin, name) {
            return Some(begin);
        }
        if is_secret_name(name.trim_matches('-')) {
            let rest = &line[end..];
            let value = rest.trim_start_matches(|c: char| "\"' \t".contains(c));
            let given = value.strip_prefix([':', '=', '>']).or_else(|| {
                // `requirepass x`, `--password x`: without a sign only the line's first word or
                // an option has a value.
                let option = first || name.starts_with("--");
                (option && value.len() < rest.len()).then_some(value)
            });
            if let Some(given) = given
                && !is_switch(given.trim_start_matches(['=', '>']).as_bytes())
            {
                let blank = given.len() - given.trim_start().len();
                return Some(line.len() - given.len() + blank);
            }
        }
        first = first && ["export", "set", "env", "Environment"].contains(&name);
        at = end;
    }
    url_password(line)
}

/// `$6$salt$hash`, or the text of an age key.
fn hash_or_key(line: &str, begin: usize, name: &str) -> Option<usize> {
    if name.starts_with("AGE-SECRET-KEY-") {
        return Some(begin);
    }
    let before = line[..begin].ends_with('$');
    let ids = ["1", "2a", "2b", "2y", "5", "6", "7", "y", "gy", "apr1", "argon2id", "argon2i"];
    let hashed = before && ids.contains(&name) && line[begin + name.len()..].starts_with('$');
    (hashed && line.len() - begin > 16).then(|| begin - 1)
}

/// The password in `scheme://user:password@host`.
fn url_password(line: &str) -> Option<usize> {
    let (before, rest) = line.split_once("://")?;
    let authority = rest.split(['/', ' ', '"', '\'']).next().unwrap_or(rest);
    let user = authority.rsplit_once('@')?.0;
    let (name, password) = user.split_once(':')?;
    (!password.is_empty()).then(|| before.len() + "://".len() + name.len() + 1)
}

/// The words of a command line with their secrets hidden.
pub(crate) fn mask_argv(words: &[String]) -> Vec<String> {
    let mut hide_next = false;
    let mut masked = Vec::with_capacity(words.len());
    for word in words {
        if std::mem::take(&mut hide_next) {
            masked.push(MASK.to_owned());
            continue;
        }
        match secret_at(word) {
            Some(at) => masked.push(format!("{}{MASK}", &word[..at])),
            None => masked.push(word.clone()),
        }
        let option = word.starts_with('-') && !word.contains('=');
        hide_next = option && is_secret_name(word.trim_start_matches('-'));
    }
    masked
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_secret_by_their_last_word() {
        for name in [
            "password",
            "smtp_password",
            "DB_PASSWORD",
            "dbPassword",
            "requirepass",
            "api-key",
            "PrivateKey",
            "aws_secret_access_key",
            "auth.token",
            "wpa_psk",
            "client_secret",
            "rootpw_passwd",
            "user.pass",
            "GITHUB_TOKEN",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in [
            "PasswordAuthentication",
            "password_file",
            "ssl_certificate_key",
            "PWD",
            "compass",
            "token_ttl",
            "PubkeyAuthentication",
            "key",
            "host",
            "",
            "nameserver",
            "bypass",
            "PermitRootLogin",
            "tokens_per_second",
        ] {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[track_caller]
    fn check(line: &str, expected: &str) {
        let hidden = mask_text(line.as_bytes());
        let hidden = hidden.as_deref().unwrap_or(line.as_bytes());
        assert_eq!(String::from_utf8_lossy(hidden), expected);
    }

    #[test]
    fn secrets_in_lines_are_hidden_and_nothing_else() {
        check("password = hunter2\n", "password = (hidden)\n");
        check("export API_KEY=\"x y\"", "export API_KEY=(hidden)");
        check("{\"user\": \"a\", \"password\": \"b\"}", "{\"user\": \"a\", \"password\": (hidden)");
        check("requirepass foobared", "requirepass (hidden)");
        check("  token: abc", "  token: (hidden)");
        check("<password>x</password>", "<password>(hidden)");
        check("root:$6$salt$0123456789abcdef:19000::", "root:(hidden)");
        check("url = postgres://app:s3cret@db/x", "url = postgres://app:(hidden)");
        check("PasswordAuthentication no", "PasswordAuthentication no");
        check("UsePAM yes # password prompt", "UsePAM yes # password prompt");
        check("password: false", "password: false");
        check("nameserver 1.1.1.1\n", "nameserver 1.1.1.1\n");
        check("http://host:80/path@x", "http://host:80/path@x");
        check("psk=\"a\" #x\nb\n", "psk=(hidden)\nb\n");
    }

    #[test]
    fn private_keys_are_hidden_to_their_end() {
        let pem =
            "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\ndef\n-----END OPENSSH PRIVATE KEY-----\nx\n";
        let hidden = "-----BEGIN OPENSSH PRIVATE KEY-----\n(hidden)\n(hidden)\n-----END OPENSSH PRIVATE KEY-----\nx\n";
        check(pem, hidden);
    }

    #[test]
    fn command_lines_are_hidden_in_part() {
        let mask = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            mask_argv(&words).join(" ")
        };
        assert_eq!(mask("x --password y z"), "x --password (hidden) z");
        assert_eq!(mask("x --token=y z"), "x --token=(hidden) z");
        assert_eq!(mask("curl https://a:b@c/d"), "curl https://a:(hidden)");
        assert_eq!(mask("vi /etc/hosts"), "vi /etc/hosts");
    }

    #[test]
    fn paths_that_hold_nothing_else() {
        for path in ["/etc/shadow", "/etc/ssh/ssh_host_rsa_key", "/root/.pgpass", "/x/a.key"] {
            assert!(is_secret_path(path.as_bytes()), "{path}");
        }
        for path in ["/etc/passwd", "/etc/ssh/ssh_host_rsa_key.pub", "/root/.ssh/id_rsa.pub"] {
            assert!(!is_secret_path(path.as_bytes()), "{path}");
        }
    }

    proptest! {
        /// Line by line what was shown can be held against what is hidden.
        #[test]
        fn any_text_keeps_its_number_of_lines(
            text in "([a-z:=$@/\"' \n<>é-]|password|token|://|-----BEGIN PRIVATE KEY){0,40}",
        ) {
            if let Some(hidden) = mask_text(text.as_bytes()) {
                let lines = |text: &[u8]| text.split(|byte| *byte == b'\n').count();
                prop_assert_eq!(lines(&hidden), lines(text.as_bytes()));
            }
        }
    }
}
