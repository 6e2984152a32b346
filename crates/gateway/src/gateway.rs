//! Listening, serving, going down.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::listen::front::Front;
use crate::listen::visit::visit;

/// What clients may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once; more wait to be accepted.
    pub connections_max: usize,
    /// Connections of one client at once; more are closed.
    pub connections_per_client_max: Option<u32>,
    /// How long a client may take for a request's head, and for all that comes before the first.
    pub head_time: Duration,
    /// How long a client may ask nothing.
    pub idle_time: Duration,
    /// How long the longest pause is in a request's body, and in a client's taking what it is
    /// sent.
    pub body_time: Duration,
    /// Bytes of a request's body.
    pub body_bytes_max: Option<u64>,
    /// Bytes of a request's head.
    pub head_bytes_max: usize,
    /// Requests at once on one HTTP/2 connection.
    pub streams_max: u32,
    /// How long what is under way may take once the gateway goes down.
    pub drain_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 20_000,
            connections_per_client_max: None,
            head_time: Duration::from_secs(30),
            idle_time: Duration::from_secs(90),
            body_time: Duration::from_secs(60),
            body_bytes_max: None,
            head_bytes_max: 64 << 10,
            streams_max: 250,
            drain_time: Duration::from_secs(30),
        }
    }
}

/// How soon it is tried again to accept where there are no descriptors or no memory.
pub(crate) const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// Serves clients until `ending`, and then what is under way.
pub async fn serve(
    listener: Arc<TcpListener>,
    front: Arc<Front>,
    ending: impl Future<Output = ()>,
) {
    let mut ending = pin!(ending);
    loop {
        let accepted = async {
            let place = front.places.free().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            accepted = accepted => accepted,
            () = &mut ending => break,
        };
        match accepted {
            Ok((socket, peer)) => {
                tokio::spawn(visit(Arc::clone(&front), socket, peer, place));
            }
            Err(error) => {
                tracing::warn!(%error, "a client cannot be accepted");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
    drop(listener);
    front.leave();
    if tokio::time::timeout(front.limits.drain_time, front.places.all_left()).await.is_err() {
        tracing::warn!("requests were still under way");
    }
}
