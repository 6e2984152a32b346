//! Which certificate a client gets.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use tokio_rustls::rustls::SignatureScheme;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

use super::pair::Pair;

/// Certificates by name.
#[derive(Debug)]
pub(super) struct Pairs {
    all: Vec<Pair>,
    /// Places in `all`, in order.
    by_name: HashMap<String, Vec<usize>>,
}

impl Pairs {
    /// The first of them is for names nobody has.
    pub(super) fn new(all: Vec<Pair>) -> Self {
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        for (place, pair) in all.iter().enumerate() {
            for name in &pair.status.names {
                by_name.entry(name.clone()).or_default().push(place);
            }
        }
        Self { all, by_name }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Pair> {
        self.all.iter()
    }

    /// The one for this name, of a kind the client can read if there is one: an exact name goes
    /// before a whole domain's, and that is for one word in front of it (RFC 9525, 6.3).
    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<&Pair> {
        let named = name.and_then(|name| {
            let name = name.to_ascii_lowercase();
            let name = name.strip_suffix('.').unwrap_or(&name);
            let domain = || name.split_once('.').map(|(_, domain)| format!("*.{domain}"));
            self.by_name.get(name).or_else(|| self.by_name.get(&domain()?))
        });
        let Some(places) = named else { return self.all.first() };
        let mut pairs = places.iter().filter_map(|place| self.all.get(*place));
        let fits = |pair: &&Pair| pair.key.key.choose_scheme(schemes).is_some();
        pairs.clone().find(fits).or_else(|| pairs.next())
    }
}

/// The certificates of new connections.
#[derive(Debug)]
pub(super) struct InForce(RwLock<Arc<Pairs>>);

impl InForce {
    pub(super) fn new(pairs: Pairs) -> Self {
        Self(RwLock::new(Arc::new(pairs)))
    }

    pub(super) fn get(&self) -> Arc<Pairs> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn put(&self, pairs: Pairs) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pairs);
    }
}

impl ResolvesServerCert for InForce {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let pairs = self.get();
        let pair = pairs.choose(hello.server_name(), hello.signature_schemes())?;
        Some(Arc::clone(&pair.key))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::pair::tests::{key, pem};
    use super::*;

    #[test]
    fn a_client_gets_the_certificate_of_the_name_it_asks_for() {
        let pair = |file: &str, names: &[&str], of: &'static rcgen::SignatureAlgorithm| {
            let key = key(of);
            let cert = pem(names, &key);
            Pair::read(Path::new(file), cert.as_bytes(), key.serialize_pem().as_bytes()).unwrap()
        };
        let (ec, ed) = (&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ED25519);
        let pairs = Pairs::new(vec![
            pair("first", &["first.test"], ec),
            pair("ed", &["App.test", "*.app.test"], ed),
            pair("ec", &["app.test"], ec),
            pair("deep", &["a.app.test"], ec),
        ]);
        #[track_caller]
        fn check(pairs: &Pairs, name: Option<&str>, scheme: SignatureScheme, file: &str) {
            let chosen = pairs.choose(name, &[scheme]).unwrap();
            assert_eq!(chosen.status.file, Path::new(file), "{name:?}");
        }
        let (p256, ed) = (SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ED25519);
        check(&pairs, Some("app.test"), ed, "ed");
        check(&pairs, Some("APP.test."), p256, "ec");
        check(&pairs, Some("app.test"), SignatureScheme::RSA_PKCS1_SHA256, "ed");
        check(&pairs, Some("a.app.test"), p256, "deep");
        check(&pairs, Some("b.app.test"), ed, "ed");
        check(&pairs, Some("c.b.app.test"), ed, "first");
        check(&pairs, Some("test"), ed, "first");
        check(&pairs, None, p256, "first");
    }
}
