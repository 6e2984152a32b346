//! A service with metrics: of the baseline 1 % of requests fail, of the candidate 20 %, and its
//! answers take longer; a third arm has no requests.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

/// It ends when this is dropped.
pub(crate) struct Service {
    port: u16,
    switches: Arc<Switches>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Switches {
    /// The metric `ending` is not shown any more.
    ended: AtomicBool,
    /// Nothing more is served.
    over: AtomicBool,
}

impl Service {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let port = listener.local_addr().expect("bound").port();
        let switches = Arc::new(Switches::default());
        let own = Arc::clone(&switches);
        let thread = Some(std::thread::spawn(move || serve(&listener, &own)));
        Self { port, switches, thread }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The series `ending` ends.
    pub(crate) fn end_one(&self) {
        self.switches.ended.store(true, Ordering::Relaxed);
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.switches.over.store(true, Ordering::Relaxed);
        // It waits for somebody to come.
        let woken = TcpStream::connect(("127.0.0.1", self.port));
        if let (Ok(_), Some(thread)) = (woken, self.thread.take()) {
            let _ = thread.join();
        }
    }
}

fn serve(listener: &TcpListener, switches: &Switches) {
    let began = Instant::now();
    for stream in listener.incoming() {
        if switches.over.load(Ordering::Relaxed) {
            return;
        }
        let Ok(mut stream) = stream else { continue };
        // Who breaks off comes again.
        let _ = answer(&mut stream, &metrics(began, switches));
    }
}

fn answer(stream: &mut TcpStream, body: &str) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let length = body.len();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close";
    write!(stream, "{head}\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// 100 requests a second of each arm.
fn metrics(began: Instant, switches: &Switches) -> String {
    let requests = began.elapsed().as_millis() / 10;
    let mut text = String::from("requests_total{arm=\"idle\",code=\"200\"} 5\n");
    for (arm, failed_percent, fast_percent) in [("baseline", 1, 100), ("candidate", 20, 50)] {
        let failed = requests * failed_percent / 100;
        let (good, fast) = (requests - failed, requests * fast_percent / 100);
        text.push_str(&format!(
            "requests_total{{arm=\"{arm}\",code=\"200\"}} {good}\n\
             requests_total{{arm=\"{arm}\",code=\"500\"}} {failed}\n\
             latency_seconds_bucket{{arm=\"{arm}\",le=\"0.1\"}} {fast}\n\
             latency_seconds_bucket{{arm=\"{arm}\",le=\"1\"}} {requests}\n\
             latency_seconds_bucket{{arm=\"{arm}\",le=\"+Inf\"}} {requests}\n"
        ));
    }
    if !switches.ended.load(Ordering::Relaxed) {
        text.push_str("ending 1\n");
    }
    text
}
