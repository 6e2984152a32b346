//! TLS towards a shadow: its own roots, or any certificate at all.

use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::{Tls, anyone};
use crate::target::{ProbeError, Target, root};

const CA_FILE_DEFAULT: &str = "etc/ssl/certs/ca-certificates.crt";
const CA_BYTES_MAX: u64 = 4 << 20;

/// What to speak TLS with, reading roots from inside the shadow.
pub(crate) fn connector(tls: &Tls, target: &dyn Target) -> Result<TlsConnector, ProbeError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| malformed("the TLS settings", error.to_string()))?;
    let config = match tls {
        Tls::Insecure => builder
            .dangerous()
            .with_custom_certificate_verifier(anyone::verifier(provider))
            .with_no_client_auth(),
        Tls::Verify { ca_file } => {
            let path = ca_file.as_deref().unwrap_or(CA_FILE_DEFAULT);
            builder.with_root_certificates(roots(path, target)?).with_no_client_auth()
        }
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

fn roots(path: &str, target: &dyn Target) -> Result<RootCertStore, ProbeError> {
    let what = || format!("the certificates in {}", umbra_state::escape::escape(path.as_bytes()));
    let bytes = root::read_file(target.root(), path.as_bytes(), CA_BYTES_MAX)?
        .ok_or_else(|| malformed(&what(), "there is no such file".to_owned()))?;
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let certificate = certificate.map_err(|error| malformed(&what(), error.to_string()))?;
        // A root this library cannot use is no reason to distrust the others.
        store.add_parsable_certificates([certificate]);
    }
    match store.is_empty() {
        true => Err(malformed(&what(), "there is no usable one".to_owned())),
        false => Ok(store),
    }
}

fn malformed(what: &str, detail: String) -> ProbeError {
    ProbeError::Malformed { what: what.to_owned(), detail }
}
