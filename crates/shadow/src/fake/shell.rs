//! The few commands that make-believe shadows understand, and as much of a shell as joins
//! them: `;`, `$NAME`, `$$`, `> FILE` and `>&2`.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use umbra_state::{Command, Exit};

use super::lock;
use super::machine::{File, Process};

const PROGRAMS: [&str; 13] = [
    "cat", "echo", "exit", "false", "id", "kill", "mkfifo", "pwd", "read", "sh", "sleep", "stty",
    "true",
];

/// Where a command reads.
pub(super) enum Source<'a> {
    Bytes(&'a [u8]),
    Terminal(&'a UnixStream),
}

/// Where a command's two streams go.
pub(super) enum Sinks<'a> {
    Apart(Arc<Mutex<Vec<u8>>>, Arc<Mutex<Vec<u8>>>),
    Together(Arc<Mutex<Vec<u8>>>),
    Terminal(&'a UnixStream),
}

impl Sinks<'_> {
    fn write(&self, bytes: &[u8], to_stderr: bool) {
        match self {
            Self::Apart(_, stderr) if to_stderr => lock(stderr).extend_from_slice(bytes),
            Self::Apart(sink, _) | Self::Together(sink) => lock(sink).extend_from_slice(bytes),
            Self::Terminal(terminal) => {
                let mut terminal: &UnixStream = terminal;
                // Nobody reads it any more.
                let _ = terminal.write_all(bytes);
            }
        }
    }
}

/// Why a command cannot be started at all, if so.
pub(super) fn check(command: &Command) -> Result<(), String> {
    let program = command.argv.first().ok_or("run nothing: the command is empty")?;
    let name = program.strip_prefix("/bin/").unwrap_or(program);
    if !PROGRAMS.contains(&name) {
        return Err(format!("{program}: no such program"));
    }
    if !["/", "/tmp"].contains(&command.cwd.as_str()) {
        return Err(format!("enter directory {}: no such directory", command.cwd));
    }
    match &command.user {
        Some(user) if user != "root" && user.parse::<u32>().is_err() => {
            Err(format!("no user {user} in /etc/passwd"))
        }
        _ => Ok(()),
    }
}

/// Runs a command to its end.
pub(super) fn run(
    command: &Command,
    process: &Process,
    source: Source<'_>,
    sinks: &Sinks<'_>,
) -> Exit {
    let mut shell = Shell { command, process, source, sinks };
    let ended = match &command.argv[..] {
        [sh, options, script] if sh.ends_with("sh") && options.contains('c') => {
            shell.script(script, options.contains('e'))
        }
        argv => shell.command(argv),
    };
    let exit = ended.map_or_else(|exit| exit, Exit::Code);
    process.end(exit);
    exit
}

/// A code, or how the whole process was stopped.
type Ended = Result<i32, Exit>;

struct Shell<'a> {
    command: &'a Command,
    process: &'a Process,
    source: Source<'a>,
    sinks: &'a Sinks<'a>,
}

impl Shell<'_> {
    fn script(&mut self, script: &str, stop_at_failure: bool) -> Ended {
        let mut code = 0;
        for line in script.split(';') {
            let words: Vec<String> = line.split_whitespace().map(|w| self.expand(w)).collect();
            code = self.command(&words)?;
            if code != 0 && stop_at_failure {
                break;
            }
        }
        Ok(code)
    }

    fn expand(&self, word: &str) -> String {
        let Some((before, name)) = word.split_once('$') else { return word.to_owned() };
        if name == "$" {
            return format!("{before}{}", self.process.pid);
        }
        let value = self.command.env.iter().find(|(key, _)| key == name);
        format!("{before}{}", value.map_or("", |(_, value)| value))
    }

    fn command(&mut self, words: &[String]) -> Ended {
        let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
        let to_stderr = words.last() == Some(&">&2");
        if to_stderr {
            words.pop();
        }
        let file = match &words[..] {
            [.., ">", file] => Some((*file).to_owned()),
            _ => None,
        };
        if file.is_some() {
            words.truncate(words.len() - 2);
        }
        let printed = match self.builtin(&words)? {
            Ok(printed) => printed,
            Err(code) => return Ok(code),
        };
        match file {
            Some(file) => self.write_file(&file, printed),
            None => {
                self.sinks.write(&printed, to_stderr);
                Ok(0)
            }
        }
    }

    /// What it prints, or its code where that is not 0.
    fn builtin(&mut self, words: &[&str]) -> Result<Result<Vec<u8>, i32>, Exit> {
        let quiet = Ok(Vec::new());
        // Whatever it is, a frozen process does not do it.
        self.process.when(|_| Some(()))?;
        Ok(match words {
            ["true"] | [] => quiet,
            ["false"] => Err(1),
            ["echo", rest @ ..] => Ok(format!("{}\n", rest.join(" ")).into_bytes()),
            ["pwd"] => Ok(format!("{}\n", self.command.cwd).into_bytes()),
            ["id", "-u"] => {
                let user = self.command.user.as_deref().unwrap_or("0");
                Ok(format!("{}\n", user.replace("root", "0")).into_bytes())
            }
            ["exit", code] => return Err(Exit::Code(code.parse().unwrap_or(2))),
            ["sleep", seconds] => {
                let seconds = seconds.parse().unwrap_or(0);
                self.process.sleep(Duration::from_secs(seconds))?;
                quiet
            }
            ["kill", "-0", pid] => {
                let pid = pid.parse().unwrap_or(0);
                let runs = self.process.when(|world| Some(world.runs(pid)))?;
                if runs { quiet } else { Err(1) }
            }
            ["kill", "-9", _] => return Err(Exit::Signal(libc::SIGKILL)),
            ["mkfifo", path] => {
                let path = (*path).to_owned();
                self.process
                    .when(|world| Some(world.files.insert(path.clone(), File::Fifo(None))))?;
                quiet
            }
            ["cat"] => Ok(self.read_all()),
            ["cat", path] => self.read_file(path)?,
            ["read", _] => {
                self.read_line();
                quiet
            }
            ["stty", "size"] => match self.process.terminal() {
                Some(size) => Ok(format!("{} {}\n", size.rows, size.columns).into_bytes()),
                None => Err(1),
            },
            _ => Err(127),
        })
    }

    fn read_all(&self) -> Vec<u8> {
        match self.source {
            Source::Bytes(bytes) => bytes.to_vec(),
            Source::Terminal(_) => Vec::new(),
        }
    }

    fn read_line(&self) {
        if let Source::Terminal(terminal) = self.source {
            // What was typed is of no interest to any command here.
            let _ = BufReader::new(terminal).read_line(&mut String::new());
        }
    }

    fn read_file(&self, path: &str) -> Result<Result<Vec<u8>, i32>, Exit> {
        self.process.when(|world| match world.files.get_mut(path) {
            None => Some(Err(1)),
            Some(File::Regular(bytes)) => Some(Ok(bytes.clone())),
            Some(File::Fifo(written)) => written.take().map(Ok),
        })
    }

    fn write_file(&self, path: &str, bytes: Vec<u8>) -> Ended {
        self.process.when(|world| {
            match world.files.get_mut(path) {
                Some(File::Fifo(Some(_))) => return None,
                Some(File::Fifo(written)) => *written = Some(bytes.clone()),
                _ => {
                    world.files.insert(path.to_owned(), File::Regular(bytes.clone()));
                }
            }
            Some(0)
        })
    }
}
