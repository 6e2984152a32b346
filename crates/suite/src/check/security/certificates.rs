//! Certificates among the changed files that have ended, or soon will.

use umbra_state::escape::escape;
use x509_parser::pem::Pem;

use super::finding::{Raw, Severity};
use super::secrets::{Read, content};
use super::{Changed, Scan, SecurityCheck};
use crate::runner::Context;
use crate::target::{ProbeError, Target};

/// Where certificates a machine uses are; packages bring others as data and examples.
const FOLDERS: [&[u8]; 5] = [b"etc/", b"srv/", b"opt/", b"var/", b"usr/local/"];
const ENDINGS: [&[u8]; 3] = [b".pem", b".crt", b".cer"];

const PER_FILE_MAX: usize = 500;
const DAY_S: i64 = 86_400;

pub(super) fn scan(
    check: &SecurityCheck,
    changed: &[Changed],
    target: &dyn Target,
    context: &Context<'_>,
    scan: &mut Scan,
) {
    let mut count = 0;
    for change in changed.iter().filter(|change| change.content && may_hold_one(&change.path)) {
        let text = match content(change, target, check.file_bytes_max) {
            Ok(Read::Text(text)) => text,
            Ok(Read::Binary | Read::TooLarge | Read::NoFile) => continue,
            Err(error) => {
                scan.blind(&error);
                continue;
            }
        };
        let found = ends(&text);
        if found.is_empty() {
            continue;
        }
        let Some(now) = context.now_unix_s else {
            return scan.blind(&ProbeError::Missing { what: "the present time" });
        };
        count += found.len();
        let old = change.before.as_ref().is_some_and(|before| *before == change.after);
        let raws = found.iter().filter_map(|one| judge(one, &change.path, check, now));
        scan.raws.extend(raws.map(|raw| Raw { was_there: old, ..raw }));
        let broken = found.iter().filter(|one| one.is_err()).count();
        if broken > 0 {
            scan.errors.push(format!("read {broken} certificates in {}", change.shown()));
        }
    }
    scan.note("certificates", format!("{count} looked at"));
}

fn may_hold_one(path: &[u8]) -> bool {
    FOLDERS.iter().any(|folder| path.starts_with(folder))
        && ENDINGS.iter().any(|ending| path.ends_with(ending))
}

/// What matters of a certificate.
struct Ends {
    subject: String,
    not_after_unix_s: i64,
    is_ca: bool,
}

/// The certificates in a PEM file; `Err` for one that cannot be read.
fn ends(text: &[u8]) -> Vec<Result<Ends, ()>> {
    let one = |pem: Result<Pem, _>| {
        let pem = match pem {
            Ok(pem) if pem.label == "CERTIFICATE" => pem,
            Ok(_) => return None,
            Err(_) => return Some(Err(())),
        };
        let read = pem.parse_x509().map(|certificate| Ends {
            subject: certificate.subject().to_string(),
            not_after_unix_s: certificate.validity().not_after.timestamp(),
            is_ca: certificate.is_ca(),
        });
        Some(read.map_err(drop))
    };
    if !crate::pattern::contains(text, b"-----BEGIN CERTIFICATE-----") {
        return Vec::new();
    }
    Pem::iter_from_buffer(text).take(PER_FILE_MAX).filter_map(one).collect()
}

fn judge(one: &Result<Ends, ()>, path: &[u8], check: &SecurityCheck, now: i64) -> Option<Raw> {
    let Ok(one) = one else { return None };
    let left_s = one.not_after_unix_s - now;
    if left_s >= i64::from(check.certificate_days_min) * DAY_S {
        return None;
    }
    let subject: String = escape(one.subject.as_bytes()).to_string().chars().take(200).collect();
    let days = left_s.div_euclid(DAY_S);
    let (rule, severity, message) = match left_s < 0 {
        true => (
            "certificate-expired",
            Severity::High,
            format!("the certificate of {subject} ended {} days ago", -days),
        ),
        false => (
            "certificate-expiring",
            Severity::Medium,
            format!("the certificate of {subject} ends in {days} days"),
        ),
    };
    Some(Raw {
        rule: rule.into(),
        // A trust store keeps old roots on purpose.
        severity: if one.is_ca { Severity::Low } else { severity },
        path: Some(path.to_vec()),
        line: None,
        message,
        advice: "renew it, and let the machine renew it from now on".into(),
        key: format!("{subject} {}", one.not_after_unix_s).into_bytes(),
        was_there: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn certificate(year: i32, is_ca: bool) -> String {
        let mut params =
            rcgen::CertificateParams::new(["shop.example".to_owned()]).expect("params");
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        if is_ca {
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        }
        let key = rcgen::KeyPair::generate().expect("key");
        params.self_signed(&key).expect("certificate").pem()
    }

    #[track_caller]
    fn check(year: i32, is_ca: bool, now: i64, expected: Option<(&str, Severity)>) {
        let text = certificate(year, is_ca);
        let found = ends(text.as_bytes());
        assert_eq!(found.len(), 1);
        let raw = judge(&found[0], b"etc/x.pem", &SecurityCheck::default(), now);
        let raw = raw.as_ref().map(|raw| (raw.rule.as_ref(), raw.severity));
        assert_eq!(raw, expected);
    }

    #[test]
    fn ends_are_judged() {
        // 2023-12-22, ten days before 2024.
        let now = 1_703_203_200;
        check(2025, false, now, None);
        check(2024, false, now, Some(("certificate-expiring", Severity::Medium)));
        check(2023, false, now, Some(("certificate-expired", Severity::High)));
        check(2023, true, now, Some(("certificate-expired", Severity::Low)));
    }

    #[test]
    fn only_where_a_machine_looks() {
        assert!(may_hold_one(b"etc/nginx/tls/site.crt"));
        assert!(!may_hold_one(b"usr/share/doc/x/test.pem"));
        assert!(!may_hold_one(b"etc/nginx/nginx.conf"));
        assert!(ends(b"no certificate").is_empty());
        let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(ends(broken).as_slice(), [Err(())]));
    }

    proptest! {
        #[test]
        fn never_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut text = b"-----BEGIN CERTIFICATE-----\n".to_vec();
            text.extend_from_slice(&body);
            text.extend_from_slice(b"\n-----END CERTIFICATE-----\n");
            prop_assert!(ends(&text).len() <= PER_FILE_MAX);
        }
    }
}
