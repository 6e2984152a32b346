//! A program of this machine, run for a bounded time, and what it printed.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group, set_parent_process_death_signal};
use umbra_state::escape;

/// What is kept of each stream; the rest is read and dropped.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// How long a killed program may take to be gone. One that hangs in the kernel is not.
const DYING_MAX: Duration = Duration::from_secs(2);

/// How often a program that has closed its streams is asked whether it has ended.
const ASK_EVERY: Duration = Duration::from_millis(2);

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// By itself.
    Exited(ExitStatus),
    /// It had printed what was waited for, and was killed.
    Enough,
    /// It took too long, and was killed.
    Late,
}

/// A program that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// How.
    pub(crate) ending: Ending,
    /// The beginning of what it printed.
    pub(crate) stdout: Vec<u8>,
    /// The beginning of what it complained of.
    pub(crate) stderr: Vec<u8>,
    /// It was killed and is still there, in the kernel.
    pub(crate) lingers: bool,
}

/// Which line of a program's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    First,
    Last,
}

/// The first or the last line that says something, fit to be shown.
pub(crate) fn line(text: &[u8], at: At, chars_max: usize) -> String {
    let mut lines = text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    let says = |line: &&[u8]| !line.is_empty();
    let line = match at {
        At::First => lines.find(says),
        At::Last => lines.rfind(says),
    };
    escape::line(line.unwrap_or_default(), chars_max)
}

/// Runs a program until it ends, has printed what `enough` looks for, or `patience` is over.
/// Nothing of its process group stays, also when this process is killed.
pub(crate) fn run(
    command: &mut Command,
    patience: Duration,
    enough: &dyn Fn(&[u8]) -> bool,
) -> io::Result<Finished> {
    let deadline = Instant::now() + patience;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let parent = rustix::process::getpid();
    // SAFETY: between fork and exec only two system calls are made, without allocation. They are
    // needed so that the program does not outlive a killed parent.
    unsafe {
        command.pre_exec(move || {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // It may have been killed in between.
            let orphan = rustix::process::getppid() != Some(parent);
            if orphan { Err(io::ErrorKind::NotConnected.into()) } else { Ok(()) }
        });
    }
    let mut child = command.spawn()?;
    let mut streams = Streams::of(&mut child);
    let ended = streams.follow(deadline, enough).and_then(|seen| match seen {
        Seen::Closed => {
            wait(&mut child, deadline).map(|end| end.map_or(Ending::Late, Ending::Exited))
        }
        Seen::Enough => Ok(Ending::Enough),
        Seen::Nothing => Ok(Ending::Late),
    });
    let lingers = !end(&mut child)?;
    Ok(Finished { ending: ended?, stdout: streams.stdout, stderr: streams.stderr, lingers })
}

/// What came of following the streams.
enum Seen {
    Closed,
    Enough,
    Nothing,
}

struct Streams {
    out: Option<ChildStdout>,
    err: Option<ChildStderr>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Streams {
    fn of(child: &mut Child) -> Self {
        let (out, err) = (child.stdout.take(), child.stderr.take());
        Self { out, err, stdout: Vec::new(), stderr: Vec::new() }
    }

    fn follow(&mut self, deadline: Instant, enough: &dyn Fn(&[u8]) -> bool) -> io::Result<Seen> {
        loop {
            if enough(&self.stdout) {
                return Ok(Seen::Enough);
            }
            if self.out.is_none() && self.err.is_none() {
                return Ok(Seen::Closed);
            }
            if !self.wait(deadline)? {
                return Ok(Seen::Nothing);
            }
            take(&mut self.out, &mut self.stdout)?;
            take(&mut self.err, &mut self.stderr)?;
        }
    }

    /// Whether something can be read before the deadline.
    fn wait(&self, deadline: Instant) -> io::Result<bool> {
        let fds = [self.out.as_ref().map(AsFd::as_fd), self.err.as_ref().map(AsFd::as_fd)];
        let mut polled: Vec<PollFd<'_>> = fds
            .into_iter()
            .flatten()
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let left = Timespec::try_from(left).map_err(io::Error::other)?;
            match poll(&mut polled, Some(&left)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return Ok(true),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Reads what is there, if anything is; nothing is left of a stream at its end.
fn take<S: Read + AsFd>(stream: &mut Option<S>, kept: &mut Vec<u8>) -> io::Result<()> {
    let Some(open) = stream else { return Ok(()) };
    let mut ready = [PollFd::new(open, PollFlags::IN)];
    if poll(&mut ready, Some(&Timespec::default()))? == 0 {
        return Ok(());
    }
    let mut piece = [0; 8192];
    match open.read(&mut piece) {
        Ok(0) => *stream = None,
        Ok(count) => {
            let room = KEPT_BYTES_MAX - kept.len();
            kept.extend_from_slice(&piece[..count.min(room)]);
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Its end, if that comes before the deadline.
fn wait(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        std::thread::sleep(ASK_EVERY);
    }
}

/// Kills what is left of the group and says whether the program is gone.
fn end(child: &mut Child) -> io::Result<bool> {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // As a rule nothing is left.
        let _ = kill_process_group(group, Signal::KILL);
    }
    Ok(wait(child, Instant::now() + DYING_MAX)?.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    fn shell(script: &str, patience: Duration, enough: &dyn Fn(&[u8]) -> bool) -> Finished {
        run(Command::new("sh").args(["-c", script]), patience, enough).expect("it ran")
    }

    fn never(_: &[u8]) -> bool {
        false
    }

    #[test]
    fn what_it_printed_and_how_it_ended() {
        let finished = shell("echo good; echo bad >&2; exit 3", LONG, &never);
        assert_eq!(finished.stdout, b"good\n");
        assert_eq!(finished.stderr, b"bad\n");
        assert!(matches!(finished.ending, Ending::Exited(status) if status.code() == Some(3)));
    }

    #[test]
    fn one_that_hangs_is_killed_with_its_children() {
        let begun = Instant::now();
        let finished = shell("sleep 600 & echo $!; wait", Duration::from_millis(200), &never);
        assert_eq!(finished.ending, Ending::Late);
        assert!(begun.elapsed() < Duration::from_secs(20) && !finished.lingers);
        let pid: i32 = String::from_utf8_lossy(&finished.stdout).trim().parse().expect("a pid");
        let pid = Pid::from_raw(pid).expect("a pid");
        let deadline = Instant::now() + Duration::from_secs(10);
        while is_alive(pid) {
            assert!(Instant::now() < deadline, "{pid:?} is still there");
            std::thread::sleep(ASK_EVERY);
        }
    }

    /// A zombie that nobody has waited for yet is not.
    fn is_alive(pid: Pid) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid()));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    }

    #[test]
    fn one_that_closes_its_streams_and_stays_is_late() {
        let finished = shell("exec >&- 2>&-; sleep 600", Duration::from_millis(200), &never);
        assert_eq!(finished.ending, Ending::Late);
    }

    #[test]
    fn one_that_has_printed_enough_is_ended() {
        let enough = |out: &[u8]| out.ends_with(b"up\n");
        let finished = shell("echo up; sleep 600", LONG, &enough);
        assert_eq!(finished.ending, Ending::Enough);
    }

    #[test]
    fn endless_output_is_neither_kept_nor_waited_for() {
        let finished = shell("yes", Duration::from_millis(300), &never);
        assert_eq!(finished.ending, Ending::Late);
        assert_eq!(finished.stdout.len(), KEPT_BYTES_MAX);
    }

    #[test]
    fn one_that_cannot_be_started_is_an_error() {
        run(&mut Command::new("/nowhere/program"), LONG, &never).expect_err("it is not there");
    }
}
