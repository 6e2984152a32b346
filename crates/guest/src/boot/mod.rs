//! The life of a guest's first process: from the kernel's hand-over to the view it is told to
//! show.
//!
//! ```text
//!   kernel ──> this ──fork──> tunnel      frames from and to the host
//!               │ <── orders ────┘
//!               ├─clone──> init of a view, and the next one's
//!               └─exec───> the image's own system, if it is told to become that
//! ```

mod group;
mod identity;
mod modules;
mod port;
mod root;
mod system;
mod view;

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, WaitOptions};
use rustix::thread::UnshareFlags;

use crate::failure::{Doing, Failure};
use crate::mounts::mount;
use crate::network;
use crate::order::Order;
use crate::sys::{self, Fork};
use crate::tunnel;
use crate::wire;
use view::Shown;

/// What a guest prints on its console: its kernel runs, and programs on it.
pub const UP: &str = "umbra-guest: up";

/// Serves until the host is gone; the machine ends with this.
pub fn main() -> ! {
    let ended = start().and_then(|orders| serve(&orders));
    if let Err(failure) = ended {
        println!("umbra-guest: failed to {}: {}", failure.doing, failure.error());
    }
    power_off()
}

fn power_off() -> ! {
    rustix::fs::sync();
    let _ = rustix::system::reboot(rustix::system::RebootCommand::PowerOff);
    sys::exit(1)
}

/// Makes the kernel's things ready and starts the tunnel; where its orders come out.
fn start() -> Result<OwnedFd, Failure> {
    mount("devtmpfs", "/dev", &[])?;
    mount("proc", "/proc", &[])?;
    mount("sysfs", "/sys", &[])?;
    println!("{UP}");
    modules::load()?;
    group::prepare();
    network::begin()?;
    let port = port::open()?;
    let (orders, theirs) = wire::pair().doing(|| "make a socket".to_owned())?;
    match sys::fork(0).doing(|| "start the tunnel".to_owned())? {
        Fork::Parent(_) => {}
        Fork::Child => {
            drop(orders);
            sys::exit(i32::from(carry(port, theirs).is_err()))
        }
    }
    Ok(orders)
}

/// The tunnel's life: nothing that a system does to mounts concerns it.
fn carry(port: OwnedFd, orders: OwnedFd) -> io::Result<()> {
    // SAFETY: this process has one thread; it only gets a copy of the mount table.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }?;
    // It outlives what eats the memory.
    let _ = sys::set_oom_score("-1000");
    tunnel::guest::serve(port, orders)
}

/// Carries out orders, one after the other.
fn serve(orders: &OwnedFd) -> Result<(), Failure> {
    let doing = || "serve the host".to_owned();
    let signals = sys::child_signals().doing(doing)?;
    let mut shown: Option<Shown> = None;
    loop {
        let mut fds = [PollFd::new(orders, PollFlags::IN), PollFd::new(&signals, PollFlags::IN)];
        rustix::io::retry_on_intr(|| poll(&mut fds, None)).doing(doing)?;
        let ready = fds.map(|fd| !fd.revents().is_empty());
        if ready[1] {
            reap(&signals, &mut shown);
        }
        if !ready[0] {
            continue;
        }
        let Some((order, _)) = wire::receive::<Order>(orders).doing(doing)? else { return Ok(()) };
        let mut socket = None;
        let answer = match &order {
            Order::Boot(view) => {
                drop(shown.take());
                // Returns only where it could not.
                Err(system::boot(view, orders))
            }
            Order::View(view) => {
                drop(shown.take());
                Shown::new(view).map(|(new, its)| {
                    shown = Some(new);
                    socket = Some(its);
                })
            }
            Order::Hello | Order::Be(_) => {
                about_itself(&order, shown.as_ref().and_then(Shown::pid))
            }
        };
        let fds: Vec<_> = socket.iter().map(AsFd::as_fd).collect();
        wire::send(orders, &answer, &fds).doing(doing)?;
    }
}

/// Carries out what concerns the machine whatever it shows; `pid` is the first process of a view
/// that has surroundings of its own.
fn about_itself(order: &Order, pid: Option<Pid>) -> Result<(), Failure> {
    match order {
        Order::Hello => Ok(()),
        Order::Be(identity) => identity::take(identity, pid),
        Order::View(_) | Order::Boot(_) => {
            let busy = io::Error::from(rustix::io::Errno::BUSY);
            Err(Failure::new("show something else: a system runs here", &busy))
        }
    }
}

/// Whatever has lost its parent ends here.
fn reap(signals: &OwnedFd, shown: &mut Option<Shown>) {
    let mut drained = [0u8; 1024];
    while rustix::io::read(signals, &mut drained).is_ok() {}
    while let Ok(Some((pid, _))) = rustix::process::wait(WaitOptions::NOHANG) {
        if let Some(shown) = shown.take_if(|shown| shown.is(pid)) {
            shown.ended();
        }
    }
}
