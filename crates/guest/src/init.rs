//! PID 1 of a view: runs what it is asked to, reaps what ends, and by its own end takes every
//! process of the view along.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use rustix::thread::CapabilitySet;
use umbra_state::Exit;

use crate::exec::{self, Standard};
use crate::run::{RunControl, RunEvent, RunRequest};
use crate::sys;
use crate::wire;

/// Serves until the socket closes; returning ends the view. Commands get what they may of
/// `rights`.
///
/// # Errors
/// The kernel refuses what it needs, or what comes is no request.
pub fn serve(socket: &OwnedFd, rights: CapabilitySet) -> io::Result<()> {
    let mut init = Init { signals: sys::child_signals()?, runs: HashMap::new(), rights };
    loop {
        let ready = init.wait(socket)?;
        if ready.child {
            init.reap()?;
        }
        for pid in ready.runs {
            init.control(pid);
        }
        if ready.socket {
            let Some((request, fds)) = wire::receive::<RunRequest>(socket)? else { return Ok(()) };
            init.start(&request, fds)?;
        }
    }
}

struct Init {
    signals: OwnedFd,
    /// Running commands by process id, each with its own socket until its caller is gone.
    runs: HashMap<i32, Option<OwnedFd>>,
    rights: CapabilitySet,
}

struct Ready {
    socket: bool,
    child: bool,
    runs: Vec<i32>,
}

impl Init {
    fn wait(&self, socket: &OwnedFd) -> io::Result<Ready> {
        let attached: Vec<(i32, &OwnedFd)> =
            self.runs.iter().filter_map(|(pid, run)| Some((*pid, run.as_ref()?))).collect();
        let mut fds =
            vec![PollFd::new(socket, PollFlags::IN), PollFd::new(&self.signals, PollFlags::IN)];
        fds.extend(attached.iter().map(|(_, run)| PollFd::new(*run, PollFlags::IN)));
        rustix::io::retry_on_intr(|| poll(&mut fds, None))?;
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        let runs = attached.iter().zip(&ready[2..]).filter(|(_, r)| **r).map(|((pid, _), _)| *pid);
        Ok(Ready { socket: ready[0], child: ready[1], runs: runs.collect() })
    }

    fn start(&mut self, request: &RunRequest, fds: Vec<OwnedFd>) -> io::Result<()> {
        let mut fds = fds.into_iter();
        let run = wire::take_fd(&mut fds)?;
        if is_hung_up(&run)? {
            // The caller gave up while this view stood still.
            return Ok(());
        }
        match self.spawn(request, fds) {
            Ok((pid, terminal)) => {
                let terminal: Vec<_> = terminal.iter().map(AsFd::as_fd).collect();
                // A failure means the caller is gone; its socket's end kills the run.
                let _ = wire::send(&run, &RunEvent::Started, &terminal);
                self.runs.insert(pid, Some(run));
            }
            Err(reason) => {
                let _ = wire::send(&run, &RunEvent::NotStarted(reason), &[]);
            }
        }
        Ok(())
    }

    fn spawn(
        &self,
        request: &RunRequest,
        mut fds: impl Iterator<Item = OwnedFd>,
    ) -> Result<(i32, Option<OwnedFd>), String> {
        let (standard, terminal) = match request.terminal {
            Some(size) => {
                let (ours, theirs) = exec::open_terminal(size)
                    .map_err(|error| format!("open a terminal: {error}"))?;
                (Standard::Terminal(theirs), Some(ours))
            }
            None => {
                let mut next =
                    || wire::take_fd(&mut fds).map_err(|_| "take standard descriptors".to_owned());
                (Standard::Streams([next()?, next()?, next()?]), None)
            }
        };
        let pid = exec::spawn(&request.command, standard, self.rights)?;
        Ok((pid, terminal))
    }

    /// Handles what came on a run's own socket.
    fn control(&mut self, pid: i32) {
        let Some(Some(run)) = self.runs.get(&pid) else { return };
        match wire::receive::<RunControl>(run) {
            Ok(Some((RunControl::Kill, _))) => kill_session(pid),
            // Whoever holds the terminal does that, in order with what is typed.
            Ok(Some((RunControl::Resize(_), _))) => {}
            Ok(None) | Err(_) => {
                kill_session(pid);
                self.runs.insert(pid, None);
            }
        }
    }

    fn reap(&mut self) -> io::Result<()> {
        let mut drained = [0u8; 1024];
        while rustix::io::read(&self.signals, &mut drained).is_ok() {}
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => self.ended(pid.as_raw_nonzero().get(), status),
                Ok(None) | Err(rustix::io::Errno::CHILD) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn ended(&mut self, pid: i32, status: WaitStatus) {
        let Some(run) = self.runs.remove(&pid) else { return };
        // What the command left in its session must not hold its output open or go on.
        if let Some(run) = run {
            kill_session(pid);
            let exit = match status.terminating_signal() {
                Some(signal) => Exit::Signal(signal),
                None => Exit::Code(status.exit_status().unwrap_or(-1)),
            };
            let _ = wire::send(&run, &RunEvent::Ended(exit), &[]);
        }
    }
}

fn is_hung_up(run: &OwnedFd) -> io::Result<bool> {
    let mut fds = [PollFd::new(run, PollFlags::empty())];
    poll(&mut fds, Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 }))?;
    Ok(fds[0].revents().contains(PollFlags::HUP))
}

/// Kills a command's process group: each command leads its own session.
fn kill_session(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        // The group may be gone already.
        let _ = rustix::process::kill_process_group(pid, Signal::KILL);
    }
}
