//! Accounts anybody can use: without a password, or root under another name.

use super::finding::{Raw, Severity};
use super::{Changed, Scan};
use crate::check::goss::parse_passwd;
use crate::target::{ProbeError, Target, root};

const FILE_BYTES_MAX: u64 = 4 << 20;

pub(super) fn scan(changed: &[Changed], target: &dyn Target, scan: &mut Scan) {
    let touched = |path: &[u8]| changed.iter().any(|change| change.path == path);
    if !touched(b"etc/passwd") && !touched(b"etc/shadow") {
        return scan.note("accounts", "not changed".to_owned());
    }
    let read = |path: &[u8]| -> Result<Vec<u8>, ProbeError> {
        Ok(root::read_file(target.root(), path, FILE_BYTES_MAX)?.unwrap_or_default())
    };
    match (read(b"etc/passwd"), read(b"etc/shadow")) {
        (Ok(passwd), Ok(shadow)) => {
            let users = parse_passwd(&passwd).len();
            scan.raws.extend(find(&passwd, &shadow));
            scan.note("accounts", format!("{users} looked at"));
        }
        (Err(error), _) | (_, Err(error)) => scan.blind(&error),
    }
}

fn find(passwd: &[u8], shadow: &[u8]) -> Vec<Raw> {
    let mut raws = Vec::new();
    for user in parse_passwd(passwd) {
        let name = umbra_state::escape::escape(user.name.as_bytes()).to_string();
        if user.uid == 0 && user.name != "root" {
            let message = format!("the account {name} is root under another name (uid 0)");
            raws.push(raw("second-root", Severity::Critical, "etc/passwd", &user.name, message));
        }
        if user.password.is_empty() {
            let message = format!("the account {name} has no password");
            raws.push(raw("empty-password", Severity::Critical, "etc/passwd", &user.name, message));
        }
    }
    for line in shadow.split(|&byte| byte == b'\n') {
        let mut fields = line.split(|&byte| byte == b':');
        if let (Some(name), Some(b"")) = (fields.next(), fields.next())
            && !name.is_empty()
        {
            let name = String::from_utf8_lossy(name).into_owned();
            let shown = umbra_state::escape::escape(name.as_bytes());
            let message = format!("the account {shown} has no password");
            raws.push(raw("empty-password", Severity::Critical, "etc/shadow", &name, message));
        }
    }
    raws
}

fn raw(rule: &'static str, severity: Severity, path: &str, name: &str, message: String) -> Raw {
    Raw {
        rule: rule.into(),
        severity,
        path: Some(path.as_bytes().to_vec()),
        line: None,
        message,
        advice: match rule {
            "second-root" => "give the account a uid of its own",
            _ => "lock the account (passwd -l) or give it a password",
        }
        .into(),
        key: name.as_bytes().to_vec(),
        was_there: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn open_doors_are_found() {
        let passwd = b"root:x:0:0:root:/root:/bin/bash\ntoor:x:0:0::/root:/bin/sh\nguest::1000:1000::/:/bin/sh\nwww:x:33:33::/var/www:/usr/sbin/nologin\n";
        let shadow = b"root:*:19000:0:99999:7:::\ntoor:!:19000::::::\nwww::19000::::::\n";
        let found: Vec<_> = find(passwd, shadow)
            .into_iter()
            .map(|raw| format!("{} {}", raw.rule, raw.message))
            .collect();
        assert_eq!(
            found,
            [
                "second-root the account toor is root under another name (uid 0)",
                "empty-password the account guest has no password",
                "empty-password the account www has no password",
            ]
        );
    }

    proptest! {
        #[test]
        fn never_panics(passwd in "(root|:|x|0|\n|é){0,50}", shadow in "(a|:|\n|!){0,50}") {
            prop_assert!(find(passwd.as_bytes(), shadow.as_bytes()).len() <= 2 * passwd.len() + shadow.len());
        }
    }
}
