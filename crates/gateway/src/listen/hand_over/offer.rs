//! The gateway's part: it gives its sockets away, and goes once its successor serves.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::watch;
use tokio::time::timeout;
use umbra_api::socket::Socket;

use super::{SERVING, SUCCESSOR_TIME, Will, YOURS, rights};

/// What can be handed over.
#[derive(Debug)]
pub(crate) struct Estate {
    /// Nobody is to be kept waiting at it once its gateway has left it.
    listener: Weak<TcpListener>,
    socket: Socket,
    /// Somebody is about to take it.
    claimed: AtomicBool,
    gone: watch::Sender<bool>,
}

impl Estate {
    pub(crate) fn new(listener: Weak<TcpListener>, socket: Socket) -> Arc<Self> {
        let (claimed, gone) = (AtomicBool::new(false), watch::Sender::new(false));
        Arc::new(Self { listener, socket, claimed, gone })
    }

    /// Whether somebody is about to take it: what is changed now would be lost.
    pub(crate) fn is_claimed(&self) -> bool {
        self.claimed.load(Ordering::Acquire)
    }

    /// For one successor at a time.
    pub(crate) fn claim(self: &Arc<Self>) -> Option<Claimed> {
        let was = self.claimed.swap(true, Ordering::AcqRel);
        (!was).then(|| Claimed(Arc::clone(self)))
    }

    /// Until somebody else has it.
    pub(crate) async fn gone(&self) {
        // It is there as long as this is.
        let _ = self.gone.subscribe().wait_for(|gone| *gone).await;
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }
}

/// Undone when it is dropped, unless it is gone.
#[derive(Debug)]
pub(crate) struct Claimed(Arc<Estate>);

impl Drop for Claimed {
    fn drop(&mut self) {
        if !*self.0.gone.borrow() {
            self.0.claimed.store(false, Ordering::Release);
        }
    }
}

/// Speaks with the successor at the other end of this connection; whether it serves.
pub(crate) async fn offer(claimed: Claimed, upgrade: OnUpgrade, will: Will) -> bool {
    match give(&claimed.0, upgrade, &will).await {
        Ok(()) => {
            tracing::info!("a successor serves");
            claimed.0.socket.leave_file();
            claimed.0.gone.send_replace(true);
            true
        }
        Err(error) => {
            tracing::warn!(%error, "no successor came to serve; this gateway goes on");
            false
        }
    }
}

async fn give(estate: &Estate, upgrade: OnUpgrade, will: &Will) -> io::Result<()> {
    let mut stream = stream(upgrade).await?;
    let left = || io::Error::other("this gateway is going down");
    let listener = estate.listener.upgrade().ok_or_else(left)?;
    let mut text = serde_json::to_vec(will).map_err(io::Error::other)?;
    text.push(b'\n');
    let sent = loop {
        stream.writable().await?;
        let both = [listener.as_fd(), estate.socket.as_fd()];
        match stream.try_io(Interest::WRITABLE, || rights::send(&stream, &text, both)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            sent => break sent?,
        }
    };
    drop(listener);
    stream.write_all(&text[sent..]).await?;
    let mut said = [0; SERVING.len()];
    let read = timeout(SUCCESSOR_TIME, stream.read_exact(&mut said));
    read.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    if said != SERVING.as_bytes() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    stream.write_all(YOURS.as_bytes()).await
}

async fn stream(upgrade: OnUpgrade) -> io::Result<UnixStream> {
    let upgraded = upgrade.await.map_err(io::Error::other)?;
    let parts = upgraded.downcast::<TokioIo<UnixStream>>();
    parts.map(|parts| parts.io.into_inner()).map_err(|_| io::ErrorKind::InvalidData.into())
}
