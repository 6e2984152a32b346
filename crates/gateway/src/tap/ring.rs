//! The kernel's packets, in memory that is shared with it (`AF_PACKET`, `TPACKET_V3`).
//!
//! Where the ring is full the kernel drops packets and counts them; nothing waits for a reader.
//! Everything goes with the socket: the memory, the filter, the interface's promiscuous mode.

use std::ffi::c_void;
use std::io;
use std::mem::{offset_of, size_of};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::filter::{self, Instruction};
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

/// The ring's memory, unmapped when dropped.
#[derive(Debug)]
struct Memory {
    start: *mut u8,
    blocks: usize,
}

impl Memory {
    fn of(socket: &OwnedFd, blocks: usize) -> io::Result<Self> {
        use rustix::mm::{MapFlags, ProtFlags, mmap};
        let (null, bytes) = (std::ptr::null_mut(), blocks * BLOCK_BYTES);
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses the place, so nothing of ours is covered; the ring has
        // exactly these bytes.
        let start = unsafe { mmap(null, bytes, access, MapFlags::SHARED, socket, 0) }?;
        Ok(Self { start: start.cast(), blocks })
    }

    fn block(&self, block: usize) -> *mut u8 {
        assert!(block < self.blocks);
        // SAFETY: the block lies within the mapping.
        unsafe { self.start.add(block * BLOCK_BYTES) }
    }

    /// Whose the block is.
    fn status(&self, block: usize) -> &AtomicU32 {
        let at = offset_of!(libc::tpacket_block_desc, hdr)
            + offset_of!(libc::tpacket_hdr_v1, block_status);
        // SAFETY: the word lies within the block, is aligned as blocks are to pages, lives as
        // long as the mapping, and both sides only access it atomically.
        unsafe { AtomicU32::from_ptr(self.block(block).add(at).cast()) }
    }

    /// Gives the packets of a block that is ours.
    fn packets(&self, block: usize, each: &mut dyn FnMut(Frame<'_>)) {
        // SAFETY: the block lies within the mapping, and while its status says that it is ours
        // the kernel does not write to it.
        let bytes: &[u8] = unsafe { std::slice::from_raw_parts(self.block(block), BLOCK_BYTES) };
        let head = offset_of!(libc::tpacket_block_desc, hdr);
        let word = |at| word(bytes, at);
        let (Some(count), Some(first)) = (
            word(head + offset_of!(libc::tpacket_hdr_v1, num_pkts)),
            word(head + offset_of!(libc::tpacket_hdr_v1, offset_to_first_pkt)),
        ) else {
            return;
        };
        let mut at = first as usize;
        for _ in 0..count {
            let Some((frame, next)) = bytes.get(at..).and_then(packet) else { return };
            each(frame);
            at += next;
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nothing borrowed from it outlives this value.
        let _ = unsafe { rustix::mm::munmap(self.start.cast(), self.blocks * BLOCK_BYTES) };
    }
}

/// The packet at the beginning, and how far it is to the next.
fn packet(bytes: &[u8]) -> Option<(Frame<'_>, usize)> {
    use libc::{tpacket_hdr_variant1 as Variant, tpacket3_hdr as Header};
    let at = |offset| word(bytes, offset);
    let status = at(offset_of!(Header, tp_status))?;
    let begin = usize::from(half(bytes, offset_of!(Header, tp_mac))?);
    let length = at(offset_of!(Header, tp_snaplen))? as usize;
    let tag = at(offset_of!(Header, hv1) + offset_of!(Variant, tp_vlan_tci))?;
    let seconds = u64::from(at(offset_of!(Header, tp_sec))?);
    let nanoseconds = u64::from(at(offset_of!(Header, tp_nsec))?);
    let frame = Frame {
        bytes: bytes.get(begin..begin.checked_add(length)?)?,
        wire_bytes: at(offset_of!(Header, tp_len))? as usize,
        vlan: (status & libc::TP_STATUS_VLAN_VALID != 0).then_some(tag as u16),
        at_us: seconds * 1_000_000 + nanoseconds / 1000,
    };
    Some((frame, at(offset_of!(Header, tp_next_offset))? as usize))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn request(blocks: usize) -> libc::tpacket_req3 {
    // Frames of this size are only a way to say how large it all is.
    const FRAME_BYTES: usize = 2048;
    libc::tpacket_req3 {
        tp_block_size: BLOCK_BYTES as u32,
        tp_block_nr: blocks as u32,
        tp_frame_size: FRAME_BYTES as u32,
        tp_frame_nr: (blocks * (BLOCK_BYTES / FRAME_BYTES)) as u32,
        tp_retire_blk_tov: BLOCK_TIME_MS,
        tp_sizeof_priv: 0,
        tp_feature_req_word: 0,
    }
}

/// One that gets nothing yet: it has no protocol.
fn packet_socket() -> io::Result<OwnedFd> {
    // SAFETY: no pointer is passed.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The interface's number, and how its packets begin.
fn attached(socket: &OwnedFd, interface: &str) -> Result<(u32, Link), RingError> {
    let index = rustix::net::netdevice::name_to_index(socket, interface).map_err(|error| {
        RingError::NoInterface { interface: interface.to_owned(), source: error.into() }
    })?;
    bind(socket, index, 0).doing("bind to the interface")?;
    let kind = kind(socket).doing("ask what the interface is")?;
    let link = match kind {
        libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK => Link::Ethernet,
        libc::ARPHRD_NONE | ARPHRD_RAWIP => Link::Ip,
        kind => return Err(RingError::Kind { interface: interface.to_owned(), kind }),
    };
    Ok((index, link))
}

const ARPHRD_RAWIP: u16 = 519;

fn address(index: u32, protocol: u16) -> libc::sockaddr_ll {
    libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: protocol.to_be(),
        sll_ifindex: index as i32,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    }
}

fn bind(socket: &OwnedFd, index: u32, protocol: u16) -> io::Result<()> {
    let address = address(index, protocol);
    let length = size_of::<libc::sockaddr_ll>() as u32;
    // SAFETY: the address is valid for its length while the call lasts.
    let done = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The type of the interface that a socket is bound to.
fn kind(socket: &OwnedFd) -> io::Result<u16> {
    let mut address = address(0, 0);
    let mut length = size_of::<libc::sockaddr_ll>() as u32;
    let (to, length_to) = ((&raw mut address).cast(), &raw mut length);
    // SAFETY: both are valid for writing, and the kernel writes at most `length` bytes.
    let done = unsafe { libc::getsockname(socket.as_raw_fd(), to, length_to) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(address.sll_hatype) }
}

fn promiscuous(socket: &OwnedFd, index: u32) -> io::Result<()> {
    let member = libc::packet_mreq {
        mr_ifindex: index as i32,
        mr_type: libc::PACKET_MR_PROMISC as u16,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    set(socket, libc::PACKET_ADD_MEMBERSHIP, &member)
}

/// Sets an option of packet sockets. `T` is the type that the option has.
fn set<T>(socket: &OwnedFd, option: libc::c_int, value: &T) -> io::Result<()> {
    set_at(socket.as_raw_fd(), libc::SOL_PACKET, option, value)
}

fn set_at<T>(fd: i32, level: i32, option: i32, value: &T) -> io::Result<()> {
    let (value, length) = ((&raw const *value).cast::<c_void>(), size_of::<T>() as u32);
    // SAFETY: the value is valid for its length while the call lasts.
    let done = unsafe { libc::setsockopt(fd, level, option, value, length) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Has the kernel give a socket only what this program lets through.
///
/// # Errors
/// Where it refuses the program.
pub fn attach(socket: &impl AsFd, program: &[Instruction]) -> io::Result<()> {
    let instruction = |is: &Instruction| libc::sock_filter {
        code: is.code,
        jt: is.then,
        jf: is.otherwise,
        k: is.with,
    };
    let mut filter: Vec<libc::sock_filter> = program.iter().map(instruction).collect();
    let length = u16::try_from(filter.len()).map_err(io::Error::other)?;
    let program = libc::sock_fprog { len: length, filter: filter.as_mut_ptr() };
    // The kernel copies the instructions, which are there until it has.
    set_at(socket.as_fd().as_raw_fd(), libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

/// What was counted since it was asked for last.
fn statistics(socket: &OwnedFd) -> io::Result<libc::tpacket_stats_v3> {
    let mut counted = libc::tpacket_stats_v3 { tp_packets: 0, tp_drops: 0, tp_freeze_q_cnt: 0 };
    let mut length = size_of::<libc::tpacket_stats_v3>() as u32;
    let (fd, level, option) = (socket.as_raw_fd(), libc::SOL_PACKET, libc::PACKET_STATISTICS);
    let (to, length_to) = ((&raw mut counted).cast(), &raw mut length);
    // SAFETY: both are valid for writing, and the kernel writes at most `length` bytes.
    let done = unsafe { libc::getsockopt(fd, level, option, to, length_to) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(counted) }
}
