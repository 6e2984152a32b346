//! Networks for tests: a client's and a server's, with a cable between them.

use std::process::{Command, Output};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use rustix::thread::{UnshareFlags, gettid, unshare_unsafe};

/// The client's end of the cable.
pub(crate) const CABLE: &str = "client";

/// Where the server is.
pub(crate) const SERVER: &str = "192.0.2.2";

/// Why this machine cannot make networks, or run these programs in them.
pub(crate) fn missing(programs: &[&str]) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("only root can make networks".to_owned());
    }
    let absent = programs.iter().find(|program| !is_there(program))?;
    Some(format!("there is no {absent}: cargo xtask setup"))
}

/// What it makes of the argument does not matter.
fn is_there(program: &str) -> bool {
    Command::new(program).arg("-V").output().is_ok()
}

/// In a network of its own, which goes with the thread.
pub(crate) fn apart(test: fn()) {
    let thread = std::thread::spawn(move || {
        own_network();
        test();
    });
    thread.join().expect("test");
}

fn own_network() {
    // SAFETY: only this thread's network changes, and it holds no socket yet.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("a network of its own");
    must("ip link set lo up");
    // It announces itself at times of its own. A kernel without it has no such file.
    let quiet = |name| std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1");
    let _ = quiet("all").and_then(|()| quiet("default"));
}

/// Runs a command, whose words are separated by single spaces.
pub(crate) fn run(command: &str) -> Output {
    let mut words = command.split(' ');
    let program = words.next().expect("a program");
    Command::new(program).args(words).output().expect(program)
}

/// What it says, if it succeeds.
#[track_caller]
pub(crate) fn must(command: &str) -> String {
    let output = run(command);
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Another network, at the other end of a cable from this thread's. It ends when dropped.
pub(crate) struct Far {
    ask: Option<Sender<Task>>,
    thread: Option<JoinHandle<()>>,
}

type Task = Box<dyn FnOnce() + Send>;

impl Far {
    pub(crate) fn connected() -> Self {
        let (ask, tasks): (Sender<Task>, Receiver<Task>) = channel();
        let (tell, told) = channel();
        let thread = std::thread::spawn(move || {
            own_network();
            tell.send(gettid()).expect("somebody waits");
            tasks.iter().for_each(|task| task());
        });
        let far = Self { ask: Some(ask), thread: Some(thread) };
        let id = told.recv().expect("a network").as_raw_nonzero();
        must(&format!("ip link add {CABLE} type veth peer name server netns {id}"));
        must(&format!("ip addr add 192.0.2.1/24 dev {CABLE}"));
        must(&format!("ip link set {CABLE} up"));
        far.there(|| {
            must(&format!("ip addr add {SERVER}/24 dev server"));
            must("ip link set server up");
        });
        far
    }

    /// Does something in that network. Threads that it begins are there, too.
    pub(crate) fn there<T: Send + 'static>(&self, act: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = channel();
        let task = Box::new(move || {
            let _ = tell.send(act());
        });
        self.ask.as_ref().expect("a thread").send(task).expect("a thread");
        told.recv().expect("done")
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        self.ask = None;
        // Servers may keep the other network for as long as the process lives.
        run(&format!("ip link del {CABLE}"));
        // If it failed, the test has, too.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
