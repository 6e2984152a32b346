//! A tap at work on an interface.

use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Tap;
use super::counts::Counts;
use super::flows::Settings;
use super::mirred::{Mirred, MirredError};
use super::ring::{Counted, Ring, RingError, Wanted};
use crate::capture::Exchange;

/// Memory for packets that wait, unless somebody wants more.
pub const RING_BYTES: usize = 32 << 20;

/// From where packets are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Through {
    /// The interface itself.
    Direct,
    /// A capture interface to which the kernel copies them.
    Copies {
        /// Its name; one is chosen if left out.
        device: Option<String>,
    },
}

/// What is to be captured.
#[derive(Debug, Clone)]
pub struct Options {
    /// What passes this interface.
    pub interface: String,
    /// How.
    pub through: Through,
    /// Memory for packets that wait.
    pub ring_bytes: usize,
    /// What is made of it.
    pub settings: Settings,
}

/// Why there is no tap, or no more.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    /// Packets cannot be read.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// Packets cannot be copied.
    #[error(transparent)]
    Mirred(#[from] MirredError),
    /// The interface has gone.
    #[error("read the packets of {interface}")]
    Read {
        /// Which.
        interface: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
}

/// What came before the end is there after so long.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// Between two looks for it.
const DRAIN_WAIT: Duration = Duration::from_millis(20);

/// See the module. Dropped, it leaves nothing behind.
#[derive(Debug)]
pub struct Live {
    // Before the rules, so that it is there when they begin and gone before its interface.
    ring: Ring,
    copies: Option<Mirred>,
    tap: Tap,
    mirror_drops: u64,
    interface: String,
}

impl Live {
    /// Begins.
    ///
    /// # Errors
    /// Where the kernel does not let it.
    pub fn open(options: Options) -> Result<Self, TapError> {
        let Options { interface, through, ring_bytes, settings } = options;
        let mut copies = match &through {
            Through::Direct => None,
            Through::Copies { device } => Some(Mirred::make(&interface, device.as_deref())?),
        };
        let from = copies.as_ref().map_or(interface.as_str(), Mirred::device);
        let direct = copies.is_none();
        let ring = Ring::open(&Wanted {
            interface: from,
            ports: &settings.ports,
            bytes: ring_bytes,
            promiscuous: direct,
            only_incoming: direct && from == "lo",
        })?;
        if let Some(copies) = &mut copies {
            copies.start(&settings.ports)?;
        }
        let tap = Tap::new(ring.link(), settings);
        Ok(Self { ring, copies, tap, mirror_drops: 0, interface })
    }

    /// The interface whose packets it reads.
    pub fn device(&self) -> &str {
        self.copies.as_ref().map_or(&self.interface, Mirred::device)
    }

    /// Takes what has come; waits if there is nothing.
    ///
    /// # Errors
    /// Where the interface has gone.
    pub fn step(&mut self, wait: Duration, sink: &mut dyn FnMut(Exchange)) -> Result<(), TapError> {
        let tap = &mut self.tap;
        let mut any = false;
        let read = self.ring.read(wait, &mut |frame| {
            any = true;
            tap.take(frame, sink);
        });
        if !any {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            tap.forget_idle(u64::try_from(now.as_micros()).unwrap_or(u64::MAX), sink);
        }
        // From where copies come shows only where it is asked for.
        let there = if any { Ok(()) } else { self.ring.sees(&self.interface) };
        read.and(there).map_err(|source| self.unreadable(source))
    }

    /// What was counted so far.
    pub fn counts(&mut self) -> Counts {
        let mut counts = self.tap.counts();
        // Where the kernel cannot be asked, what it said last stays.
        let failed = self.copies.as_ref().and_then(|copies| copies.failed().ok());
        self.mirror_drops = failed.unwrap_or(self.mirror_drops);
        counts.not_taken.mirror_drops = self.mirror_drops;
        counts.not_taken.kernel_drops = self.ring.counted().drops;
        counts
    }

    /// Ends: what has come is still taken, what is under way is given up.
    ///
    /// # Errors
    /// Where rules cannot be removed; the exchanges were given nevertheless.
    pub fn finish(mut self, sink: &mut dyn FnMut(Exchange)) -> Result<Counts, TapError> {
        // The kernel forgets with the rules what it could not copy.
        self.counts();
        let stopped = self.copies.as_mut().map_or(Ok(()), Mirred::stop);
        let closed = self.ring.close().map_err(|source| self.unreadable(source));
        self.drain(sink);
        self.tap.finish(sink);
        self.copies = None;
        stopped?;
        closed?;
        Ok(self.counts())
    }

    /// Takes what the kernel says that it has given.
    fn drain(&mut self, sink: &mut dyn FnMut(Exchange)) {
        let until = Instant::now() + DRAIN_MAX;
        loop {
            let Counted { packets, drops } = self.ring.counted();
            let taken = self.tap.counts().packets;
            let gone = self.step(DRAIN_WAIT, sink).is_err();
            if taken >= packets.saturating_sub(drops) || gone || Instant::now() > until {
                return;
            }
        }
    }

    fn unreadable(&self, source: io::Error) -> TapError {
        TapError::Read { interface: self.interface.clone(), source }
    }
}
