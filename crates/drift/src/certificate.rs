//! X.509 certificates in a file: when they end, and whose they are. PEM or DER, any number.
//!
//! Read by `x509-parser`, which the workspace reads certificates with elsewhere, too: it is safe
//! code and, asked to verify nothing, brings no cryptography, so that the agent stays small.
//! Nothing here says that a certificate is genuine.

use sha2::{Digest, Sha256};
use umbra_state::escape::escape;
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, X509Certificate};

/// A file has so many at most: a trust store has some hundred.
pub const CERTIFICATES_MAX: usize = 1_000;
/// A file has so many bytes at most.
pub const BYTES_MAX: u64 = 1 << 20;
/// A subject is shown as far as this.
const SUBJECT_CHARS_MAX: usize = 1_000;

const BEGIN: &[u8] = b"-----BEGIN ";

/// What a file of certificates says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificates {
    /// When the first of them ends, in seconds since 1970 UTC: a chain holds no longer.
    pub ends_unix_s: i64,
    /// The topmost one: whoever serves a chain begins it with his own.
    pub own: Certificate,
}

/// One certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Whose it is, printable and in one line.
    pub subject: String,
    /// The SHA-256 digest of its bytes, as `openssl x509 -fingerprint` writes it.
    pub fingerprint: String,
    /// Whether it is there to sign others.
    pub is_authority: bool,
    ends_unix_s: i64,
}

/// Reads the certificates of a file, or says why not, as a sentence after "because". One that
/// cannot be read spoils the file: it could be the one that ends first.
pub fn read(bytes: &[u8]) -> Result<Certificates, String> {
    let all = if bytes.windows(BEGIN.len()).any(|window| window == BEGIN) {
        pem(bytes)?
    } else {
        vec![der(bytes).ok_or("it is no certificate")?]
    };
    let ends_unix_s = all.iter().map(|one| one.ends_unix_s).min();
    match (all.into_iter().next(), ends_unix_s) {
        (Some(own), Some(ends_unix_s)) => Ok(Certificates { ends_unix_s, own }),
        _ => Err("there is no certificate in it".to_owned()),
    }
}

fn pem(bytes: &[u8]) -> Result<Vec<Certificate>, String> {
    let mut all = Vec::new();
    for (index, block) in Pem::iter_from_buffer(bytes).enumerate() {
        if index >= CERTIFICATES_MAX {
            return Err(format!("there are more than {CERTIFICATES_MAX} parts in it"));
        }
        let block = block.map_err(|_| format!("its part {} is damaged", index + 1))?;
        // Keys and parameters may stand beside.
        if matches!(block.label.as_str(), "CERTIFICATE" | "X509 CERTIFICATE") {
            let damaged = || format!("the certificate in its part {} is damaged", index + 1);
            all.push(der(&block.contents).ok_or_else(damaged)?);
        }
    }
    Ok(all)
}

fn der(bytes: &[u8]) -> Option<Certificate> {
    let (rest, certificate) = X509Certificate::from_der(bytes).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let subject = escape(certificate.subject().to_string().as_bytes()).to_string();
    let digest = Sha256::digest(bytes);
    let pairs: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
    Some(Certificate {
        subject: subject.chars().take(SUBJECT_CHARS_MAX).collect(),
        fingerprint: pairs.join(":"),
        is_authority: certificate.is_ca(),
        ends_unix_s: certificate.validity().not_after.timestamp(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A certificate that ends with the beginning of `year`.
    fn made(name: &str, year: i32, is_authority: bool) -> rcgen::Certificate {
        let mut params = rcgen::CertificateParams::new([]).expect("params");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        if is_authority {
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        }
        let key = rcgen::KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("a certificate")
    }

    /// 2030-01-01 and 2027-01-01.
    const ENDS_UNIX_S: (i64, i64) = (1_893_456_000, 1_798_761_600);

    #[test]
    fn a_chain_ends_with_the_first_of_it_and_is_the_topmost_ones() {
        let (own, authority) = (made("shop.example", 2030, false), made("ca", 2027, true));
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let text = format!("a comment\n{key}{}{}", own.pem(), authority.pem());
        let found = read(text.as_bytes()).expect("read");
        assert_eq!(found.ends_unix_s, ENDS_UNIX_S.1);
        assert_eq!(
            (found.own.subject.as_str(), found.own.is_authority),
            ("CN=shop.example", false)
        );
        assert_eq!(found.own.fingerprint.len(), 32 * 3 - 1);
        let alone = read(own.der()).expect("read");
        assert_eq!((alone.ends_unix_s, &alone.own), (ENDS_UNIX_S.0, &found.own));
        assert!(read(authority.der()).expect("read").own.is_authority);
    }

    #[test]
    fn what_is_none_says_so() {
        #[track_caller]
        fn check(bytes: &[u8], why: &str) {
            assert_eq!(read(bytes), Err(why.to_owned()));
        }
        let good = made("a", 2030, false);
        check(b"", "it is no certificate");
        check(b"\x00\xff", "it is no certificate");
        check(&[good.der(), &b"x"[..]].concat(), "it is no certificate");
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        check(key.as_bytes(), "there is no certificate in it");
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let text = format!("{}{broken}", good.pem());
        check(text.as_bytes(), "the certificate in its part 2 is damaged");
        let cut = text.trim_end_matches("-----END CERTIFICATE-----\n");
        check(cut.as_bytes(), "its part 2 is damaged");
        let many = key.repeat(CERTIFICATES_MAX + 1);
        check(many.as_bytes(), "there are more than 1000 parts in it");
    }

    #[test]
    fn a_subject_is_one_printable_line() {
        let found = read(made("a\n\u{1b}[2J\u{202e}", 2030, false).der()).expect("read");
        assert!(!found.own.subject.contains(char::is_control), "{}", found.own.subject);
        let long = read(made(&"x".repeat(5_000), 2030, false).der()).expect("read");
        assert_eq!(long.own.subject.chars().count(), SUBJECT_CHARS_MAX);
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes);
            let text = [b"-----BEGIN CERTIFICATE-----\n", &bytes[..]].concat();
            let _ = read(&text);
        }

        /// One byte of a good certificate is another.
        #[test]
        fn no_certificate_is_too_damaged(at: prop::sample::Index, byte: u8) {
            let mut bytes = SAMPLE.with(Clone::clone);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(found) = read(&bytes) {
                prop_assert!(!found.own.subject.contains(char::is_control));
            }
        }
    }

    thread_local! {
        static SAMPLE: Vec<u8> = made("shop.example", 2030, false).der().to_vec();
    }
}
