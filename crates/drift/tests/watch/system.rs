//! What is no file: the network and the clock.

use std::process::Command;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use umbra_drift::watch::system::clock::{Clock, ClockSet};
use umbra_drift::watch::system::netlink::{Network, NetworkChanged};

use crate::support::PATIENCE;
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("system::the_network_says_what_of_it_changed", network),
        trial("system::announcements_that_were_dropped_are_said", dropped),
        trial("system::a_clock_that_is_set_wakes", clock),
    ]
}

/// In a network of its own, which goes with the thread.
fn apart(test: fn()) {
    let thread = std::thread::spawn(move || {
        // SAFETY: only this thread's network changes, and it holds no socket yet.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("a network of its own");
        test();
    });
    thread.join().expect("test");
}

fn network() {
    apart(|| {
        let mut network = Network::open().expect("sockets");
        assert_eq!(network.read(), Ok(NetworkChanged::empty()));
        let ip = |arguments: &str| run("ip", arguments);
        if !ip("link set lo up") {
            return println!("skipped: no interface can be changed here (ip)");
        }
        heard(&mut network, NetworkChanged::LINK);
        assert!(ip("addr add 192.0.2.1/24 dev lo"));
        heard(&mut network, NetworkChanged::ADDRESS | NetworkChanged::ROUTE);
        if let Some(why) = network.without_ruleset() {
            return println!("skipped: the ruleset cannot be listened to: {why}");
        }
        if !run("nft", "add table inet shade") {
            return println!("skipped: no ruleset can be made here (nft)");
        }
        heard(&mut network, NetworkChanged::RULESET);
    });
}

fn dropped() {
    apart(|| {
        let mut network = Network::open().expect("sockets");
        let batch = "addr add 192.0.2.1/24 dev lo\naddr del 192.0.2.1/24 dev lo\n".repeat(4000);
        let file = tempfile::NamedTempFile::new().expect("file");
        std::fs::write(file.path(), batch).expect("batch");
        if !run("ip", &format!("-batch {}", file.path().display())) {
            return println!("skipped: no interface can be changed here (ip)");
        }
        heard(&mut network, NetworkChanged::LOST | NetworkChanged::ADDRESS);
    });
}

fn run(program: &str, arguments: &str) -> bool {
    let output = Command::new(program).args(arguments.split(' ')).output();
    output.is_ok_and(|output| output.status.success())
}

#[track_caller]
fn heard(network: &mut Network, expected: NetworkChanged) {
    let (mut all, deadline) = (NetworkChanged::empty(), Instant::now() + PATIENCE);
    while !all.contains(expected) {
        assert!(Instant::now() < deadline, "{all:?}");
        let wait = Timespec { tv_sec: 1, tv_nsec: 0 };
        let queues = network.queues().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        poll(&mut queues.collect::<Vec<_>>(), Some(&wait)).expect("poll");
        all |= network.read().expect("read");
    }
}

fn clock() {
    let mut clock = Clock::open().expect("clock");
    assert_eq!(clock.read(), Ok(None));
    // SAFETY: all zeros is a valid request.
    let mut request: libc::timex = unsafe { std::mem::zeroed() };
    request.modes = libc::ADJ_SETOFFSET | libc::ADJ_NANO;
    // By a nanosecond, which disturbs nobody.
    request.time.tv_usec = 1;
    // SAFETY: the request outlives the call.
    if unsafe { libc::adjtimex(&raw mut request) } < 0 {
        return println!("skipped: the clock cannot be set here (CAP_SYS_TIME)");
    }
    let mut fds = [PollFd::new(&clock, PollFlags::IN)];
    let patience = Timespec::try_from(Duration::from_secs(5)).expect("time");
    assert_eq!(poll(&mut fds, Some(&patience)), Ok(1));
    assert_eq!(clock.read(), Ok(Some(ClockSet)));
    assert_eq!(clock.read(), Ok(None));
}
