//! Agents at the other end of ssh: put there if they are missing, and started.
//!
//! ```text
//! daemon                                  the other machine
//!   look ──────────── ssh, sh ──────────>   kernel, architecture, digest of DIR/umbra-agent-…
//!   copy, if it is missing or another ──>   beside its place, digest, tried, renamed
//!   start ─────────── ssh ──────────────>   exec DIR/umbra-agent-… agent
//! ```
//!
//! The program's name holds its digest: agents of two daemons, or of two versions, do not get
//! in each other's way, and a rollback's timer still finds the program it was armed with. What
//! is said there is put together from words that need no quotes ([`Remote::check`]).

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{ChildStderr, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use umbra_drift::remote::{FIXED, Remote};
use umbra_state::escape::escape_output;

use super::agents::{Agent, LOOK, Leash, Process, There, ends, started};

/// How long a look at the other machine may take.
const LOOK_TIME: Duration = Duration::from_secs(30);
/// How long it may take to copy the agent there.
const COPY_TIME: Duration = Duration::from_secs(300);
/// What a script may answer.
const ANSWER_BYTES_MAX: u64 = 16 << 10;
/// How much of what ssh says is kept: the end of it.
const COMPLAINT_BYTES_MAX: usize = 4 << 10;
const COMPLAINT_CHARS_MAX: usize = 1000;
/// How long what was said last takes to get here once the line has ended.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The line that begins an answer: a shell's own files may say something first.
const MARK: &str = "umbra:";

/// Starts agents by way of ssh.
#[derive(Debug, Clone)]
pub struct Ssh {
    /// OpenSSH's client.
    pub program: PathBuf,
    /// The agent's program, for machines like this one.
    pub agent: PathBuf,
}

impl Ssh {
    /// Starts the agent there.
    pub(super) fn start(&self, remote: &Remote, cancelled: &AtomicBool) -> io::Result<Agent> {
        // Whoever kept it may have edited what was checked once.
        remote.check().map_err(io::Error::other)?;
        let there = match &remote.agent {
            Some(path) => There { path: path.clone(), copied_bytes: None },
            None => self.provide(remote, cancelled)?,
        };
        let mut command = self.command(remote, &format!("exec {} agent", there.path));
        let mut child = started(command.stderr(Stdio::piped()))?;
        let said = child.stderr.take().map(Said::listen).transpose()?;
        let (to, from) = ends(&mut child)?;
        let leash = Connection {
            process: Process::new(child),
            said,
            destination: remote.destination.clone(),
        };
        Ok(Agent { to, from, leash: Arc::new(leash), there: Some(there) })
    }

    /// Sees to it that this version of the agent is there.
    fn provide(&self, remote: &Remote, cancelled: &AtomicBool) -> io::Result<There> {
        let own = Own::read(&self.agent)?;
        let path = format!("{}/umbra-agent-{}", remote.dir(), &own.digest[..16]);
        let look = format!("echo {MARK}; uname -s; uname -m; sha256sum {path} 2>/dev/null; true");
        let answer = self.script(remote, &look, Stdio::null(), LOOK_TIME, cancelled)?;
        match Look::of(&answer, &own.digest).map_err(io::Error::other)? {
            Look::There => return Ok(There { path, copied_bytes: None }),
            Look::Missing => {}
        }
        let dir = remote.dir();
        // Whatever goes wrong, or wherever the line is cut: nothing has the name but the whole.
        let copy = format!(
            "umask 077; mkdir -p {dir} || exit 1; \
             [ -O {dir} ] || {{ echo {dir} belongs to somebody else >&2; exit 1; }}; n={path}.$$; \
             trap \"rm -f $n\" EXIT; cat > $n && chmod 700 $n || exit 1; \
             s=$(sha256sum < $n) || exit 1; \
             [ \"${{s%% *}}\" = {} ] || {{ echo it arrived damaged >&2; exit 1; }}; \
             $n --version > /dev/null || {{ echo it does not run there >&2; exit 1; }}; \
             mv -f $n {path} && echo {MARK}",
            own.digest
        );
        let from = Stdio::from(own.file);
        let copied = self.script(remote, &copy, from, COPY_TIME, cancelled);
        copied.map_err(|error| {
            io::Error::other(format!("its agent cannot be put at {path}: {error}"))
        })?;
        Ok(There { path, copied_bytes: Some(own.bytes) })
    }

    /// Has a script run there, and returns the lines of its answer.
    fn script(
        &self,
        remote: &Remote,
        script: &str,
        input: Stdio,
        limit: Duration,
        cancelled: &AtomicBool,
    ) -> io::Result<Vec<String>> {
        let mut command = self.command(remote, &format!("exec sh -c '{script}'"));
        let mut child = command
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let said = Said::listen(stderr)?;
        let answer = std::thread::Builder::new().name("umbra-ssh".into()).spawn(move || {
            let mut bytes = Vec::new();
            // What was read until it broke is the answer.
            let _ = stdout.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes);
            bytes
        })?;
        let until = Instant::now() + limit;
        let ended = loop {
            if let Some(status) = child.try_wait()? {
                break Ok(status);
            }
            let why = match cancelled.load(Ordering::Relaxed) {
                true => "nobody waits for it any more".to_owned(),
                false if Instant::now() < until => {
                    std::thread::sleep(LOOK);
                    continue;
                }
                false => format!("{} did not answer in {} s", remote.destination, limit.as_secs()),
            };
            child.kill()?;
            child.wait()?;
            break Err(io::Error::other(why));
        };
        let answer = answer.join().unwrap_or_default();
        let said = said.last_words();
        let status = ended?;
        if !status.success() {
            return Err(io::Error::other(why(&remote.destination, status, said)));
        }
        let text = escape_output(&answer).to_string();
        let lines = text.lines().map(|line| line.trim().to_owned());
        Ok(lines.skip_while(|line| line != MARK).skip(1).collect())
    }

    fn command(&self, remote: &Remote, there: &str) -> Command {
        let mut command = Command::new(&self.program);
        for (keyword, value) in FIXED {
            command.arg("-o").arg(format!("{keyword}={value}"));
        }
        for option in &remote.options {
            command.arg("-o").arg(option);
        }
        command.args(["-T", "--", &remote.destination, there]);
        command
    }
}

/// The agent's program beside this one.
struct Own {
    file: File,
    bytes: u64,
    /// SHA-256, which every machine can count.
    digest: String,
}

impl Own {
    fn read(path: &std::path::Path) -> io::Result<Self> {
        let unread = |error: io::Error| {
            io::Error::other(format!(
                "the agent's program {} cannot be read: {error}; install it beside `umbra`, or \
                 name one that is on that machine with `--agent`",
                path.display()
            ))
        };
        let mut file = File::open(path).map_err(unread)?;
        let mut hasher = Sha256::new();
        let bytes = io::copy(&mut file, &mut hasher).map_err(unread)?;
        io::Seek::rewind(&mut file).map_err(unread)?;
        let digest = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { file, bytes, digest })
    }
}

/// What a look at the other machine says of the agent.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    There,
    Missing,
}

impl Look {
    /// From the lines: kernel, architecture, and what `sha256sum` says if it is there.
    fn of(lines: &[String], digest: &str) -> Result<Self, String> {
        let [kernel, machine, sum @ ..] = lines else {
            return Err("it does not say what machine it is".to_owned());
        };
        let own = architecture(std::env::consts::ARCH);
        let shown = |text: &str| text.chars().take(40).collect::<String>();
        if kernel != "Linux" || machine != own {
            return Err(format!(
                "it is {} on {}, and the agent beside this `umbra` is for Linux on {own}: \
                 install one there and name it with `--agent`",
                shown(kernel),
                shown(machine)
            ));
        }
        let there = sum.first().is_some_and(|line| line.split(' ').next() == Some(digest));
        Ok(if there { Self::There } else { Self::Missing })
    }
}

/// An architecture as `uname -m` calls it.
fn architecture(name: &str) -> &str {
    match name {
        "x86" => "i686",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

/// ssh, while the agent at its other end runs.
struct Connection {
    process: Process,
    said: Option<Said>,
    destination: String,
}

impl Leash for Connection {
    fn end(&self, patience: Duration) {
        self.process.end(patience);
    }

    fn complaint(&self) -> Option<String> {
        let said = self.said.as_ref()?.last_words();
        (!said.is_empty()).then(|| explained(&self.destination, &said))
    }
}

/// The end of what a process says on its standard error.
struct Said {
    kept: Arc<Mutex<Vec<u8>>>,
    listener: JoinHandle<()>,
}

impl Said {
    fn listen(mut stderr: ChildStderr) -> io::Result<Self> {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let keeps = Arc::clone(&kept);
        let thread = std::thread::Builder::new().name("umbra-ssh".into());
        let listener = thread.spawn(move || {
            let mut buffer = [0; 1024];
            // It is read to its end whatever it says: a full pipe would stop who says it.
            while let Ok(count @ 1..) = stderr.read(&mut buffer) {
                let mut kept = keeps.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend_from_slice(&buffer[..count]);
                let beyond = kept.len().saturating_sub(COMPLAINT_BYTES_MAX);
                kept.drain(..beyond);
            }
        })?;
        Ok(Self { kept, listener })
    }

    /// What was said, as one printable line.
    fn last_words(&self) -> String {
        let until = Instant::now() + LAST_WORDS;
        while !self.listener.is_finished() && Instant::now() < until {
            std::thread::sleep(LOOK);
        }
        one_line(&self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Lines that say something, in one: ssh frames what is grave with `@`.
fn one_line(bytes: &[u8]) -> String {
    let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let told = lines.filter(|line| !line.is_empty() && !line.starts_with(b"@"));
    let told: Vec<String> = told.map(|line| escape_output(line).to_string()).collect();
    let told = told.join("; ").replace('\t', " ");
    let beyond = told.chars().count().saturating_sub(COMPLAINT_CHARS_MAX);
    told.chars().skip(beyond).collect()
}

/// Why a command failed.
fn why(destination: &str, status: ExitStatus, said: String) -> String {
    match said.is_empty() {
        true => format!("ssh to {destination} failed: {status}"),
        false => explained(destination, &said),
    }
}

/// What ssh said, and what to do about it where that is not plain.
fn explained(destination: &str, said: &str) -> String {
    let key =
        ["Host key verification failed", "HOST IDENTIFICATION HAS CHANGED", "host key is known"];
    let mut text = format!("ssh to {destination}: {said}");
    if key.iter().any(|words| said.contains(words)) {
        text.push_str(&format!(
            " (no host key is accepted unseen: compare its fingerprint by `ssh {destination}`, as \
             the user the daemon runs as, then try again)"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn what_a_look_says_is_read_strictly() {
        #[track_caller]
        fn check(answer: &str, expected: Result<Look, &str>) {
            match (Look::of(&lines(answer), "ab"), expected) {
                (Ok(look), Ok(expected)) => assert_eq!(look, expected),
                (Err(why), Err(words)) => assert!(why.contains(words), "{why}"),
                (other, expected) => panic!("{other:?}, not {expected:?}"),
            }
        }
        let own = architecture(std::env::consts::ARCH);
        check(&format!("Linux\n{own}\n"), Ok(Look::Missing));
        check(&format!("Linux\n{own}\nab  /var/lib/umbra-agent/x\n"), Ok(Look::There));
        check(&format!("Linux\n{own}\nabc  /var/lib/umbra-agent/x\n"), Ok(Look::Missing));
        check("Linux\npdp11\n", Err("it is Linux on pdp11"));
        check(&format!("FreeBSD\n{own}\n"), Err("it is FreeBSD"));
        check("", Err("does not say"));
    }

    #[test]
    fn what_ssh_says_is_one_bounded_printable_line() {
        let said = b"@@@@@@@@\r\n@ WARNING @\r\nIt is \x1b[31mpossible\r\n\r\nHost key verification failed.\r\n";
        let line = one_line(said);
        assert!(!line.chars().any(char::is_control), "{line}");
        assert!(line.ends_with("; Host key verification failed.") && !line.contains('@'), "{line}");
        assert!(explained("web1", &line).contains("compare its fingerprint by `ssh web1`"));
        assert!(!explained("web1", "Connection refused").contains("fingerprint"));
        assert_eq!(one_line(&[b'x'; 5000]).len(), COMPLAINT_CHARS_MAX);
    }

    #[test]
    fn what_is_fixed_comes_before_what_is_wanted() {
        let ssh = Ssh { program: "ssh".into(), agent: "umbra-agent".into() };
        let remote = Remote {
            destination: "root@web1".to_owned(),
            options: vec!["Port=2222".to_owned()],
            agent: None,
            dir: None,
        };
        let command = ssh.command(&remote, "true");
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
        assert_eq!(words[..4], ["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"]);
        assert_eq!(words[words.len() - 6..], ["-o", "Port=2222", "-T", "--", "root@web1", "true"]);
    }
}
