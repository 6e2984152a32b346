//! A program's output, within its bounds.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use umbra_state::escape::escape;

use super::keeper::{Report, Stage};
use super::start::{Identity, Plan, Root, Started, reported, start};
use crate::collect::accounts::{Group, Passwd, load_group, load_passwd};
use crate::collect::place::Place;

/// What of a program's complaints is repeated.
const ERRORS_MAX: usize = 300;

/// Where programs are looked for that are named without a path.
const PATH: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// A program to run.
#[derive(Debug, Clone, Copy)]
pub(in crate::collect) struct Program<'a> {
    pub(in crate::collect) argv: &'a [String],
    /// Who runs it; `None` for whoever asks.
    pub(in crate::collect) user: Option<&'a str>,
    pub(in crate::collect) timeout: Duration,
    pub(in crate::collect) output_bytes_max: u64,
}

/// What a program printed before it ended well, or why that is not known, as a sentence after
/// "because".
pub(in crate::collect) type Ran = Result<Vec<u8>, String>;

/// Runs a program at a place.
pub(in crate::collect) fn run(place: &Place, program: Program<'_>) -> Ran {
    let root = rustix::process::geteuid().is_root();
    if !place.is_machine() && !root {
        return Err("only root can run programs in a directory".to_owned());
    }
    let plan = plan(place, program, root)?;
    let started = start(&plan).map_err(|error| format!("no process was to be had: {error}"))?;
    let heard = listen(started, program.timeout, program.output_bytes_max);
    let name = escape(program.argv.first().map_or("", String::as_str).as_bytes()).to_string();
    judge(heard, &name, program)
}

fn plan(place: &Place, program: Program<'_>, root: bool) -> Result<Plan, String> {
    let text =
        |text: &str| CString::new(text).map_err(|_| "an argument has a zero byte in it".to_owned());
    let name = program.argv.first().ok_or("there is no program")?;
    let candidates: Result<Vec<_>, _> = if name.contains('/') {
        if !name.starts_with('/') {
            return Err("its path does not begin with `/`".to_owned());
        }
        [text(name)].into_iter().collect()
    } else {
        PATH.iter().map(|directory| text(&format!("{directory}/{name}"))).collect()
    };
    let (identity, user, home) = match program.user {
        None => (None, None, "/".to_owned()),
        Some(user) => {
            let account = load_passwd(place)?
                .into_iter()
                .find(|account| account.name == user.as_bytes())
                .ok_or_else(|| format!("there is no user `{}`", escape(user.as_bytes())))?;
            let home = String::from_utf8_lossy(&account.home).replace('\0', "");
            (identity(place, &account, root)?, Some(user), home)
        }
    };
    let environment = [
        format!("PATH={}", PATH.join(":")),
        "LC_ALL=C".to_owned(),
        "LANG=C".to_owned(),
        "TERM=dumb".to_owned(),
        format!("HOME={home}"),
    ];
    let named = user.map(|user| [format!("USER={user}"), format!("LOGNAME={user}")]);
    let environment = environment.into_iter().chain(named.into_iter().flatten());
    Ok(Plan {
        candidates: candidates?,
        argv: program.argv.iter().map(|argument| text(argument)).collect::<Result<_, _>>()?,
        environment: environment.map(|entry| text(&entry)).collect::<Result<_, _>>()?,
        identity,
        root: directory(place)?,
    })
}

fn directory(place: &Place) -> Result<Option<Root>, String> {
    if place.is_machine() {
        return Ok(None);
    }
    let path = CString::new(place.outside(Path::new("/")).into_os_string().into_vec())
        .map_err(|_| "the directory's path has a zero byte in it".to_owned())?;
    Ok(Some(Root { path, fd: place.root().as_raw_fd() }))
}

fn identity(place: &Place, account: &Passwd, root: bool) -> Result<Option<Identity>, String> {
    if !root {
        return match account.uid == rustix::process::geteuid().as_raw() {
            true => Ok(None),
            false => Err(format!("only root can run it as `{}`", escape(&account.name))),
        };
    }
    let has = |group: &Group| group.members.contains(&account.name);
    let mut groups: Vec<u32> =
        load_group(place)?.iter().filter(|group| has(group)).map(|group| group.gid).collect();
    groups.push(account.gid);
    groups.sort_unstable();
    groups.dedup();
    Ok(Some(Identity { uid: account.uid, gid: account.gid, groups }))
}

/// What was heard of a program.
struct Heard {
    output: Vec<u8>,
    errors: Vec<u8>,
    end: End,
}

enum End {
    /// The keeper said what became of it; `None` if it could not.
    Reported(Option<Report>),
    TimedOut,
    TooLong,
}

fn listen(started: Started, timeout: Duration, output_max: u64) -> Heard {
    let deadline = Instant::now() + timeout;
    let output_max = usize::try_from(output_max).unwrap_or(usize::MAX);
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let (mut output_open, mut errors_open) = (true, true);
    let end = loop {
        let Some(left) = deadline.checked_duration_since(Instant::now()) else {
            break End::TimedOut;
        };
        let (mut spoke, mut complained, mut ended) = (false, false, false);
        {
            let mut watched = vec![PollFd::new(&started.report, PollFlags::IN)];
            if output_open {
                watched.push(PollFd::new(&started.output, PollFlags::IN));
            }
            if errors_open {
                watched.push(PollFd::new(&started.errors, PollFlags::IN));
            }
            let patience = Timespec::try_from(left).ok();
            match poll(&mut watched, patience.as_ref()) {
                Ok(0) => break End::TimedOut,
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(_) => break End::Reported(None),
            }
            for at in &watched {
                let (fd, said) = (at.as_fd().as_raw_fd(), !at.revents().is_empty());
                spoke |= said && fd == started.output.as_raw_fd();
                complained |= said && fd == started.errors.as_raw_fd();
                ended |= said && fd == started.report.as_raw_fd();
            }
        }
        if spoke {
            output_open = take(&started.output, &mut output, output_max.saturating_add(1));
        }
        if complained {
            // The rest is read and dropped, so that the program can go on.
            errors_open = take(&started.errors, &mut errors, ERRORS_MAX);
        }
        if output.len() > output_max {
            break End::TooLong;
        }
        // When all is heard, not when it has ended: the pipes may still hold something.
        if ended && !spoke && !complained {
            break End::Reported(reported(&started.report));
        }
    };
    started.finish();
    Heard { output, errors, end }
}

/// Appends what is there now, up to a length in all; false at the end.
fn take(pipe: &OwnedFd, into: &mut Vec<u8>, length_max: usize) -> bool {
    let mut buffer = [0u8; 16 << 10];
    match rustix::io::read(pipe, &mut buffer) {
        Ok(0) => false,
        Ok(count) => {
            let room = length_max.saturating_sub(into.len()).min(count);
            into.extend_from_slice(buffer.get(..room).unwrap_or_default());
            true
        }
        Err(Errno::INTR | Errno::AGAIN) => true,
        Err(_) => false,
    }
}

fn judge(heard: Heard, name: &str, program: Program<'_>) -> Ran {
    let report = match heard.end {
        End::TimedOut => {
            return Err(format!("`{name}` took longer than {:?}", program.timeout));
        }
        End::TooLong => {
            return Err(format!("`{name}` printed more than {} bytes", program.output_bytes_max));
        }
        End::Reported(None) => return Err(format!("nobody knows what became of `{name}`")),
        End::Reported(Some(report)) => report,
    };
    match report {
        Report::Failed(stage, error) => {
            let error = std::io::Error::from_raw_os_error(error);
            Err(match stage {
                Stage::Process => format!("no process for `{name}` was to be had: {error}"),
                Stage::Root => format!("`{name}` cannot be run in the directory: {error}"),
                Stage::User => {
                    let user = escape(program.user.unwrap_or_default().as_bytes());
                    format!("`{name}` cannot be run as `{user}`: {error}")
                }
                Stage::Program => format!("`{name}` cannot be run: {error}"),
            })
        }
        Report::Ended(0) => Ok(heard.output),
        Report::Ended(status) => {
            let line = heard.errors.split(|byte| *byte == b'\n').find(|line| !line.is_empty());
            let said = line.map(|line| format!(" and said: {}", escape(line))).unwrap_or_default();
            Err(match libc::WIFSIGNALED(status) {
                true => format!("`{name}` was ended by signal {}{said}", libc::WTERMSIG(status)),
                false => format!("`{name}` failed with {}{said}", libc::WEXITSTATUS(status)),
            })
        }
    }
}

/// The first of these programs that is there.
pub(in crate::collect) fn find(place: &Place, name: &str) -> Option<String> {
    PATH.iter().map(|directory| format!("{directory}/{name}")).find(|path| {
        crate::file::locate(place.root(), Path::new(path)).is_ok_and(|found| found.is_some())
    })
}
