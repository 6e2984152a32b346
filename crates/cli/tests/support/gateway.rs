//! A gateway of the real program, and servers for it.

// Every test has this of its own and uses a part of it.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// A server that answers everything with its name.
pub(crate) fn server(name: &'static str) -> SocketAddr {
    answering("200 OK", name)
}

/// A server that answers everything with this.
pub(crate) fn answering(status: &'static str, name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut line = String::new();
            while stream.read_line(&mut line).is_ok_and(|read| read > 2) {
                line.clear();
            }
            let length = name.len();
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n");
            let answer = head + name;
            // The client may have what it wants.
            let _ = stream.get_mut().write_all(answer.as_bytes());
        }
    });
    at
}

pub(crate) struct Gateway {
    pub(crate) process: Child,
    pub(crate) at: String,
}

impl Gateway {
    pub(crate) fn start(state: &Path, primary: SocketAddr, more: &[&str]) -> Self {
        Self::listen(state, "127.0.0.1:0", primary, more)
    }

    /// Until it serves.
    pub(crate) fn listen(state: &Path, at: &str, primary: SocketAddr, more: &[&str]) -> Self {
        let primary = primary.to_string();
        Self::with(state, &[&["--listen", at, "--primary", &primary], more].concat())
    }

    /// With exactly these words, until it serves.
    pub(crate) fn with(state: &Path, arguments: &[&str]) -> Self {
        let mut process = command(state)
            .arg("gateway")
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut story = BufReader::new(process.stderr.take().unwrap());
        let (mut said, mut seen) = (String::new(), String::new());
        while !said.starts_with("serving ") {
            said.clear();
            assert!(story.read_line(&mut said).unwrap() > 0, "the gateway ended: {seen}");
            seen.push_str(&said);
        }
        let at = said.split_whitespace().nth(1).expect("where it listens").to_owned();
        // Nobody reads the rest, and it must not wait for that.
        std::thread::spawn(move || story.read_to_end(&mut Vec::new()));
        Self { process, at }
    }

    /// What it answers to curl, called with these words.
    pub(crate) fn ask(&self, arguments: &[&str]) -> String {
        good(&curl(arguments, &format!("http://{}/", self.at)))
    }

    /// What Prometheus would read of the one of this directory.
    pub(crate) fn metrics(state: &Path) -> String {
        let socket = state.join("gateway.sock").display().to_string();
        good(&curl(&["--unix-socket", &socket], "http://gateway/metrics"))
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn command(state: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_umbra"));
    command.env("UMBRA_STATE_DIR", state).env_remove("UMBRA_GATEWAY").stdin(Stdio::null());
    command
}

pub(crate) fn umbra(state: &Path, arguments: &[&str]) -> Output {
    command(state).args(arguments).output().unwrap()
}

/// Whatever hangs fails in this time.
pub(crate) const SECONDS_MAX: &str = "60";

pub(crate) fn curl_command(arguments: &[&str]) -> Command {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--max-time", SECONDS_MAX]).args(arguments);
    curl
}

pub(crate) fn curl(arguments: &[&str], url: &str) -> Output {
    curl_command(arguments).arg(url).output().expect("curl: apt-get install curl")
}

#[track_caller]
pub(crate) fn good(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}
