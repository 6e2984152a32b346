//! Who forked whom, from the kernel's process connector.
//!
//! A process that forks and never executes is what its parent is, but a change names only
//! the child, and by the time the change is read the child may be gone. The connector tells
//! parent and child while both are known. It is a queue of its own, read before changes are
//! followed up; what it drops is a writer that is known only while it lives.
//!
//! Needs `CAP_NET_ADMIN` in the first namespaces; where that is missing, nothing is said.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::io::Errno;

use super::super::system::netlink;

const CONNECTOR_PROC: u32 = 1;
const LISTEN: u32 = 1;
const FORK: u32 = 1;
/// Some thousands of forks.
const QUEUE: libc::c_int = 2 * 1024 * 1024;
/// `struct nlmsghdr`, then `struct cn_msg`.
const HEADERS: usize = 16 + 20;

/// The open connector.
#[derive(Debug)]
pub(super) struct Forks {
    socket: OwnedFd,
}

impl Forks {
    /// Listen from now on.
    pub(super) fn open() -> Result<Self, Errno> {
        let socket = netlink::listen(libc::NETLINK_CONNECTOR, CONNECTOR_PROC)?;
        let (level, name) = (libc::SOL_SOCKET, libc::SO_RCVBUFFORCE);
        let length = size_of::<libc::c_int>() as libc::socklen_t;
        let queue = QUEUE;
        let value = (&raw const queue).cast();
        // A short queue is one that drops more.
        // SAFETY: the value is a `c_int` of the length stated and outlives the call.
        let _ = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value, length) };
        rustix::io::write(&socket, &request(&[LISTEN]))?;
        // Since Linux 6.6 only forks can be asked for; before, this changes nothing.
        rustix::io::write(&socket, &request(&[LISTEN, FORK]))?;
        Ok(Self { socket })
    }

    /// Take everything that is queued: parent and child.
    pub(super) fn read(&self, mut on: impl FnMut(i32, i32)) {
        let mut buffer = [0; 512];
        loop {
            match netlink::receive(&self.socket, &mut buffer) {
                Ok(Some(length)) => {
                    if let Some((parent, child)) = fork(&buffer[..length]) {
                        on(parent, child);
                    }
                }
                Ok(None) | Err(Errno::NOBUFS | Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }
}

fn request(words: &[u32]) -> Vec<u8> {
    let length = 4 * words.len();
    let mut bytes = ((HEADERS + length) as u32).to_ne_bytes().to_vec();
    bytes.extend((libc::NLMSG_DONE as u16).to_ne_bytes());
    bytes.resize(16, 0);
    for word in [CONNECTOR_PROC, 1, 0, 0] {
        bytes.extend(word.to_ne_bytes());
    }
    bytes.extend((length as u16).to_ne_bytes());
    bytes.extend([0; 2]);
    bytes.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
    bytes
}

/// Parent and child, if the datagram tells of a fork and not of a new thread.
fn fork(datagram: &[u8]) -> Option<(i32, i32)> {
    let word = |at: usize| {
        let bytes = datagram.get(HEADERS + at..)?.first_chunk()?;
        Some(u32::from_ne_bytes(*bytes))
    };
    let proc = u32::from_ne_bytes(*datagram.get(16..)?.first_chunk()?) == CONNECTOR_PROC;
    // Kind, processor, time in two words; parent's thread and process, child's.
    let (kind, parent, thread, child) = (word(0)?, word(20)?, word(24)?, word(28)?);
    let told = proc && kind == FORK && thread == child;
    told.then_some((parent.cast_signed(), child.cast_signed()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn forks_and_nothing_else() {
        #[track_caller]
        fn check(words: &[u32], expected: Option<(i32, i32)>) {
            assert_eq!(fork(&request(words)), expected);
        }
        check(&[FORK, 0, 0, 0, 11, 10, 20, 20], Some((10, 20)));
        // A thread.
        check(&[FORK, 0, 0, 0, 11, 10, 21, 10], None);
        // An execution.
        check(&[2, 0, 0, 0, 11, 10, 20, 20], None);
        check(&[FORK, 0, 0, 0, 11, 10, 20], None);
        check(&[], None);
    }

    proptest! {
        #[test]
        fn any_datagram_is_read(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = fork(&bytes);
        }
    }
}
