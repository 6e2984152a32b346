//! The line to a guest: our end of its tunnel.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::de::DeserializeOwned;
use umbra_guest::order::{Answer, Order};
use umbra_guest::tunnel::host::{self, Ask, Past};
use umbra_guest::wire;

use crate::error::ShadowError;

/// A line, and the thread that carries what is said on it. Dropping it hangs up.
pub(crate) struct Line {
    shadow: String,
    asks: Option<OwnedFd>,
    carrier: Option<JoinHandle<()>>,
}

impl Line {
    /// Over the other end of a guest's port; with what that was before it was forked.
    pub(crate) fn open(shadow: &str, port: OwnedFd, past: Past) -> io::Result<Self> {
        let (asks, asked) = wire::pair()?;
        let name = shadow.to_owned();
        let carrier =
            std::thread::Builder::new().name("umbra-line".to_owned()).spawn(move || {
                if let Err(error) = host::serve(port, asked, past) {
                    tracing::warn!(shadow = name, %error, "the line to a guest broke");
                }
            })?;
        Ok(Self { shadow: shadow.to_owned(), asks: Some(asks), carrier: Some(carrier) })
    }

    /// Has the guest carry out an order. With a socket for `runs`, that is where commands in the
    /// view that follows are asked for. What takes longer than `patience` is an error.
    pub(crate) fn order(
        &self,
        order: Order,
        runs: Option<OwnedFd>,
        patience: Duration,
    ) -> Result<(), ShadowError> {
        let deadline = Instant::now() + patience;
        match self.ask::<Answer>(&Ask::Order(order), runs.as_ref().map(AsFd::as_fd), deadline) {
            Ok(Some(answer)) => answer.map_err(ShadowError::from),
            Ok(None) => Err(ShadowError::Launcher("a guest did not answer".to_owned())),
            Err(_) => Err(ShadowError::Gone(self.shadow.clone())),
        }
    }

    /// Connects from inside the guest.
    pub(crate) fn connect(&self, to: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        let (ours, theirs) = loopback_pair()?;
        let theirs = OwnedFd::from(theirs);
        let deadline = Instant::now() + timeout;
        let asked =
            self.ask::<Result<(), i32>>(&Ask::Connect(to), Some(theirs.as_fd()), deadline)?;
        match asked {
            Some(Ok(())) => Ok(ours),
            Some(Err(errno)) => Err(io::Error::from_raw_os_error(errno)),
            None => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// `None` where there was no answer in time.
    fn ask<T: DeserializeOwned>(
        &self,
        ask: &Ask,
        second: Option<BorrowedFd<'_>>,
        deadline: Instant,
    ) -> io::Result<Option<T>> {
        let gone = || io::Error::from(io::ErrorKind::NotConnected);
        let (ours, theirs) = wire::pair()?;
        let fds: Vec<_> = std::iter::once(theirs.as_fd()).chain(second).collect();
        wire::send(self.asks.as_ref().ok_or_else(gone)?, ask, &fds)?;
        drop(theirs);
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(|_| gone())?;
        let mut fds = [PollFd::new(&ours, PollFlags::IN)];
        if rustix::io::retry_on_intr(|| poll(&mut fds, Some(&left)))? == 0 {
            return Ok(None);
        }
        wire::receive(&ours)?.map(|(answer, _)| Some(answer)).ok_or_else(gone)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.asks = None;
        if let Some(carrier) = self.carrier.take() {
            // A panic in it has been reported by its thread.
            let _ = carrier.join();
        }
    }
}

/// Two ends of a connection of our own: callers want one that is TCP.
fn loopback_pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let ours = TcpStream::connect(listener.local_addr()?)?;
    let own = ours.local_addr()?;
    loop {
        let (theirs, from) = listener.accept()?;
        // Anybody on this machine might have been faster.
        if from == own && from.ip() == IpAddr::from(Ipv4Addr::LOCALHOST) {
            return Ok((ours, theirs));
        }
    }
}
