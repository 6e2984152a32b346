//! The kernel's packets, in memory that is shared with it (`AF_PACKET`, `TPACKET_V3`).
//!
//! Where the ring is full the kernel drops packets and counts them; nothing waits for a reader.
//! Everything goes with the socket: the memory, the filter, the interface's promiscuous mode.

mod memory;
mod socket;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use self::memory::Memory;
pub use self::socket::attach;
use self::socket::{attached, bind, packet_socket, promiscuous, request, set, statistics};
use super::filter;
use super::packet::{Frame, Link};

/// What a block holds at most; no packet is longer.
const BLOCK_BYTES: usize = 1 << 20;

/// A block that is not full is given after so long.
const BLOCK_TIME_MS: u32 = 20;

/// What is to be read.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// The interface.
    pub interface: &'a str,
    /// TCP of these ports; everything if there are none.
    pub ports: &'a [u16],
    /// Memory for packets that wait.
    pub bytes: usize,
    /// What passes although it is for somebody else.
    pub promiscuous: bool,
    /// Not what leaves. On `lo`, what leaves comes as well.
    pub only_incoming: bool,
}

/// Why packets cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// There is none.
    #[error("find the interface {interface:?}")]
    NoInterface {
        /// Its name.
        interface: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// Its packets begin with something else than Ethernet or IP.
    #[error("read the packets of {interface}: it is neither Ethernet nor IP (its type is {kind})")]
    Kind {
        /// Its name.
        interface: String,
        /// Its type, of `linux/if_arp.h`.
        kind: u16,
    },
    /// The kernel refuses.
    #[error("{doing}")]
    Kernel {
        /// What.
        doing: &'static str,
        /// Its answer.
        #[source]
        source: io::Error,
    },
}

trait Doing<T> {
    fn doing(self, doing: &'static str) -> Result<T, RingError>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, doing: &'static str) -> Result<T, RingError> {
        self.map_err(|error| RingError::Kernel { doing, source: error.into() })
    }
}

/// Packets that the kernel counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// They came, and were given or dropped.
    pub packets: u64,
    /// There was no room for them.
    pub drops: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Ring {
    socket: OwnedFd,
    memory: Memory,
    /// The block that comes next.
    next: usize,
    link: Link,
    counted: Counted,
}

impl Ring {
    /// Begins to read.
    ///
    /// # Errors
    /// Where there is no such interface, or the kernel gives none of it (`CAP_NET_RAW`).
    pub fn open(wanted: &Wanted<'_>) -> Result<Self, RingError> {
        let socket = packet_socket().doing("open a packet socket (this needs CAP_NET_RAW)")?;
        let (index, link) = attached(&socket, wanted.interface)?;
        let version = libc::tpacket_versions::TPACKET_V3 as libc::c_int;
        set(&socket, libc::PACKET_VERSION, &version).doing("choose the ring's version")?;
        attach(&socket, &filter::of_ports(link, wanted.ports)).doing("set the packet filter")?;
        let blocks = (wanted.bytes / BLOCK_BYTES).max(2);
        set(&socket, libc::PACKET_RX_RING, &request(blocks)).doing("make the ring")?;
        let memory = Memory::of(&socket, blocks).doing("map the ring")?;
        if wanted.only_incoming {
            set(&socket, libc::PACKET_IGNORE_OUTGOING, &1_i32).doing("leave out what leaves")?;
        }
        if wanted.promiscuous {
            promiscuous(&socket, index).doing("make the interface promiscuous")?;
        }
        // Nothing comes before this.
        bind(&socket, index, libc::ETH_P_ALL as u16).doing("begin to read packets")?;
        Ok(Self { socket, memory, next: 0, link, counted: Counted::default() })
    }

    /// How its packets begin.
    pub fn link(&self) -> Link {
        self.link
    }

    /// Gives what has come, once around at most. Waits if there is nothing.
    ///
    /// # Errors
    /// Where the interface is gone or down.
    pub fn read(&mut self, wait: Duration, each: &mut dyn FnMut(Frame<'_>)) -> io::Result<()> {
        if self.memory.status(self.next).load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
            self.wait(wait)?;
        }
        for _ in 0..self.memory.blocks {
            let status = self.memory.status(self.next);
            if status.load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
                return Ok(());
            }
            self.memory.packets(self.next, each);
            // The kernel may fill it again from here on.
            status.store(libc::TP_STATUS_KERNEL, Ordering::Release);
            self.next = (self.next + 1) % self.memory.blocks;
        }
        Ok(())
    }

    fn wait(&self, wait: Duration) -> io::Result<()> {
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN | PollFlags::ERR)];
        let time = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() };
        match poll(&mut fds, Some(&time)) {
            Err(rustix::io::Errno::INTR) => return Ok(()),
            waited => waited?,
        };
        if fds[0].revents().contains(PollFlags::ERR) {
            rustix::net::sockopt::socket_error(&self.socket)??;
        }
        Ok(())
    }

    /// Whether there is an interface of this name.
    ///
    /// # Errors
    /// Where there is none.
    pub fn sees(&self, interface: &str) -> io::Result<()> {
        Ok(rustix::net::netdevice::name_to_index(&self.socket, interface).map(drop)?)
    }

    /// Lets nothing more in; what is there can be read to its end.
    pub fn close(&self) -> io::Result<()> {
        attach(&self.socket, &filter::nothing())
    }

    /// What the kernel has counted since it was opened.
    pub fn counted(&mut self) -> Counted {
        // There is no way in which it could fail; it would leave what was known.
        if let Ok(more) = statistics(&self.socket) {
            self.counted.packets += u64::from(more.tp_packets);
            self.counted.drops += u64::from(more.tp_drops);
        }
        self.counted
    }
}
