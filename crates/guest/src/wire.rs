//! One JSON message per packet on a unix socket, file descriptors beside it.
//!
//! An init runs among processes nobody trusts, so what comes from one is parsed as strictly as
//! anything from outside: bounded in size, refused when it does not fit.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
    sendmsg, socketpair,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The largest message, environment and arguments of a command included.
pub const MESSAGE_BYTES_MAX: usize = 192 << 10;

/// How many descriptors travel with one message at most.
const FDS_MAX: usize = 4;

/// A connected pair; both ends are closed on exec.
///
/// # Errors
/// There is none to be had.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC;
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

/// Sends one message.
///
/// # Errors
/// It is too long, or the other side is gone.
pub fn send<T: Serialize>(
    socket: impl AsFd,
    message: &T,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(io::Error::from(rustix::io::Errno::TOOBIG));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::from(rustix::io::Errno::INVAL));
    }
    let flags = SendFlags::NOSIGNAL;
    rustix::io::retry_on_intr(|| sendmsg(&socket, &[IoSlice::new(&bytes)], &mut ancillary, flags))?;
    Ok(())
}

/// Receives one message; `None` once the other side is closed. Blocking.
///
/// # Errors
/// What came is no such message, or nothing can come.
pub fn receive<T: DeserializeOwned>(socket: impl AsFd) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut bytes = vec![0u8; MESSAGE_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let message = rustix::io::retry_on_intr(|| {
        let flags = RecvFlags::CMSG_CLOEXEC;
        recvmsg(&socket, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, flags)
    });
    let message = match message {
        Ok(message) => message,
        Err(rustix::io::Errno::CONNRESET) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut fds = Vec::new();
    for item in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = item {
            fds.extend(rights);
        }
    }
    if message.bytes == 0 {
        return Ok(None);
    }
    if message.flags.contains(ReturnFlags::TRUNC) {
        return Err(io::Error::from(rustix::io::Errno::MSGSIZE));
    }
    let parsed = serde_json::from_slice(&bytes[..message.bytes])?;
    Ok(Some((parsed, fds)))
}

/// The next descriptor of a message.
///
/// # Errors
/// There is none.
pub fn take_fd(fds: &mut impl Iterator<Item = OwnedFd>) -> io::Result<OwnedFd> {
    fds.next().ok_or_else(|| io::Error::from(rustix::io::Errno::BADMSG))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_carry_descriptors() {
        let (a, b) = pair().expect("socket pair");
        let (passed, kept) = pair().expect("socket pair");
        send(&a, &7_u32, &[passed.as_fd()]).expect("sent");
        let (message, fds): (u32, _) = receive(&b).expect("received").expect("open");
        assert_eq!(message, 7);
        send(&fds[0], &"hello", &[]).expect("sent through the passed descriptor");
        let (hello, _): (String, _) = receive(&kept).expect("received").expect("open");
        assert_eq!(hello, "hello");
    }

    #[test]
    fn a_closed_side_is_an_end_and_nonsense_an_error() {
        let (a, b) = pair().expect("socket pair");
        rustix::net::send(&a, b"{not json", SendFlags::NOSIGNAL).expect("sent");
        assert!(receive::<u32>(&b).is_err());
        drop(a);
        assert!(receive::<u32>(&b).expect("no error").is_none());
    }
}
