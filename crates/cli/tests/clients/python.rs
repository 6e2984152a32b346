//! Servers and clients that are Python programs.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Debian's, for which its packages are.
const PYTHON: &str = "/usr/bin/python3";

/// A program of these tests, as server and client.
pub(crate) struct Program(pub(crate) &'static str);

/// Its server, ended when it is dropped.
pub(crate) struct Server {
    process: Child,
    port: u16,
}

impl Server {
    /// Where it listens.
    pub(crate) fn at(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }
}

impl Program {
    fn command(&self, arguments: &[&str]) -> Command {
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(self.0);
        let mut python = Command::new(PYTHON);
        // Nothing of the account's own.
        python.args(["-I", "-B"]).arg(file).args(arguments).stdin(Stdio::null());
        python
    }

    pub(crate) fn serve(&self) -> Server {
        let mut process = self.command(&["serve"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut said = BufReader::new(process.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        let port = line.trim().parse();
        let server = Server { process, port: port.clone().unwrap_or_default() };
        assert!(port.is_ok(), "{} does not serve: {line}", self.0);
        server
    }

    /// What its client checks of a server there; it must end well.
    #[track_caller]
    pub(crate) fn ask(&self, at: &str) -> String {
        let output = self.command(&["ask", at]).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {told}", self.0);
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
