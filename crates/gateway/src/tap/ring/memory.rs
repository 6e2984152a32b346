//! The memory a ring shares with the kernel, and the packets in it.

use std::io;
use std::mem::offset_of;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicU32;

use super::BLOCK_BYTES;
use crate::tap::packet::Frame;

/// The ring's memory, unmapped when dropped.
#[derive(Debug)]
pub(super) struct Memory {
    start: *mut u8,
    pub(super) blocks: usize,
}

impl Memory {
    pub(super) fn of(socket: &OwnedFd, blocks: usize) -> io::Result<Self> {
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
    pub(super) fn status(&self, block: usize) -> &AtomicU32 {
        let at = offset_of!(libc::tpacket_block_desc, hdr)
            + offset_of!(libc::tpacket_hdr_v1, block_status);
        // SAFETY: the word lies within the block, is aligned as blocks are to pages, lives as
        // long as the mapping, and both sides only access it atomically.
        unsafe { AtomicU32::from_ptr(self.block(block).add(at).cast()) }
    }

    /// Gives the packets of a block that is ours.
    pub(super) fn packets(&self, block: usize, each: &mut dyn FnMut(Frame<'_>)) {
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
