//! What a target's name was last found to be.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use super::Target;

/// How often a name is looked up again.
const LOOK_UP_EVERY: Duration = Duration::from_secs(30);

/// The addresses of one target. Its name is looked up now and then beside the requests: none
/// waits for that, and what it was last is kept while nobody answers.
#[derive(Debug)]
pub(super) struct Names {
    port: u16,
    found: Arc<RwLock<Arc<[IpAddr]>>>,
}

impl Names {
    /// Begins to look up a target's name, until this is dropped. Within a runtime.
    pub(super) fn of(target: &Target) -> Self {
        let port = target.port();
        let fixed = target.host().parse::<IpAddr>().ok();
        let found = Arc::new(RwLock::new(fixed.into_iter().collect()));
        if fixed.is_none() {
            tokio::spawn(keep_looking(target.host().to_owned(), port, Arc::downgrade(&found)));
        }
        Self { port, found }
    }

    /// Where it was last found; nothing if it was not.
    pub(super) fn addresses(&self) -> impl ExactSizeIterator<Item = SocketAddr> + use<> {
        let found = Arc::clone(&self.found.read().unwrap_or_else(PoisonError::into_inner));
        let port = self.port;
        (0..found.len()).map(move |place| SocketAddr::new(found[place], port))
    }
}

async fn keep_looking(host: String, port: u16, found: Weak<RwLock<Arc<[IpAddr]>>>) {
    let mut wait = Duration::from_millis(200);
    while found.strong_count() > 0 {
        // One lookup at a time, however long it takes.
        let addresses = tokio::net::lookup_host((host.as_str(), port)).await;
        let addresses: Arc<[IpAddr]> =
            addresses.map(|all| all.map(|one| one.ip()).collect()).unwrap_or_default();
        let Some(found) = found.upgrade() else { return };
        if addresses.is_empty() {
            tracing::warn!(host, "a target's name is not found; what it was last is kept");
            wait = (wait * 2).min(LOOK_UP_EVERY);
        } else {
            *found.write().unwrap_or_else(PoisonError::into_inner) = addresses;
            wait = LOOK_UP_EVERY;
        }
        drop(found);
        tokio::time::sleep(wait).await;
    }
}
