//! Interfaces whose other end is a program (`Documentation/networking/tuntap.rst`).

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// Makes the interface, down; it goes with the last copy of the descriptor.
pub(super) fn open(name: &str) -> io::Result<OwnedFd> {
    /// `TUNSETIFF` of `linux/if_tun.h`.
    const SET: libc::c_ulong = 0x4004_54ca;
    let tun = File::options().read(true).write(true).open("/dev/net/tun")?;
    // SAFETY: a plain structure, for which zeroes are a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    // SAFETY: the request is laid out as the call expects and outlives it.
    if unsafe { libc::ioctl(tun.as_raw_fd(), SET, &raw mut request) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(tun.into())
}
