//! Whom a target has to be, where it is spoken to over TLS.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use umbra_suite::check::http::anyone;

/// Whose certificates are believed, and for which name. Production, its shadows and their health
/// are asked with the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Trust {
    /// Certificates of authorities as PEM; this machine's own if there are none.
    pub authorities: Option<Vec<u8>>,
    /// Any certificate at all is believed.
    pub insecure: bool,
    /// The name a certificate is for and that is asked for (SNI); the target's host if left out.
    pub name: Option<String>,
}

/// Why no TLS can be spoken.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Not certificates.
    #[error("read certificates of authorities")]
    Authorities(#[source] rustls::pki_types::pem::Error),
    /// Nothing is there that could be believed.
    #[error("find a usable certificate among those of authorities")]
    Nobody,
    /// No certificate can be for it.
    #[error("read {name:?} as a server's name")]
    Name {
        /// As it was written.
        name: String,
    },
    /// The library refuses.
    #[error("set TLS up")]
    Tls(#[from] rustls::Error),
}

impl Trust {
    /// The name a target at `host` has to prove.
    pub(super) fn server_name(&self, host: &str) -> Result<ServerName<'static>, TrustError> {
        let name = self.name.as_deref().unwrap_or(host);
        ServerName::try_from(name.to_owned())
            .map_err(|_| TrustError::Name { name: name.chars().take(80).collect() })
    }

    /// What to speak TLS with. The target chooses between HTTP/2 and HTTP/1.1.
    pub(super) fn config(&self) -> Result<ClientConfig, TrustError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let builder = match (&self.authorities, self.insecure) {
            (_, true) => {
                builder.dangerous().with_custom_certificate_verifier(anyone::verifier(provider))
            }
            (Some(pem), false) => builder.with_root_certificates(roots(pem)?),
            (None, false) => builder.with_platform_verifier()?,
        };
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn roots(pem: &[u8]) -> Result<RootCertStore, TrustError> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(TrustError::Authorities)?;
        // One this library cannot use is no reason to distrust the others.
        store.add_parsable_certificates([certificate]);
    }
    if store.is_empty() { Err(TrustError::Nobody) } else { Ok(store) }
}
