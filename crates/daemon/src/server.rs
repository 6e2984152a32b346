//! The unix socket and its connections.
//!
//! A connection may be slow, silent or hostile: its header is bounded in size and time, its
//! body too ([`crate::http`]), their number is bounded, and only the daemon's own user and
//! root are served.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use umbra_api::error::{ErrorCode, WireError};
use umbra_api::socket::{BindError, Socket};

const CONNECTIONS_MAX: usize = 256;
const HEADER_BYTES_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 64;
const HEADER_WAIT: Duration = Duration::from_secs(10);
const GOODBYE_WAIT: Duration = Duration::from_secs(5);

/// The daemon's socket; dropping it removes its file.
#[derive(Debug)]
pub struct Listener(Socket);

impl Listener {
    /// Listens at `path`; see [`Socket::bind`].
    pub fn bind(path: &Path) -> Result<Self, WireError> {
        let refused = |why: &str| {
            let message = format!("listen at {}: {why}", path.display());
            WireError::new(ErrorCode::Conflict, message)
                .with_hint("choose another place with --socket or UMBRA_SOCKET")
        };
        Socket::bind(path).map(Self).map_err(|error| match error {
            BindError::NoSocket => refused("there is a file that is no socket"),
            BindError::Taken => refused("another daemon listens there"),
            BindError::System(error) => {
                let message = format!("listen at {}", path.display());
                WireError::new(ErrorCode::Environment, message).caused_by(error)
            }
        })
    }

    /// Serves until `closing` turns true.
    pub async fn serve(self, router: Router, mut closing: watch::Receiver<bool>) -> Connections {
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut tasks = JoinSet::new();
        let (goodbye, _) = watch::channel(false);
        loop {
            let accepted = tokio::select! {
                accepted = self.0.accept() => accepted,
                Some(_) = tasks.join_next(), if !tasks.is_empty() => continue,
                () = said(&mut closing) => break,
            };
            let stream = match accepted {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    // Out of files, most likely: give others time to close theirs.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            if !self.0.may_speak(&stream) {
                tracing::warn!("a connection of another user was refused");
                continue;
            }
            let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
                tracing::warn!("a connection was refused: {CONNECTIONS_MAX} are open");
                continue;
            };
            let (router, goodbye) = (router.clone(), goodbye.subscribe());
            tasks.spawn(async move {
                converse(stream, router, goodbye).await;
                drop(place);
            });
        }
        Connections { tasks, goodbye, _listener: self }
    }
}

/// Connections that are still open after the last was accepted.
pub struct Connections {
    tasks: JoinSet<()>,
    goodbye: watch::Sender<bool>,
    _listener: Listener,
}

impl Connections {
    /// Lets running requests end, for a while, and closes everything.
    pub async fn close(mut self) {
        self.goodbye.send_replace(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(GOODBYE_WAIT, all).await.is_err() {
            tracing::warn!("requests were cut off");
        }
        self.tasks.shutdown().await;
    }
}

async fn converse(stream: UnixStream, router: Router, mut goodbye: watch::Receiver<bool>) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_WAIT)
        .max_buf_size(HEADER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = said(&mut goodbye) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke");
    }
}

/// Waits for a flag to turn true; its sender's end counts as that.
async fn said(flag: &mut watch::Receiver<bool>) {
    drop(flag.wait_for(|said| *said).await);
}
