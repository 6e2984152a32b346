//! A program to run inside a shadow, and what became of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What to run, as whom, where and for how long at most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Program and arguments; the program is looked up in `PATH` of `env`.
    pub argv: Vec<String>,
    /// The whole environment: nothing is inherited from the caller.
    #[serde(default)]
    pub env: Vec<(String, String)>,
    /// Working directory inside the shadow.
    #[serde(default = "root_dir")]
    pub cwd: String,
    /// User name or numeric id as the shadow's own `/etc/passwd` knows it; `None` is root.
    #[serde(default)]
    pub user: Option<String>,
    /// Bytes given on standard input, which is then closed.
    #[serde(default)]
    pub stdin: Vec<u8>,
    /// When to kill it and all its children.
    #[serde(default)]
    pub timeout: Option<Duration>,
    /// How much of each output stream is kept; the rest is read, counted and dropped.
    #[serde(default = "default_output_bytes_max")]
    pub output_bytes_max: u64,
}

/// The `PATH` every command gets unless its environment names one.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const OUTPUT_BYTES_MAX: u64 = 1 << 20;

fn root_dir() -> String {
    "/".to_owned()
}

fn default_output_bytes_max() -> u64 {
    OUTPUT_BYTES_MAX
}

impl Command {
    /// A program with arguments, run as root in `/` with an ordinary environment.
    pub fn new<A: Into<String>>(argv: impl IntoIterator<Item = A>) -> Self {
        let env = [("PATH", DEFAULT_PATH), ("HOME", "/root"), ("LANG", "C.UTF-8")];
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            env: env.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec(),
            cwd: root_dir(),
            user: None,
            stdin: Vec::new(),
            timeout: None,
            output_bytes_max: OUTPUT_BYTES_MAX,
        }
    }

    /// A line for `/bin/sh -e`.
    pub fn shell(script: impl Into<String>) -> Self {
        Self::new(["/bin/sh".to_owned(), "-ec".to_owned(), script.into()])
    }

    /// The same command, killed after `timeout`.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The same command with one more (or another) environment variable.
    pub fn with_env(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        let key = key.into();
        self.env.retain(|(known, _)| *known != key);
        self.env.push((key, value.into()));
        self
    }
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// It returned this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// It outlived its time and was killed.
    TimedOut,
}

impl Exit {
    /// Whether it returned 0.
    pub fn success(self) -> bool {
        self == Self::Code(0)
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::TimedOut => f.write_str("killed at its time limit"),
        }
    }
}

/// What a program left behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// How it ended.
    pub exit: Exit,
    /// The beginning of its standard output, at most `output_bytes_max`.
    pub stdout: Vec<u8>,
    /// The beginning of its standard error, likewise.
    pub stderr: Vec<u8>,
    /// Bytes of both streams that were read but not kept.
    pub dropped_bytes: u64,
    /// From start to end.
    pub duration: Duration,
}
