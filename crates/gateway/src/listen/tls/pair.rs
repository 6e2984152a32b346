//! A certificate, its chain and its key, read strictly.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use umbra_state::escape::line;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::time::ASN1Time;

use super::CertificateStatus;

/// A chain is no longer.
const CHAIN_MAX: usize = 20;
/// A certificate names no more hosts.
const NAMES_MAX: usize = 1_000;
/// A host's name is no longer.
const NAME_CHARS_MAX: usize = 253;

/// A certificate in use.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) status: CertificateStatus,
    pub(super) key: Arc<CertifiedKey>,
}

/// Why a certificate and a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// The certificate's file.
    #[error("read certificates: {why}")]
    Certificate {
        /// What is wrong with it.
        why: String,
    },
    /// The key's file.
    #[error("read a private key: {why}")]
    Key {
        /// What is wrong with it.
        why: String,
    },
    /// Each for itself is good.
    #[error("use the certificate with the key: the key is another certificate's")]
    Apart,
}

impl Pair {
    /// A chain that begins with the server's own certificate, and its key, both PEM.
    pub(super) fn read(file: &Path, certificates: &[u8], key: &[u8]) -> Result<Self, PairError> {
        let chain = chain(certificates).map_err(|why| PairError::Certificate { why })?;
        let status = describe(file, &chain).map_err(|why| PairError::Certificate { why })?;
        let key = private_key(key).map_err(|why| PairError::Key { why })?;
        let provider = aws_lc_rs::default_provider();
        let key = CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch) => {
                PairError::Apart
            }
            other => PairError::Key { why: said(&other) },
        })?;
        Ok(Self { status, key: Arc::new(key) })
    }
}

fn chain(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut chain = Vec::new();
    for one in CertificateDer::pem_slice_iter(text) {
        if chain.len() == CHAIN_MAX {
            return Err(format!("there are more than {CHAIN_MAX}"));
        }
        chain.push(one.map_err(|error| said(&error))?);
    }
    if chain.is_empty() {
        return Err("there is no BEGIN CERTIFICATE in it".to_owned());
    }
    Ok(chain)
}

fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    let mut keys = PrivateKeyDer::pem_slice_iter(text);
    let key = match keys.next() {
        Some(key) => key.map_err(|error: pem::Error| said(&error))?,
        None if text.windows(9).any(|part| part == b"ENCRYPTED") => {
            return Err("it is encrypted; nobody is there to be asked for a password".to_owned());
        }
        None => return Err("there is no BEGIN PRIVATE KEY in it".to_owned()),
    };
    match keys.next() {
        None => Ok(key),
        Some(_) => Err("there is more than one".to_owned()),
    }
}

/// What the first of a chain is for. The rest of it must be certificates, too.
fn describe(file: &Path, chain: &[CertificateDer<'_>]) -> Result<CertificateStatus, String> {
    let mut described = None;
    for (place, one) in chain.iter().enumerate() {
        let number = place + 1;
        let (rest, read) = X509Certificate::from_der(one)
            .map_err(|_| format!("number {number} is not one that can be read"))?;
        if !rest.is_empty() {
            return Err(format!("number {number} has something behind its end"));
        }
        if described.is_none() {
            described = Some(status(file, &read)?);
        }
    }
    described.ok_or_else(|| "there is none".to_owned())
}

fn status(file: &Path, read: &X509Certificate<'_>) -> Result<CertificateStatus, String> {
    Ok(CertificateStatus {
        file: file.to_owned(),
        names: names(read)?,
        begins: time(read.validity().not_before)?,
        ends: time(read.validity().not_after)?,
    })
}

fn time(time: ASN1Time) -> Result<jiff::Timestamp, String> {
    jiff::Timestamp::from_second(time.timestamp()).map_err(|_| "its dates make no sense".to_owned())
}

/// Names of hosts, in lower case; what else a certificate is for nobody asks for in TLS.
fn names(read: &X509Certificate<'_>) -> Result<Vec<String>, String> {
    let said =
        read.subject_alternative_name().map_err(|_| "its names cannot be read".to_owned())?;
    let mut names = Vec::new();
    for name in said.iter().flat_map(|said| &said.value.general_names) {
        let GeneralName::DNSName(name) = name else { continue };
        if !is_name(name) {
            return Err(format!("{:?} is no host's name", line(name.as_bytes(), 100)));
        }
        if names.len() == NAMES_MAX {
            return Err(format!("it has more than {NAMES_MAX} names"));
        }
        names.push(name.to_ascii_lowercase());
    }
    Ok(names)
}

fn is_name(name: &str) -> bool {
    let name = name.strip_prefix("*.").unwrap_or(name);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !name.is_empty() && name.len() <= NAME_CHARS_MAX && name.bytes().all(plain)
}

fn said(error: &dyn std::error::Error) -> String {
    line(umbra_state::chain(error).as_bytes(), 200)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn key(of: &'static rcgen::SignatureAlgorithm) -> rcgen::KeyPair {
        rcgen::KeyPair::generate_for(of).unwrap()
    }

    pub(crate) fn pem(names: &[&str], key: &rcgen::KeyPair) -> String {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        rcgen::CertificateParams::new(names).unwrap().self_signed(key).unwrap().pem()
    }

    #[track_caller]
    fn check(certificates: &str, key: &str, says: &str) {
        let file = Path::new("a.crt");
        let read = Pair::read(file, certificates.as_bytes(), key.as_bytes());
        match read {
            Ok(pair) => assert_eq!(pair.status.names.join(" "), says),
            Err(error) => assert_eq!(error.to_string(), says),
        }
    }

    #[test]
    fn certificates_and_keys_are_read_strictly() {
        let one = key(&rcgen::PKCS_ECDSA_P256_SHA256);
        let (cert, own) = (pem(&["A.test", "*.b.test", "192.0.2.1"], &one), one.serialize_pem());
        check(&cert, &own, "a.test *.b.test");
        check(&format!("{cert}{cert}"), &own, "a.test *.b.test");
        check(&format!("{own}{cert}"), &format!("{own}{cert}"), "a.test *.b.test");
        let other = key(&rcgen::PKCS_ECDSA_P256_SHA256).serialize_pem();
        check(&cert, &other, "use the certificate with the key: the key is another certificate's");
        check("", &own, "read certificates: there is no BEGIN CERTIFICATE in it");
        check(&own, &own, "read certificates: there is no BEGIN CERTIFICATE in it");
        check(&cert, &cert, "read a private key: there is no BEGIN PRIVATE KEY in it");
        check(&cert, &format!("{own}{own}"), "read a private key: there is more than one");
        let hidden = own.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        check(
            &cert,
            &hidden,
            "read a private key: it is encrypted; nobody is there to be asked for a password",
        );
        let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        check(garbage, &own, "read certificates: number 1 is not one that can be read");
        check(
            &format!("{cert}{garbage}"),
            &own,
            "read certificates: number 2 is not one that can be read",
        );
        for broken in [&cert[..cert.len() - 40], &cert.replace("MII", "M!I")] {
            let read = Pair::read(Path::new("a"), broken.as_bytes(), own.as_bytes());
            assert!(matches!(read, Err(PairError::Certificate { .. })), "{read:?}");
        }
        let read = Pair::read(Path::new("a"), cert.repeat(21).as_bytes(), own.as_bytes());
        assert!(matches!(read, Err(PairError::Certificate { .. })), "{read:?}");
    }
}
