//! The side of `umbra gateway` that clients see: TLS, the access log, and a successor.

#![allow(clippy::unwrap_used)]

#[path = "support/gateway.rs"]
mod support;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use support::{Gateway, command, curl, good, umbra};

const PATIENCE: Duration = Duration::from_secs(30);

/// A server that keeps connections and answers each request with how it was asked, and its body.
fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            // Until the gateway closes it.
            thread::spawn(move || while answer(&mut stream).is_ok_and(|more| more) {});
        }
    });
    at
}

fn answer(stream: &mut BufReader<TcpStream>) -> io::Result<bool> {
    let Some(head) = head(stream)? else { return Ok(false) };
    let header = |name: &str| {
        let line = head.iter().find(|line| line.to_ascii_lowercase().starts_with(name));
        line.and_then(|line| line.split_once(": ")).map(|(_, value)| value.to_owned())
    };
    let length = header("content-length:").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    let proto = header("x-forwarded-proto:").unwrap_or_default();
    let text = [proto.as_bytes(), b" ", &body].concat();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", text.len());
    stream.get_mut().write_all(&[head.as_bytes(), &text].concat())?;
    Ok(true)
}

/// Lines of a head; `None` at the end.
fn head(stream: &mut impl BufRead) -> io::Result<Option<Vec<String>>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return if lines.is_empty() {
                Ok(None)
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            };
        }
        match line.trim_end() {
            "" => return Ok(Some(lines)),
            line => lines.push(line.to_owned()),
        }
    }
}

/// Asks until it is so.
#[track_caller]
fn until<T>(what: &str, mut is: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = is() {
            return found;
        }
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// A certificate for these names, which is its own authority.
fn certificate(dir: &Path, file: &str, names: &[&str]) -> (PathBuf, PathBuf) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let (cert, key) = (dir.join(format!("{file}.crt")), dir.join(format!("{file}.key")));
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    std::fs::write(&cert, made.cert.pem()).unwrap();
    (cert, key)
}

fn status(state: &Path) -> serde_json::Value {
    serde_json::from_str(&good(&umbra(state, &["--json", "gateway", "status"]))).unwrap()
}

#[test]
fn clients_speak_tls_and_get_the_certificate_of_the_name_they_ask_for() {
    let dir = tempfile::tempdir().unwrap();
    let (state, certs) = (dir.path().join("state"), dir.path());
    let first = certificate(certs, "first", &["first.test"]);
    let second = certificate(certs, "second", &["app.test", "*.app.test"]);
    let text = |path: &Path| path.display().to_string();
    let gateway = Gateway::start(
        &state,
        server(),
        &[
            "--tls-cert",
            &text(&first.0),
            "--tls-key",
            &text(&first.1),
            "--tls-cert",
            &text(&second.0),
            "--tls-key",
            &text(&second.1),
        ],
    );
    let port = gateway.at.rsplit_once(':').unwrap().1;
    let ask = |name: &str, ca: &Path, more: &[&str]| {
        let resolve = format!("{name}:{port}:127.0.0.1");
        let mut arguments = vec!["--resolve", &resolve, "--cacert", ca.to_str().unwrap()];
        arguments.extend(more);
        arguments.extend(["-w", " %{http_version}"]);
        curl(&arguments, &format!("https://{name}:{port}/"))
    };
    for (version, says) in [("--http1.1", "https  1.1"), ("--http2", "https  2")] {
        for (name, ca) in
            [("first.test", &first.0), ("app.test", &second.0), ("a.app.test", &second.0)]
        {
            for tls in [["--tlsv1.2", "--tls-max", "1.2"], ["--tlsv1.3", "--tls-max", "1.3"]] {
                let said = good(&ask(name, ca, &[&[version][..], &tls].concat()));
                assert_eq!(said, says, "{name} {tls:?}");
            }
        }
    }
    let old = ask("first.test", &first.0, &["--tls-max", "1.1"]);
    assert!(!old.status.success(), "TLS 1.1 is not spoken");
    let other = ask("other.test", &second.0, &[]);
    assert!(!other.status.success(), "the first is for names nobody has");

    let shown = good(&umbra(&state, &["gateway", "status"]));
    assert!(shown.contains("app.test, *.app.test"), "{shown}");

    // A file that changes comes into force by itself; a bad one does not.
    let third = certificate(certs, "third", &["first.test"]);
    std::fs::rename(&third.1, &first.1).unwrap();
    std::fs::rename(&third.0, &first.0).unwrap();
    until("the new certificate is in force", || {
        ask("first.test", &first.0, &[]).status.success().then_some(())
    });
    std::fs::write(&second.1, "garbage").unwrap();
    let said = until("it says so", || status(&state)["tls"]["refused"].as_str().map(str::to_owned));
    assert!(said.contains("second.key") && said.contains("BEGIN PRIVATE KEY"), "{said}");
    assert_eq!(good(&ask("app.test", &second.0, &["--http1.1"])), "https  1.1");
    let reload = umbra(&state, &["gateway", "reload"]);
    assert_eq!(reload.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&reload.stderr).contains("second.key"));
    let fourth = certificate(certs, "second", &["app.test"]);
    good(&umbra(&state, &["gateway", "reload"]));
    assert_eq!(status(&state)["tls"]["refused"], serde_json::Value::Null);
    good(&ask("app.test", &fourth.0, &[]));
}

#[test]
fn what_cannot_be_served_is_said_before_anything_is() {
    let dir = tempfile::tempdir().unwrap();
    let (state, path) = (dir.path().join("state"), dir.path());
    let (one, two) = (certificate(path, "one", &["a"]), certificate(path, "two", &["a"]));
    let fails = |more: &[&str], code: i32, says: &str| {
        let all = ["gateway", "--listen", "127.0.0.1:0", "--primary", "127.0.0.1:9"];
        let output = umbra(&state, &[&all[..], more].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(says), "{said}");
    };
    let text = |path: &Path| path.display().to_string();
    let (cert, key, other) = (text(&one.0), text(&one.1), text(&two.1));
    fails(&["--tls-cert", &cert, "--tls-key", &other], 3, "another certificate's");
    fails(&["--tls-cert", &cert, "--tls-key", &cert], 3, "BEGIN PRIVATE KEY");
    fails(&["--tls-cert", "/nowhere", "--tls-key", &key], 3, "/nowhere");
    fails(&["--tls-cert", &cert], 2, "--tls-key");
    fails(&["--tls-cert", &cert, "--tls-cert", &cert, "--tls-key", &key], 2, "each has its own");
    fails(&["--tls-dir", &text(&state)], 3, "state");
    fails(&["--access-log", "/nowhere/log"], 3, "/nowhere/log");
    fails(&["--access-format", "common"], 2, "--access-log");
}

#[test]
fn a_directory_of_certificates_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let certs = dir.path().join("certs");
    std::fs::create_dir(&certs).unwrap();
    certificate(&certs, "a", &["a.test"]);
    certificate(&certs, "b", &["b.test"]);
    let _gateway = Gateway::start(&state, server(), &["--tls-dir", certs.to_str().unwrap()]);
    let names = || {
        let status = status(&state);
        let all = status["tls"]["certificates"].as_array().unwrap().iter();
        all.map(|one| one["names"][0].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(), ["a.test", "b.test"]);
    certificate(&certs, "c", &["c.test"]);
    until("a new one is found", || (names().len() == 3).then_some(()));
}

#[test]
fn each_request_is_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let (state, log) = (dir.path().join("state"), dir.path().join("log"));
    let gateway = Gateway::start(&state, server(), &["--access-log", log.to_str().unwrap()]);
    let url = format!("http://{}", gateway.at);
    good(&curl(&["-A", "one\ttwo \"three\"", "-e", "http://from/"], &format!("{url}/a?b=c")));
    good(&curl(&["--http2-prior-knowledge", "-d", "hello"], &format!("{url}/d")));
    let lines = |count: usize| {
        until("the lines are written", || {
            let text = std::fs::read_to_string(&log).unwrap();
            let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
            let lines: Vec<serde_json::Value> = lines.collect();
            (lines.len() == count).then_some(lines)
        })
    };
    let told = lines(2);
    for (line, (key, is)) in [
        (0, ("method", "GET".into())),
        (0, ("target", "/a?b=c".into())),
        (0, ("version", "HTTP/1.1".into())),
        (0, ("client", "127.0.0.1".into())),
        (0, ("status", 200.into())),
        (0, ("bytes", 5.into())),
        (0, ("user_agent", "one\\u{9}two \"three\"".into())),
        (0, ("referer", "http://from/".into())),
        (0, ("whole", true.into())),
        (1, ("method", "POST".into())),
        (1, ("version", "HTTP/2.0".into())),
        (1, ("bytes", 10.into())),
        (1, ("user_agent", told[1]["user_agent"].clone())),
    ] {
        let is: serde_json::Value = is;
        assert_eq!(told[line][key], is, "{key}");
    }
    assert!(told[0]["end_us"].as_u64() >= told[0]["head_us"].as_u64());
    // It is moved away, and a new one is begun.
    std::fs::rename(&log, dir.path().join("old")).unwrap();
    gateway.signal(rustix::process::Signal::HUP);
    until("there is a new file", || log.exists().then_some(()));
    good(&curl(&[], &format!("{url}/new")));
    assert_eq!(lines(1)[0]["target"], "/new");
    assert_eq!(status(&state)["access_log"]["written"], 3);
}

/// Clients that ask without end, each of a kind, and count what went wrong.
struct Load {
    ends: Arc<AtomicBool>,
    clients: Vec<thread::JoinHandle<()>>,
    asked: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
}

impl Load {
    fn begin(at: &str) -> Self {
        let (ends, asked, failed): (Arc<AtomicBool>, Arc<AtomicU64>, Arc<AtomicU64>) =
            Default::default();
        let clients = [true, true, false, false].map(|keeps| {
            let (at, ends) = (at.to_owned(), Arc::clone(&ends));
            let (asked, failed) = (Arc::clone(&asked), Arc::clone(&failed));
            thread::spawn(move || {
                let mut kept = None;
                while !ends.load(Ordering::Relaxed) {
                    asked.fetch_add(1, Ordering::Relaxed);
                    if let Err(error) = ask(&at, &mut kept, keeps) {
                        eprintln!("a request failed: {error}");
                        kept = None;
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        });
        Self { ends, clients: clients.into(), asked, failed }
    }

    /// Until so many more were asked.
    fn goes_on(&self, more: u64) {
        let end = self.asked.load(Ordering::Relaxed) + more;
        until("requests are answered", || {
            (self.asked.load(Ordering::Relaxed) >= end).then_some(())
        });
    }

    fn end(self) -> (u64, u64) {
        self.ends.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().unwrap();
        }
        (self.asked.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }
}

/// One request, on the connection that was kept if there is one. No other is made for it.
fn ask(at: &str, kept: &mut Option<BufReader<TcpStream>>, keeps: bool) -> io::Result<()> {
    let mut stream = match kept.take() {
        Some(stream) => stream,
        None => BufReader::new(TcpStream::connect(at)?),
    };
    stream.get_ref().set_read_timeout(Some(PATIENCE))?;
    let closes = if keeps { "" } else { "Connection: close\r\n" };
    let asks = format!("POST / HTTP/1.1\r\nHost: a\r\n{closes}Content-Length: 5\r\n\r\nhello");
    stream.get_mut().write_all(asks.as_bytes())?;
    let head = head(&mut stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    if !head[0].starts_with("HTTP/1.1 200 ") {
        return Err(io::Error::other(format!("{head:?}")));
    }
    let mut body = [0; 10];
    stream.read_exact(&mut body)?;
    let closed = head.iter().any(|line| line.eq_ignore_ascii_case("connection: close"));
    *kept = (!closed && keeps).then_some(stream);
    Ok(())
}

#[test]
fn a_successor_takes_over_and_no_request_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (state, primary) = (dir.path(), server());
    let mut old = Gateway::start(state, primary, &[]);
    let shadow = server().to_string();
    good(&umbra(state, &["mirror", "start", "new", "--to", &shadow, "--percent", "12.5"]));
    let load = Load::begin(&old.at);
    load.goes_on(100);
    // Half a request, whose other half comes once the successor serves.
    let mut slow = BufReader::new(TcpStream::connect(&old.at).unwrap());
    slow.get_mut().write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe").unwrap();
    load.goes_on(100);

    let new = Gateway::listen(state, &old.at, primary, &["--replace"]);
    assert_eq!(new.at, old.at);
    load.goes_on(200);
    slow.get_mut().write_all(b"llo").unwrap();
    let answered = head(&mut slow).unwrap().expect("an answer");
    assert!(answered[0].starts_with("HTTP/1.1 200 "), "{answered:?}");
    assert!(old.process.wait().unwrap().success(), "it ends once nothing is under way");
    load.goes_on(200);
    let status = status(state);
    assert_eq!(status["mirrors"][0]["name"], "new");
    assert_eq!(status["mirrors"][0]["percent"], 12.5);
    assert!(status["requests"].as_u64().unwrap() >= 200, "the successor answers");

    // Once more, under the same load; where requests go it is told by the one before.
    let mut newer = Gateway::with(state, &["--listen", &new.at, "--replace"]);
    load.goes_on(200);
    let (asked, failed) = load.end();
    assert_eq!(failed, 0, "of {asked}");
    newer.signal(rustix::process::Signal::TERM);
    assert!(newer.process.wait().unwrap().success());
    assert!(!state.join("gateway.sock").exists(), "the last one removes it");
}

#[test]
fn a_successor_that_fails_leaves_the_gateway_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (state, primary) = (dir.path(), server());
    let gateway = Gateway::start(state, primary, &[]);
    let load = Load::begin(&gateway.at);
    let start = ["gateway", "--primary", "127.0.0.1:9", "--listen"];
    let elsewhere = umbra(state, &[&start[..], &["127.0.0.1:1", "--replace"]].concat());
    assert_eq!(elsewhere.status.code(), Some(2));
    let said = String::from_utf8_lossy(&elsewhere.stderr);
    assert!(said.contains(&gateway.at) && said.contains("127.0.0.1:1"), "{said}");
    let twice = umbra(state, &[&start[..], &["127.0.0.1:0"]].concat());
    assert!(String::from_utf8_lossy(&twice.stderr).contains("somebody listens there"));
    // One that is given everything, and dies.
    let socket = state.join("gateway.sock");
    let mut claims = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    claims
        .write_all(
            b"POST /v1/hand-over HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n\
              Upgrade: umbra-hand-over\r\n\r\n",
        )
        .unwrap();
    let mut claims = BufReader::new(claims);
    assert!(head(&mut claims).unwrap().unwrap()[0].starts_with("HTTP/1.1 101 "));
    let shadow = server().to_string();
    let start = ["mirror", "start", "new", "--to", &shadow];
    let refused = umbra(state, &start);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("successor"), "{refused:?}");
    drop(claims);
    until("it goes on", || umbra(state, &start).status.success().then_some(()));
    load.goes_on(100);
    let (asked, failed) = load.end();
    assert_eq!(failed, 0, "of {asked}");
    assert_eq!(status(state)["mirrors"][0]["name"], "new");
}

/// Where nobody is to be replaced, `--replace` begins as ever.
#[test]
fn a_successor_of_nobody_begins() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(dir.path(), server(), &["--replace"]);
    let mut kept = None;
    ask(&gateway.at, &mut kept, false).unwrap();
    let help = command(dir.path()).args(["gateway", "--help"]).output().unwrap();
    assert!(good(&help).contains("--replace"));
}
