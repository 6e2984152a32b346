//! What makes this machine another than the one it was copied from.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};

use rustix::process::Pid;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use rustix::time::{ClockId, Timespec, clock_settime};

use crate::failure::{Doing, Failure};
use crate::netlink::Netlink;
use crate::network::{INTERFACE, Place};
use crate::order::Identity;

/// More is not taken at once.
const ENTROPY_BYTES_MAX: usize = 256;

/// Becomes it, and has the view whose first process is `view` see so.
pub(super) fn take(identity: &Identity, view: Option<Pid>) -> Result<(), Failure> {
    draw_from(&identity.entropy)?;
    let now = Timespec {
        tv_sec: (identity.now_ns / 1_000_000_000) as i64,
        tv_nsec: (identity.now_ns % 1_000_000_000) as i64,
    };
    clock_settime(ClockId::Realtime, now).doing(|| "set the clock".to_owned())?;
    name(&identity.hostname, view)?;
    let root =
        view.map_or_else(String::new, |view| format!("/proc/{}/root", view.as_raw_nonzero()));
    write_machine_id(&root, &identity.machine_id)?;
    identity.network.as_ref().map_or(Ok(()), join)
}

/// Names the machine, where that is what its programs see.
fn name(hostname: &str, view: Option<Pid>) -> Result<(), Failure> {
    let doing = || "set the host name".to_owned();
    let set = || rustix::system::sethostname(hostname.as_bytes()).doing(doing);
    let Some(view) = view else { return set() };
    let open = |pid: String| File::open(format!("/proc/{pid}/ns/uts")).doing(doing);
    let (home, there) = (open("self".to_owned())?, open(view.as_raw_nonzero().to_string())?);
    let enter = |namespace: &File| {
        let kind = Some(LinkNameSpaceType::HostNameAndNISDomainName);
        move_into_link_name_space(namespace.as_fd(), kind).doing(doing)
    };
    enter(&there)?;
    let named = set();
    enter(&home)?;
    named
}

/// Writes it where there is one: a state without has none to tell apart.
fn write_machine_id(root: &str, id: &str) -> Result<(), Failure> {
    let path = format!("{root}/etc/machine-id");
    if std::fs::symlink_metadata(&path).is_err() {
        return Ok(());
    }
    std::fs::write(&path, format!("{id}\n")).doing(|| "write /etc/machine-id".to_owned())
}

/// Adds entropy that no copy has, and has the kernel draw from it at once.
fn draw_from(entropy: &[u8]) -> Result<(), Failure> {
    /// `RNDADDENTROPY` and `RNDRESEEDCRNG` of `linux/random.h`.
    const ADD: libc::c_ulong = 0x4008_5203;
    const RESEED: libc::c_ulong = 0x5207;
    let doing = || "add entropy".to_owned();
    let entropy = &entropy[..entropy.len().min(ENTROPY_BYTES_MAX)];
    let pool = File::options().write(true).open("/dev/urandom").doing(doing)?;
    // `struct rand_pool_info`: bits, bytes, the bytes.
    let mut info = ((entropy.len() * 8) as i32).to_ne_bytes().to_vec();
    info.extend((entropy.len() as i32).to_ne_bytes());
    info.extend(entropy);
    // SAFETY: the buffer is laid out as the call expects, says its own length, and outlives it.
    let added = unsafe { libc::ioctl(pool.as_raw_fd(), ADD, info.as_ptr()) };
    // SAFETY: a call without arguments.
    let drawn = unsafe { libc::ioctl(pool.as_raw_fd(), RESEED) };
    if added < 0 || drawn < 0 {
        return Err(Failure::new(doing(), &std::io::Error::last_os_error()));
    }
    Ok(())
}

/// Takes its place in a network.
fn join(place: &Place) -> Result<(), Failure> {
    let doing = || format!("find {INTERFACE}");
    let mut netlink = Netlink::open().doing(doing)?;
    let index = netlink.index(INTERFACE).doing(doing)?;
    // One that was copied has its original's.
    netlink.set_mac(index, place.mac).doing(|| format!("give {INTERFACE} its number"))?;
    place.take(&mut netlink, index)
}
