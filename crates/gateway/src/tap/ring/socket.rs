//! What the kernel is asked of a packet socket.

use std::ffi::c_void;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use super::{BLOCK_BYTES, BLOCK_TIME_MS, Doing, RingError};
use crate::tap::filter::Instruction;
use crate::tap::packet::Link;

pub(super) fn request(blocks: usize) -> libc::tpacket_req3 {
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
pub(super) fn packet_socket() -> io::Result<OwnedFd> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    Ok(socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, None)?)
}

/// The interface's number, and how its packets begin.
pub(super) fn attached(socket: &OwnedFd, interface: &str) -> Result<(u32, Link), RingError> {
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

pub(super) fn bind(socket: &OwnedFd, index: u32, protocol: u16) -> io::Result<()> {
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

pub(super) fn promiscuous(socket: &OwnedFd, index: u32) -> io::Result<()> {
    let member = libc::packet_mreq {
        mr_ifindex: index as i32,
        mr_type: libc::PACKET_MR_PROMISC as u16,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    set(socket, libc::PACKET_ADD_MEMBERSHIP, &member)
}

/// Sets an option of packet sockets. `T` is the type that the option has.
pub(super) fn set<T>(socket: &OwnedFd, option: libc::c_int, value: &T) -> io::Result<()> {
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
pub(super) fn statistics(socket: &OwnedFd) -> io::Result<libc::tpacket_stats_v3> {
    let mut counted = libc::tpacket_stats_v3 { tp_packets: 0, tp_drops: 0, tp_freeze_q_cnt: 0 };
    let mut length = size_of::<libc::tpacket_stats_v3>() as u32;
    let (fd, level, option) = (socket.as_raw_fd(), libc::SOL_PACKET, libc::PACKET_STATISTICS);
    let (to, length_to) = ((&raw mut counted).cast(), &raw mut length);
    // SAFETY: both are valid for writing, and the kernel writes at most `length` bytes.
    let done = unsafe { libc::getsockopt(fd, level, option, to, length_to) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(counted) }
}
