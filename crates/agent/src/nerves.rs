//! What the kernel tells by other ways than files: the network, the clock.
//!
//! On a thread of its own that sleeps until something happens. The network has no files that tell
//! of changes; its parameters are read again at once when it changed, and still polled, since a
//! change can be undone before it is read.

use std::os::fd::AsFd;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use umbra_drift::watch::system::clock::Clock;
use umbra_drift::watch::system::netlink::Network;

/// How soon the thread notices that nobody listens.
const LOOK_UP: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };
/// A change of the network is many messages.
const SETTLE: Duration = Duration::from_millis(50);

/// What the kernel told.
#[derive(Debug)]
pub(crate) enum Felt {
    /// Links, addresses, routes or the packet filter.
    Network,
    /// The clock was set: times before and after cannot be compared.
    Clock,
    /// Nothing more will come, as a sentence after "because".
    Numb(String),
    /// Nothing; it is asked whether anybody listens.
    Nothing,
}

/// Begins to feel; what is felt goes to `to` by way of `wrap`, until nobody receives it.
///
/// # Errors
/// The system makes no thread.
pub(crate) fn feel<M: Send + 'static>(
    to: SyncSender<M>,
    wrap: fn(Felt) -> M,
) -> std::io::Result<()> {
    let nerves = std::thread::Builder::new().name("nerves".into());
    nerves.spawn(move || {
        let end = listen(|felt| to.send(wrap(felt)).is_ok());
        if let Err(error) = end {
            let why = std::io::Error::from(error).to_string();
            // Nobody may be left to hear it.
            let _ = to.send(wrap(Felt::Numb(why)));
        }
    })?;
    Ok(())
}

fn listen(mut tell: impl FnMut(Felt) -> bool) -> Result<(), Errno> {
    let mut network = Network::open()?;
    let mut clock = Clock::open()?;
    loop {
        let ready = {
            let mut fds: Vec<PollFd<'_>> = network
                .queues()
                .map(|queue| PollFd::from_borrowed_fd(queue, PollFlags::IN))
                .collect();
            fds.push(PollFd::from_borrowed_fd(clock.as_fd(), PollFlags::IN));
            match poll(&mut fds, Some(&LOOK_UP)) {
                Err(Errno::INTR) => continue,
                ready => ready?,
            }
        };
        let heard = match ready {
            0 => tell(Felt::Nothing),
            _ => {
                let changed = !network.read()?.is_empty();
                if changed {
                    std::thread::sleep(SETTLE);
                    network.read()?;
                }
                let set = clock.read()?.is_some();
                (!changed || tell(Felt::Network)) && (!set || tell(Felt::Clock))
            }
        };
        if !heard {
            return Ok(());
        }
    }
}
