//! TLS for clients: which certificate a client gets by the name it asks for, and how files that
//! change come into force.
//!
//! A connection keeps the certificate it began with; the next one gets what is in force then.

mod chosen;
mod files;
mod pair;
mod watch;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::server::ServerSessionMemoryCache;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{self, ServerConfig};

use self::chosen::{InForce, Pairs};
use self::files::Stamps;
pub use self::files::{FilesError, Sources};
pub use self::pair::PairError;
pub use self::watch::keep_looking;

/// HTTP/2, as ALPN calls it.
pub(crate) const H2: &[u8] = b"h2";
const HTTP_11: &[u8] = b"http/1.1";

/// Sessions that clients of TLS 1.2 without tickets may go on with.
const SESSIONS_MAX: usize = 4096;

/// What clients are served with.
#[derive(Debug)]
pub struct Tls {
    sources: Sources,
    in_force: Arc<InForce>,
    acceptor: Acceptor,
    last: Mutex<Last>,
}

/// The library's own shows nothing.
struct Acceptor(TlsAcceptor);

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Acceptor")
    }
}

/// How the last reading went.
#[derive(Debug)]
struct Last {
    stamps: Stamps,
    at: jiff::Timestamp,
    refused: Option<String>,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Nothing to serve with.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The library refuses its own settings.
    #[error("set TLS up")]
    Library(#[source] rustls::Error),
}

/// What clients are served with, to be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsStatus {
    /// In order; a client whose name no certificate has gets the first.
    pub certificates: Vec<CertificateStatus>,
    /// When files were last read.
    pub read_at: jiff::Timestamp,
    /// Why what was read then is not in force, and what was before still is.
    pub refused: Option<String>,
}

/// One certificate, to be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateStatus {
    /// Its file.
    pub file: PathBuf,
    /// Names of hosts it is for, `*.` in front of those of a whole domain.
    pub names: Vec<String>,
    /// From when on it holds.
    pub begins: jiff::Timestamp,
    /// And until when.
    pub ends: jiff::Timestamp,
}

impl Tls {
    /// Reads all files.
    ///
    /// # Errors
    /// One is missing, is not what it should be, or does not fit the other.
    pub fn load(sources: Sources) -> Result<Self, TlsError> {
        let (stamps, pairs) = sources.read()?;
        let in_force = Arc::new(InForce::new(Pairs::new(pairs)));
        let acceptor = Acceptor(acceptor(Arc::clone(&in_force)).map_err(TlsError::Library)?);
        let last = Mutex::new(Last { stamps, at: jiff::Timestamp::now(), refused: None });
        let tls = Self { sources, in_force, acceptor, last };
        tls.warn_of_dates();
        Ok(tls)
    }

    pub(crate) fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor.0
    }

    /// Reads all files again. What cannot be used leaves what is in force as it is.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn reload(&self) -> Result<(), FilesError> {
        let read = self.sources.read();
        let mut last = self.last();
        last.at = jiff::Timestamp::now();
        match read {
            Ok((stamps, pairs)) => {
                self.in_force.put(Pairs::new(pairs));
                last.stamps = stamps;
                last.refused = None;
                drop(last);
                tracing::info!("certificates were read again");
                self.warn_of_dates();
                Ok(())
            }
            Err(error) => {
                let why = umbra_state::chain(&error);
                tracing::error!(why, "what is in the files is no certificate; the old ones stay");
                last.refused = Some(why);
                Err(error)
            }
        }
    }

    /// How it stands.
    pub fn status(&self) -> TlsStatus {
        let last = self.last();
        let pairs = self.in_force.get();
        let certificates = pairs.all().map(|pair| pair.status.clone()).collect();
        TlsStatus { certificates, read_at: last.at, refused: last.refused.clone() }
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn warn_of_dates(&self) {
        let now = jiff::Timestamp::now();
        for pair in self.in_force.get().all() {
            let CertificateStatus { file, begins, ends, .. } = &pair.status;
            if !(*begins..=*ends).contains(&now) {
                let file = file.display().to_string();
                tracing::warn!(file, %begins, %ends, "a certificate does not hold now");
            }
        }
    }
}

fn acceptor(in_force: Arc<InForce>) -> Result<TlsAcceptor, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(in_force);
    config.alpn_protocols = vec![H2.to_vec(), HTTP_11.to_vec()];
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
