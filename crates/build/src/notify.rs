//! Tells the people a recipe names how a build ended: a command on this machine, or an address
//! that gets a JSON document. A notice that does not arrive is a warning of the build and
//! changes nothing about its verdict.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};
use umbra_api::build::{BuildPhase, Failure};
use umbra_api::outside::{self, PATIENCE};
use umbra_recipe::{CommandLine, Notify};
use umbra_state::Verdict;

use crate::child;

/// How a build ended, as a notice tells it.
pub(crate) struct Notice<'a> {
    pub(crate) build: u64,
    pub(crate) image: &'a str,
    pub(crate) phase: BuildPhase,
    pub(crate) verdict: Verdict,
    pub(crate) reason: Option<&'a str>,
    pub(crate) failure: Option<&'a Failure>,
}

impl Notice<'_> {
    fn document(&self) -> Value {
        json!({
            "build": self.build,
            "image": self.image,
            "phase": self.phase,
            "verdict": self.verdict,
            "reason": self.reason,
            "failure": self.failure,
        })
    }
}

/// Sends a notice to everybody; returns a sentence for each that did not arrive.
pub(crate) fn send(notice: &Notice<'_>, to: &[Notify]) -> Vec<String> {
    let document = notice.document().to_string();
    to.iter().filter_map(|one| send_one(&document, one).err()).collect()
}

fn send_one(document: &str, to: &Notify) -> Result<(), String> {
    match to {
        // Whoever follows the build sees it there.
        Notify::Stdout => Ok(()),
        Notify::Command(line) => {
            run(document, line).map_err(|reason| format!("the notify command failed: {reason}"))
        }
        Notify::Webhook(url) => {
            post(document, url).map_err(|reason| format!("the webhook {url} failed: {reason}"))
        }
    }
}

fn run(document: &str, line: &CommandLine) -> Result<(), String> {
    let argv = line.argv();
    let (program, arguments) = argv.split_first().ok_or("it is empty")?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|error| error.to_string())?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read its input may still have done its work.
        let _ = stdin.write_all(document.as_bytes());
    }
    let started = Instant::now();
    let ended = child::wait(&mut child, || started.elapsed() > PATIENCE);
    match ended.map_err(|error| error.to_string())? {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(status.to_string()),
        None => {
            child::end(&mut child).map_err(|error| error.to_string())?;
            Err(format!("it was not done after {PATIENCE:?}"))
        }
    }
}

fn post(document: &str, url: &str) -> Result<(), String> {
    let headers = [("content-type".to_owned(), "application/json".to_owned())];
    match outside::post(url, &headers, document.as_bytes()) {
        Ok(200..=299) => Ok(()),
        Ok(status) => Err(format!("it answered {status}")),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read};
    use std::net::TcpListener;

    use super::*;

    const NOTICE: Notice<'_> = Notice {
        build: 7,
        image: "web",
        phase: BuildPhase::Halted,
        verdict: Verdict::Fail,
        reason: Some("a test failed"),
        failure: None,
    };

    #[test]
    fn a_command_gets_the_document() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("notice");
        let line = CommandLine::Shell(format!("cat > {}", file.display()));
        assert_eq!(send(&NOTICE, &[Notify::Stdout, Notify::Command(line)]), Vec::<String>::new());
        let document: Value =
            serde_json::from_slice(&std::fs::read(&file).expect("written")).expect("JSON");
        assert_eq!(document["image"], "web");
        assert_eq!(document["verdict"], "fail");
    }

    #[test]
    fn a_failed_notice_is_said_and_nothing_more() {
        let line = CommandLine::Shell("exit 3".to_owned());
        let said = send(&NOTICE, &[Notify::Command(line)]);
        assert!(said[0].contains("exit status: 3"), "{said:?}");
        let nobody = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("it");
        let said = send(&NOTICE, &[Notify::Webhook(format!("http://{nobody}/hook"))]);
        assert_eq!(said.len(), 1);
    }

    #[test]
    fn a_webhook_gets_the_document_by_post() {
        let server = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/hook?a=b", server.local_addr().expect("address"));
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = server.accept().expect("a connection");
            let mut reader = BufReader::new(stream.try_clone().expect("cloned"));
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                reader.read_line(&mut head).expect("a line");
            }
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length = length.and_then(|length| length.parse().ok()).expect("a length");
            let mut body = vec![0; length];
            reader.read_exact(&mut body).expect("a body");
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").expect("answered");
            (head, body)
        });
        assert_eq!(send(&NOTICE, &[Notify::Webhook(url)]), Vec::<String>::new());
        let (head, body) = thread.join().expect("the server");
        assert!(head.starts_with("POST /hook?a=b HTTP/1.1\r\n"), "{head}");
        let document: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(document["build"], 7);
    }
}
