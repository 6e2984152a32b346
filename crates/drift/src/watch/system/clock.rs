//! The clock, when somebody sets it: times of changes before and after do not compare.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// Never fires; it is there to be cancelled.
const FAR: Timespec = Timespec { tv_sec: 1 << 40, tv_nsec: 0 };

/// Wakes when the clock was set, or after a suspension.
#[derive(Debug)]
pub struct Clock {
    timer: OwnedFd,
}

/// The clock jumped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockSet;

impl Clock {
    /// Watch from now on; poll it for reading.
    ///
    /// # Errors
    /// Where no timer can be had.
    pub fn open() -> Result<Self, Errno> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let clock = Self { timer: timerfd_create(TimerfdClockId::Realtime, flags)? };
        clock.arm()?;
        Ok(clock)
    }

    /// Whether it was set since it was asked last.
    ///
    /// # Errors
    /// What reading fails with.
    pub fn read(&mut self) -> Result<Option<ClockSet>, Errno> {
        let mut buffer = [0u8; 8];
        match rustix::io::read(&self.timer, &mut buffer) {
            Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
            // It was set; or, a very long time from now, the timer fired.
            Err(Errno::CANCELED) | Ok(_) => {}
            Err(error) => return Err(error),
        }
        self.arm()?;
        Ok(Some(ClockSet))
    }

    fn arm(&self) -> Result<(), Errno> {
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let timer = Itimerspec { it_interval: never, it_value: FAR };
        timerfd_settime(&self.timer, flags, &timer).map(drop)
    }
}

impl AsFd for Clock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_not_set_is_silent() {
        let mut clock = Clock::open().expect("clock");
        assert_eq!(clock.read(), Ok(None));
    }
}
