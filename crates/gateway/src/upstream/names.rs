//! What a target's name was last found to be.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::Target;

/// How often a name is looked up again.
const LOOK_UP_EVERY: Duration = Duration::from_secs(30);

/// The addresses of one target. Its name is looked up now and then beside the requests: only the
/// first ones wait for that, and what it was last is kept while nobody answers.
#[derive(Debug)]
pub(super) struct Names {
    port: u16,
    /// `None` until it was looked up for the first time.
    found: watch::Receiver<Option<Arc<[IpAddr]>>>,
}

impl Names {
    /// Begins to look up a target's name, until this is dropped. Within a runtime.
    pub(super) fn of(target: &Target) -> Self {
        let port = target.port();
        let fixed = target.host().parse::<IpAddr>().ok();
        let (tell, found) = watch::channel(fixed.map(|address| Arc::from([address])));
        if fixed.is_none() {
            tokio::spawn(keep_looking(target.host().to_owned(), port, tell));
        }
        Self { port, found }
    }

    /// Where it was last found; nothing if it was not.
    pub(super) async fn addresses(&self) -> impl ExactSizeIterator<Item = SocketAddr> + use<> {
        let mut found = self.found.clone();
        // Of an address nobody tells any more.
        let found = found.wait_for(Option::is_some).await.ok().and_then(|found| found.clone());
        let (found, port) = (found.unwrap_or_default(), self.port);
        (0..found.len()).map(move |place| SocketAddr::new(found[place], port))
    }
}

async fn keep_looking(host: String, port: u16, tell: watch::Sender<Option<Arc<[IpAddr]>>>) {
    let mut wait = Duration::from_millis(200);
    while !tell.is_closed() {
        // One lookup at a time, however long it takes.
        let addresses = tokio::net::lookup_host((host.as_str(), port)).await;
        let addresses: Arc<[IpAddr]> =
            addresses.map(|all| all.map(|one| one.ip()).collect()).unwrap_or_default();
        if addresses.is_empty() {
            tracing::warn!(host, "a target's name is not found; what it was last is kept");
            wait = (wait * 2).min(LOOK_UP_EVERY);
            tell.send_if_modified(|found| found.get_or_insert_default().is_empty());
        } else {
            wait = LOOK_UP_EVERY;
            tell.send_replace(Some(addresses));
        }
        tokio::time::sleep(wait).await;
    }
}
