//! What every sink keeps, tried on each of them against what it really delivers to.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use umbra_api::blob::Blob;

use super::*;
use crate::config::{Address, Dialect, Secret, Severity, SyslogAddress, Token};

/// What a sink delivers to.
trait End {
    /// The bodies of the next `count` documents, in the order in which they came.
    fn received(&mut self, count: usize) -> Vec<Vec<u8>>;
    /// Makes it unreachable or reachable; false if a sink of this kind cannot notice.
    fn set_broken(&mut self, broken: bool) -> bool;
}

fn document(body: &str) -> Document {
    Document {
        id: format!("id/{}", body.len()),
        about: "it".into(),
        severity: Severity::High,
        title: "a title".into(),
        body: Blob(body.as_bytes().to_vec()),
    }
}

/// Everything all sinks keep. No body has more than `bytes_max`.
#[track_caller]
fn conforms(sink: &dyn Sink, end: &mut dyn End, bytes_max: usize) {
    // In order, whole, whatever is in them.
    let long = format!("{}\n", "x".repeat(bytes_max - 1));
    let bodies = ["one\n", "größe \"' $(x) \\ %s\n", &long, "one\n"];
    for body in bodies {
        sink.deliver(&document(body)).expect("delivered");
    }
    let received = end.received(bodies.len());
    assert_eq!(received, bodies.map(|body| body.as_bytes().to_vec()));

    // At once, and none in another.
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                for number in 0..2 {
                    let body = format!("{thread}{number}{}\n", "y".repeat(500));
                    sink.deliver(&document(&body)).expect("delivered");
                }
            });
        }
    });
    let mut received = end.received(8);
    received.sort();
    let numbers: Vec<&[u8]> = received.iter().map(|body| &body[..2]).collect();
    assert_eq!(numbers, [b"00", b"01", b"10", b"11", b"20", b"21", b"30", b"31"]);
    assert!(received.iter().all(|body| body.len() == 503));

    // A failure is told in bounded time, is worth another try, and that one succeeds.
    if end.set_broken(true) {
        let began = Instant::now();
        let error = sink.deliver(&document("lost\n")).expect_err("it is broken");
        assert_eq!(error.retry(), Retry::Later, "{error}");
        assert!(began.elapsed() < Duration::from_secs(20), "{error}");
        let text = error.to_string();
        assert!(text.starts_with(char::is_lowercase) && !text.contains(char::is_control), "{text}");
        end.set_broken(false);
        sink.deliver(&document("again\n")).expect("it is mended");
        assert_eq!(end.received(1), [b"again\n".to_vec()]);
    }
}

/// For ends that append to a file.
struct Lines {
    dir: tempfile::TempDir,
    taken: usize,
}

impl Lines {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a directory"), taken: 0 }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().expect("text").to_owned()
    }
}

impl End for Lines {
    fn received(&mut self, count: usize) -> Vec<Vec<u8>> {
        let text = fs::read(self.path("lines")).expect("written");
        let lines: Vec<Vec<u8>> =
            text.split_inclusive(|b| *b == b'\n').skip(self.taken).map(<[u8]>::to_vec).collect();
        self.taken += count;
        assert_eq!(lines.len(), count);
        lines
    }

    fn set_broken(&mut self, broken: bool) -> bool {
        let (good, bad) = (self.path("lines"), self.path("broken"));
        if broken {
            fs::rename(&good, &bad).expect("renamed");
            fs::create_dir(&good).expect("made");
        } else {
            fs::remove_dir(&good).expect("removed");
            fs::rename(&bad, &good).expect("renamed");
        }
        true
    }
}

#[test]
fn a_file() {
    let mut end = Lines::new();
    let sink = JsonLines::new(end.path("lines"));
    conforms(&sink, &mut end, DOCUMENT_BYTES_MAX);
    let mode = fs::metadata(end.path("lines")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "what is wrong with a machine is not for everybody");
}

#[test]
fn a_program() {
    let mut end = Lines::new();
    let script = r#"cat >> "$0""#.to_owned();
    let argv = vec!["/bin/sh".into(), "-c".into(), script, end.path("lines")];
    conforms(&Command::new(argv), &mut end, DOCUMENT_BYTES_MAX);
}

#[test]
fn a_desktop() {
    let mut end = Lines::new();
    let program = end.path("notify-send");
    let script = format!("#!/bin/sh\nprintf '%s' \"$6\" >> '{}'\n", end.path("lines"));
    fs::write(&program, script).expect("written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).expect("set");
    conforms(&Desktop::with(&program), &mut end, 10_000);
}

/// A writer that fails when told to.
#[derive(Clone, Default)]
struct Writer {
    bytes: Arc<Mutex<Vec<u8>>>,
    broken: Arc<AtomicBool>,
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.bytes.lock().expect("unpoisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl End for Writer {
    fn received(&mut self, count: usize) -> Vec<Vec<u8>> {
        let bytes = std::mem::take(&mut *self.bytes.lock().expect("unpoisoned"));
        let lines: Vec<_> = bytes.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
        assert_eq!(lines.len(), count);
        lines
    }

    fn set_broken(&mut self, broken: bool) -> bool {
        self.broken.store(broken, Ordering::Relaxed);
        true
    }
}

#[test]
fn a_stream() {
    let mut end = Writer::default();
    conforms(&Stream::new("the log", end.clone()), &mut end, DOCUMENT_BYTES_MAX);
}

impl End for Arc<Memory> {
    fn received(&mut self, _: usize) -> Vec<Vec<u8>> {
        self.take().into_iter().map(|document| document.body.0).collect()
    }

    fn set_broken(&mut self, broken: bool) -> bool {
        Memory::set_broken(self, broken);
        true
    }
}

#[test]
fn memory() {
    let mut end = Arc::new(Memory::default());
    conforms(&*end.clone(), &mut end, DOCUMENT_BYTES_MAX);
}

struct Udp(UdpSocket);

impl End for Udp {
    fn received(&mut self, count: usize) -> Vec<Vec<u8>> {
        let mut buffer = vec![0; 1 << 16];
        let mut next = || {
            let length = self.0.recv(&mut buffer).expect("a datagram");
            buffer[..length].to_vec()
        };
        (0..count).map(|_| next()).collect()
    }

    fn set_broken(&mut self, _: bool) -> bool {
        false
    }
}

const PATIENCE: Option<Duration> = Some(Duration::from_secs(20));

#[test]
fn syslog_over_udp() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bound");
    socket.set_read_timeout(PATIENCE).expect("set");
    let address = socket.local_addr().expect("bound").to_string();
    conforms(&Syslog::new(SyslogAddress::Udp(address)), &mut Udp(socket), 2048);
}

struct Unix {
    dir: tempfile::TempDir,
    socket: Option<UnixDatagram>,
}

impl Unix {
    fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("log")
    }

    fn bind(&mut self) {
        let socket = UnixDatagram::bind(self.path()).expect("bound");
        socket.set_read_timeout(PATIENCE).expect("set");
        self.socket = Some(socket);
    }
}

impl End for Unix {
    fn received(&mut self, count: usize) -> Vec<Vec<u8>> {
        let socket = self.socket.as_ref().expect("bound");
        let mut buffer = vec![0; 1 << 16];
        let mut next = || {
            let length = socket.recv(&mut buffer).expect("a datagram");
            buffer[..length].to_vec()
        };
        (0..count).map(|_| next()).collect()
    }

    fn set_broken(&mut self, broken: bool) -> bool {
        if broken {
            self.socket = None;
            fs::remove_file(self.path()).expect("removed");
        } else {
            self.bind();
        }
        true
    }
}

#[test]
fn syslog_over_a_socket() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut end = Unix { dir, socket: None };
    end.bind();
    let path = end.path().to_str().expect("text").to_owned();
    conforms(&Syslog::new(SyslogAddress::Unix(path)), &mut end, 8192);
}

struct Tcp {
    address: String,
    listener: Option<TcpListener>,
    stream: Option<TcpStream>,
}

impl End for Tcp {
    fn received(&mut self, count: usize) -> Vec<Vec<u8>> {
        let listener = self.listener.as_ref().expect("bound");
        let stream = self.stream.get_or_insert_with(|| listener.accept().expect("connected").0);
        stream.set_read_timeout(PATIENCE).expect("set");
        let mut next = || {
            let mut length = 0;
            loop {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("a byte");
                match byte[0] {
                    b' ' => break,
                    digit => length = length * 10 + usize::from(digit - b'0'),
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).expect("a message");
            body
        };
        (0..count).map(|_| next()).collect()
    }

    fn set_broken(&mut self, broken: bool) -> bool {
        if broken {
            (self.listener, self.stream) = (None, None);
        } else {
            self.listener = Some(TcpListener::bind(&self.address).expect("bound"));
        }
        true
    }
}

#[test]
fn syslog_over_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("bound").to_string();
    let sink = Syslog::new(SyslogAddress::Tcp(address.clone()));
    conforms(&sink, &mut Tcp { address, listener: Some(listener), stream: None }, 8192);
}

type Request = (String, Vec<(String, String)>, Vec<u8>);

/// A server in memory.
#[derive(Clone, Default)]
struct Server {
    requests: Arc<Mutex<Vec<Request>>>,
    status: Arc<Mutex<Option<u16>>>,
}

impl Post for Server {
    fn post(&self, url: &str, headers: &[(String, String)], body: &[u8]) -> Result<u16, PostError> {
        let status = *self.status.lock().expect("unpoisoned");
        match status {
            Some(0) => Err(PostError { why: "nobody is there".into() }),
            Some(status) => Ok(status),
            None => {
                let request = (url.to_owned(), headers.to_vec(), body.to_vec());
                self.requests.lock().expect("unpoisoned").push(request);
                Ok(200)
            }
        }
    }
}

impl End for Server {
    fn received(&mut self, _: usize) -> Vec<Vec<u8>> {
        let requests = std::mem::take(&mut *self.requests.lock().expect("unpoisoned"));
        requests.into_iter().map(|(_, _, body)| body).collect()
    }

    fn set_broken(&mut self, broken: bool) -> bool {
        *self.status.lock().expect("unpoisoned") = broken.then_some(0);
        true
    }
}

fn plain(url: &str) -> Address {
    Address::Plain(url.to_owned())
}

#[test]
fn a_server() {
    let mut end = Server::default();
    let sink = Http::new(Dialect::Webhook, plain("https://example.com/x"), None, end.clone());
    conforms(&sink, &mut end, DOCUMENT_BYTES_MAX);
}

#[test]
fn requests_carry_their_secret_and_errors_do_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("token");
    fs::write(&path, "  s3cret\n").expect("written");
    let from = Secret::File(path.to_str().expect("text").to_owned());
    let server = Server::default();
    let token = |header: Option<&str>| {
        Some(Token { from: from.clone(), header: header.map(str::to_owned) })
    };
    let base = "http://127.0.0.1:9093/";
    let bearer = Http::new(Dialect::Alertmanager, plain(base), token(None), server.clone());
    let named = Http::new(Dialect::Webhook, plain(base), token(Some("X-Token")), server.clone());
    let hidden = Http::new(Dialect::Slack, Address::Hidden(from.clone()), None, server.clone());
    bearer.deliver(&document("{}")).expect("delivered");
    named.deliver(&document("{}")).expect("delivered");
    hidden.deliver(&document("{}")).expect("delivered");
    bearer.send(b"[]").expect("sent");
    let requests = server.requests.lock().expect("unpoisoned").clone();
    let header = |index: usize, name: &str| {
        let found = requests[index].1.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.clone())
    };
    assert_eq!(requests[0].0, "http://127.0.0.1:9093/api/v2/alerts");
    assert_eq!(header(0, "Authorization").as_deref(), Some("Bearer s3cret"));
    assert_eq!(header(0, "Idempotency-Key").as_deref(), Some("id/2"));
    assert_eq!(header(1, "X-Token").as_deref(), Some("s3cret"));
    assert_eq!(requests[2].0, "s3cret", "the address itself is the secret");

    let slack = plain("https://hooks.example.com/T/S3CRET");
    let slack = Http::new(Dialect::Slack, slack, None, server.clone());
    for (status, retry) in [
        (429, Retry::Later),
        (503, Retry::Later),
        (400, Retry::Never),
        (0, Retry::Later),
        (301, Retry::Later),
    ] {
        *server.status.lock().expect("unpoisoned") = Some(status);
        let error = slack.deliver(&document("{}")).expect_err("refused");
        assert_eq!(error.retry(), retry, "{status}");
        assert!(!format!("{error} {error:?}").contains("S3CRET"), "{error:?}");
    }
    fs::remove_file(&path).expect("removed");
    let error = bearer.deliver(&document("{}")).expect_err("the secret is gone");
    assert_eq!(error.retry(), Retry::Later, "it may be put back");
}

#[test]
fn secrets_are_text_that_fits_into_a_header() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("token");
    let from = Secret::File(path.to_str().expect("text").to_owned());
    for bad in [&b""[..], b" \n", b"a\r\nX-Evil: 1", b"\xff", &[b'x'; 9000]] {
        fs::write(&path, bad).expect("written");
        assert!(read_secret(&from).is_err(), "{bad:?}");
    }
    assert!(read_secret(&Secret::File("/".into())).is_err());
    let error = read_secret(&Secret::Env("UMBRA_NO_SUCH_VARIABLE".into())).expect_err("not set");
    assert_eq!(error.to_string(), "it is not set, or no text");
}

#[test]
fn a_program_that_does_not_end_is_ended_with_what_it_started() {
    let dir = tempfile::tempdir().expect("a directory");
    let pids = dir.path().join("pids");
    // The child of the child holds no descriptor of ours, and would outlive its parent.
    let script = r#"sleep 600 & echo $! > "$0"; wait"#.to_owned();
    let argv = vec!["/bin/sh".into(), "-c".into(), script, pids.to_str().expect("text").into()];
    let sink = Command::new(argv).within(Duration::from_secs(2));
    let error = sink.deliver(&document("{}")).expect_err("too slow");
    assert!(matches!(error, SinkError::TooSlow { timeout_ms: 2000, .. }), "{error:?}");
    let pid = fs::read_to_string(&pids).expect("it had begun");
    // Its parent is gone, so that nobody may have reaped it: dead is what it has to be.
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    let ended = stat.rsplit(')').next().is_none_or(|rest| !rest.starts_with(" S"));
    assert!(ended, "{stat}");
}

#[test]
fn how_a_program_ended_is_told() {
    let run = |script: &str| {
        let argv = vec!["/bin/sh".into(), "-c".into(), script.into()];
        Command::new(argv).deliver(&document("{}")).expect_err("it fails").to_string()
    };
    assert_eq!(run("exit 3"), "run /bin/sh: it ended with status 3");
    assert_eq!(run("kill -9 $$"), "run /bin/sh: it ended with signal 9");
    let none = Command::new(vec!["/nonexistent/x".into()]);
    let error = none.deliver(&document("{}")).expect_err("there is none");
    assert_eq!(error.to_string(), "reach /nonexistent/x");
}

#[test]
fn a_torn_line_stays_one_line_and_only_files_are_written_to() {
    let end = Lines::new();
    let path = end.path("lines");
    fs::write(&path, "{\"torn\":").expect("written");
    JsonLines::new(&path).deliver(&document("{}\n")).expect("delivered");
    assert_eq!(fs::read_to_string(&path).expect("read"), "{\"torn\":\n{}\n");
    let fifo = end.path("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).expect("made");
    let link = end.path("link");
    std::os::unix::fs::symlink(&path, &link).expect("linked");
    for path in [fifo, link, "/dev/null".to_owned()] {
        assert!(JsonLines::new(&path).deliver(&document("{}\n")).is_err(), "{path}");
    }
}
