//! Ctrl-C, SIGTERM and SIGHUP end this program in order: the child that runs is told, and what
//! was set up is taken down on the way out.

use std::io::{self, Read};
use std::os::fd::IntoRawFd;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process};

use crate::stop::Stop;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
/// A terminal sends its signals to everything that runs on it, a process to one.
const FROM_TERMINAL: u8 = 1;
const FROM_PROCESS: u8 = 0;

/// The pipe's end that wakes the watching thread.
static WAKE: AtomicI32 = AtomicI32::new(-1);
/// The child that is waited for. It is entered before it can end and removed before it is
/// reaped, so that its number is never another process's.
static CHILD: Mutex<Option<Pid>> = Mutex::new(None);

/// From now on the signals no longer end this program by themselves. Call it once.
pub(crate) fn watch() -> Result<(), Stop> {
    let refused = |error: io::Error| Stop::Failed(format!("signals cannot be watched: {error}"));
    let (mut arrivals, wake) = io::pipe().map_err(refused)?;
    // Open as long as the process: a handler may run at any time.
    WAKE.store(wake.into_raw_fd(), Ordering::SeqCst);
    // Handlers, unlike blocked signals, are not handed down to child processes.
    handle().map_err(refused)?;
    let waiting = std::thread::Builder::new().name("signals".into()).spawn(move || {
        let mut from = [0];
        while arrivals.read_exact(&mut from).is_ok() {
            INTERRUPTED.store(true, Ordering::SeqCst);
            // The child has had it too, and would take a second one for impatience.
            if from == [FROM_TERMINAL] {
                continue;
            }
            let child = CHILD.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(pid) = *child {
                // It may have ended just now; then nobody needs telling.
                let _ = kill_process(pid, Signal::TERM);
            }
        }
    });
    waiting.map(drop).map_err(refused)
}

/// An error once a signal came.
pub(crate) fn check() -> Result<(), Stop> {
    if INTERRUPTED.load(Ordering::SeqCst) { Err(Stop::Interrupted) } else { Ok(()) }
}

/// While this lives, signals are passed on to the child.
pub(crate) struct Told(());

impl Told {
    pub(crate) fn begin(child: Pid) -> Self {
        *CHILD.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
        if INTERRUPTED.load(Ordering::SeqCst) {
            // The signal came between the check and here.
            let _ = kill_process(child, Signal::TERM);
        }
        Self(())
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        *CHILD.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn handle() -> io::Result<()> {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: a zeroed sigaction is a valid one; the handler makes one async-signal-safe
        // call and touches nothing but an atomic.
        let done = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            let handler: extern "C" fn(_, _, _) = on_signal;
            action.sa_sigaction = handler as libc::sighandler_t;
            action.sa_flags = libc::SA_RESTART | libc::SA_SIGINFO;
            libc::sigaction(signal, &action, std::ptr::null_mut())
        };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

extern "C" fn on_signal(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel gives a handler of this kind a valid siginfo. write(2) is
    // async-signal-safe, the descriptor stays open, the byte lives through the call. A full
    // pipe means that a thousand signals are waiting already.
    unsafe {
        let by_kernel = (*info).si_code == libc::SI_KERNEL;
        let from = if by_kernel { FROM_TERMINAL } else { FROM_PROCESS };
        libc::write(WAKE.load(Ordering::SeqCst), [from].as_ptr().cast(), 1);
    }
}
