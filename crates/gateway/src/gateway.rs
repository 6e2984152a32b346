//! Listening, serving, going down.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::headers::Client;
use crate::opening::Opening;
use crate::proxy::Proxy;

/// What clients may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once; more wait to be accepted.
    pub connections_max: usize,
    /// How long a client may take for a request's head, and to say which HTTP it speaks.
    pub head_time: Duration,
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
            head_time: Duration::from_secs(30),
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
    listener: TcpListener,
    proxy: Arc<Proxy>,
    limits: Limits,
    ending: impl Future<Output = ()>,
) {
    let builder = builder(&limits);
    let graceful = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(limits.connections_max));
    let mut ending = pin!(ending);
    loop {
        let accepted = async {
            // Nobody closes it.
            let slot = Arc::clone(&slots).acquire_owned().await.ok();
            (listener.accept().await, slot)
        };
        let (accepted, slot) = tokio::select! {
            accepted = accepted => accepted,
            () = &mut ending => break,
        };
        let (stream, client) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a client cannot be accepted");
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        // Whoever is gone already is found out about below.
        let _ = stream.set_nodelay(true);
        let proxy = Arc::clone(&proxy);
        let service = {
            let (proxy, told) = (Arc::clone(&proxy), Client::new(client));
            service_fn(move |request| {
                let (proxy, told) = (Arc::clone(&proxy), told.clone());
                async move { Ok::<_, Infallible>(proxy.answer(request, &told).await) }
            })
        };
        let stream = TokioIo::new(Opening::new(stream, limits.head_time));
        let connection = builder.serve_connection_with_upgrades(stream, service);
        let connection = graceful.watch(connection.into_owned());
        tokio::spawn(async move {
            let _open = proxy.metrics().connection();
            let _slot = slot;
            if let Err(error) = connection.await {
                tracing::debug!(%client, %error, "a connection ended");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(limits.drain_time, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still under way");
    }
}

fn builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time)
        .max_buf_size(limits.head_bytes_max.max(8 << 10));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_max)
        .max_header_list_size(u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX))
        .keep_alive_interval(Some(Duration::from_secs(30)));
    builder
}
