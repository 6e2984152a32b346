//! A tap beside `tcpdump -w /dev/null` on the same interface and the same load, in turns, each a
//! process of its own and alone on one processor.
//!
//! `cargo bench -p umbra-gateway --bench tap`, as root, with nginx, wrk, tcpdump and taskset.

#[path = "../../../cli/benches/middle/mod.rs"]
mod middle;
#[path = "../../tests/tap/place.rs"]
#[allow(dead_code, reason = "the tests use all of it")]
mod place;
#[path = "../../../cli/benches/process/mod.rs"]
mod process;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use middle::middle;
use place::{CABLE, Far, SERVER};
use process::{Outcome, cpu, end};
use rustix::process::{Pid, Signal, kill_process};
use umbra_gateway::tap::flows::Settings;
use umbra_gateway::tap::live::{Live, Options, RING_BYTES, Through};

const ROUNDS: usize = 3;
const SECONDS: &str = "4";

/// Load and server run on one processor, what is measured on another.
const LOAD_CPU: &str = "0";
const TAP_CPU: &str = "1";

/// What is asked for, and how much of it there is.
const BODIES: [(&str, usize); 2] = [("1 KB", 1 << 10), ("64 KB", 64 << 10)];

/// What is beside the load.
const PEERS: [(&str, Peer); 3] = [
    ("tcpdump -w /dev/null", Peer::Tcpdump),
    ("a tap, direct", Peer::Tap(DIRECT)),
    ("a tap, from copies", Peer::Tap("copies")),
];

#[derive(Clone, Copy)]
enum Peer {
    Tcpdump,
    Tap(&'static str),
}

/// How this program is told to be the tap.
const DIRECT: &str = "direct";
const TAP: &str = "tap";

/// What it says once it captures.
const READY: &str = "capturing";

fn main() -> Outcome {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [TAP, how] = words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        return tap(how);
    }
    if let Some(reason) = place::missing(&["ip", "tc", "tcpdump", "wrk", "nginx", "taskset"]) {
        return Err(reason.into());
    }
    place::apart(|| measure_all().expect("measured"));
    Ok(())
}

/// Taps the cable until its standard input ends, then says what it counted.
fn tap(how: &str) -> Outcome {
    let through = match how {
        DIRECT => Through::Direct,
        _ => Through::Copies { device: None },
    };
    let settings = Settings { ports: vec![8080], ..Settings::default() };
    let interface = CABLE.to_owned();
    let mut tap = Live::open(Options { interface, through, ring_bytes: RING_BYTES, settings })?;
    let over = Arc::new(AtomicBool::new(false));
    let end = Arc::clone(&over);
    std::thread::spawn(move || {
        // However it ends, it is the end.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        end.store(true, Ordering::Relaxed);
    });
    eprintln!("{READY}");
    while !over.load(Ordering::Relaxed) {
        tap.step(Duration::from_millis(100), &mut drop)?;
    }
    println!("{}", serde_json::to_string(&tap.finish(&mut drop)?)?);
    Ok(())
}

fn measure_all() -> Outcome {
    let far = Far::connected();
    let dir = tempfile::tempdir()?;
    let config = configure(dir.path())?;
    let mut server = far.there(move || {
        let mut command = Command::new("taskset");
        command.args(["-c", LOAD_CPU, "nginx", "-c", &config]).stdin(Stdio::null());
        command.spawn().map_err(|error| error.to_string())
    })?;
    let measured = served().and_then(|()| measure_bodies(&dir.path().join("answers")));
    end(&mut server);
    measured
}

/// Waits for the server.
fn served() -> Outcome {
    let until = Instant::now() + Duration::from_secs(10);
    while let Err(error) = TcpStream::connect((SERVER, 8080)) {
        if Instant::now() > until {
            return Err(error.into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn measure_bodies(answers: &Path) -> Outcome {
    for (name, bytes) in BODIES {
        let mut all: Vec<Vec<Measured>> = PEERS.iter().map(|_| Vec::new()).collect();
        for _ in 0..ROUNDS {
            for ((_, peer), all) in PEERS.iter().zip(&mut all) {
                all.push(measure(*peer, bytes, answers)?);
            }
        }
        println!(
            "{name} a request, keep-alive, 32 clients, {SECONDS} s, {ROUNDS} rounds in turns, middle:"
        );
        for ((name, _), all) in PEERS.iter().zip(&all) {
            println!("  {name:<22} {}", middle_of(all));
        }
    }
    Ok(())
}

/// What one run showed.
#[derive(Debug, Clone, Copy)]
struct Measured {
    requests_per_second: f64,
    gbit_per_second: f64,
    packets_per_second: f64,
    us_per_packet: f64,
    drops: u64,
    /// Of the requests that wrk counted, how many percent were captured.
    captured: Option<f64>,
}

impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:>7.0} requests/s {:>6.2} Gbit/s {:>8.0} packets/s {:>6.2} us of processor each \
             {:>7} dropped",
            self.requests_per_second,
            self.gbit_per_second,
            self.packets_per_second,
            self.us_per_packet,
            self.drops
        )?;
        self.captured.map_or(Ok(()), |captured| write!(f, " {captured:>7.2} % captured"))
    }
}

fn middle_of(all: &[Measured]) -> Measured {
    let of = |field: fn(&Measured) -> f64| middle(all.iter().map(field));
    Measured {
        requests_per_second: of(|one| one.requests_per_second),
        gbit_per_second: of(|one| one.gbit_per_second),
        packets_per_second: of(|one| one.packets_per_second),
        us_per_packet: of(|one| one.us_per_packet),
        drops: all.iter().map(|one| one.drops).sum(),
        captured: all[0].captured.map(|_| of(|one| one.captured.unwrap_or_default())),
    }
}

fn measure(peer: Peer, bytes: usize, answers: &Path) -> Outcome<Measured> {
    let beside = match peer {
        Peer::Tcpdump => Beside::tcpdump(answers)?,
        Peer::Tap(how) => Beside::tap(answers, how)?,
    };
    let before = passed()?;
    let began = Instant::now();
    let requests = load(bytes)?;
    let seconds = began.elapsed().as_secs_f64();
    let bits = (passed()? - before) as f64 * 8.0;
    let Seen { packets, drops, exchanges, used } = beside.end()?;
    Ok(Measured {
        requests_per_second: requests as f64 / seconds,
        gbit_per_second: bits / seconds / 1e9,
        packets_per_second: (packets + drops) as f64 / seconds,
        us_per_packet: used.as_secs_f64() * 1e6 / packets.max(1) as f64,
        drops,
        captured: exchanges.map(|exchanges| exchanges as f64 * 100.0 / requests as f64),
    })
}

/// Requests that were answered.
fn load(bytes: usize) -> Outcome<u64> {
    let url = format!("http://{SERVER}:8080/{bytes}");
    let output = Command::new("taskset")
        .args(["-c", LOAD_CPU, "wrk", "-t1", "-c32", "-d", SECONDS, &url])
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let line = text.lines().find(|line| line.contains("requests in")).ok_or("wrk says nothing")?;
    Ok(line.split_whitespace().next().ok_or("no number")?.parse()?)
}

/// Bytes that have passed the cable, both ways.
fn passed() -> Outcome<u64> {
    let links: serde_json::Value =
        serde_json::from_str(&place::must(&format!("ip -j -s link show dev {CABLE}")))?;
    let bytes = |way: &str| links[0]["stats64"][way]["bytes"].as_u64().ok_or("no bytes");
    Ok(bytes("rx")? + bytes("tx")?)
}

/// What somebody saw who was beside the load.
struct Seen {
    packets: u64,
    drops: u64,
    exchanges: Option<u64>,
    used: Duration,
}

/// A process beside the load.
struct Beside {
    process: Child,
    story: BufReader<std::process::ChildStderr>,
    before: Duration,
    is_tap: bool,
    /// What it answers.
    answers: PathBuf,
}

impl Beside {
    fn tcpdump(answers: &Path) -> Outcome<Self> {
        // With as much room as a tap has.
        let room = ["-B", "32768", "-s", "0", "-w", "/dev/null", "tcp", "port", "8080"];
        Self::start(answers, &[&["tcpdump", "-i", CABLE], &room[..]].concat(), "listening")
    }

    fn tap(answers: &Path, how: &str) -> Outcome<Self> {
        let program = std::env::current_exe()?.display().to_string();
        Self::start(answers, &[&program, TAP, how], READY)
    }

    fn start(answers: &Path, words: &[&str], ready: &str) -> Outcome<Self> {
        let mut command = Command::new("taskset");
        command.args(["-c", TAP_CPU]).args(words).stdin(Stdio::piped()).stderr(Stdio::piped());
        command.stdout(fs::File::create(answers)?);
        let mut process = command.spawn()?;
        let mut story = BufReader::new(process.stderr.take().ok_or("no story")?);
        let mut line = String::new();
        while !line.contains(ready) {
            line.clear();
            if story.read_line(&mut line)? == 0 {
                return Err(format!("{words:?} ended").into());
            }
        }
        let before = cpu(process.id())?;
        let (is_tap, answers) = (ready == READY, answers.to_owned());
        Ok(Self { process, story, before, is_tap, answers })
    }

    fn end(mut self) -> Outcome<Seen> {
        let used = cpu(self.process.id())?.saturating_sub(self.before);
        // A tap is told by the one, tcpdump by the other.
        drop(self.process.stdin.take());
        if !self.is_tap {
            kill_process(Pid::from_child(&self.process), Signal::INT)?;
        }
        let mut said = String::new();
        self.story.read_to_string(&mut said)?;
        self.process.wait()?;
        if self.is_tap {
            let counts: serde_json::Value =
                serde_json::from_str(&fs::read_to_string(&self.answers)?)?;
            let number = |value: &serde_json::Value| value.as_u64().ok_or("no number");
            return Ok(Seen {
                packets: number(&counts["packets"])?,
                drops: number(&counts["not_taken"]["kernel_drops"])?
                    + number(&counts["not_taken"]["mirror_drops"])?,
                exchanges: Some(number(&counts["exchanges"])?),
                used,
            });
        }
        let number = |what: &str| {
            let line = said.lines().find(|line| line.contains(what))?;
            line.split(' ').next()?.parse::<u64>().ok()
        };
        let packets = number("packets captured").ok_or("no packets")?;
        let drops = number("dropped by kernel").ok_or("no drops")?;
        Ok(Seen { packets, drops, exchanges: None, used })
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An nginx with files of the sizes that are asked for.
fn configure(dir: &Path) -> Outcome<String> {
    let files = dir.join("files");
    fs::create_dir(&files)?;
    for (_, bytes) in BODIES {
        fs::write(files.join(bytes.to_string()), vec![b'x'; bytes])?;
    }
    // Its worker is somebody else, who must get here.
    let text = format!(
        "user root; daemon off; worker_processes 1; pid {0}/pid; error_log {0}/error;\n\
         events {{ worker_connections 1024; }}\n\
         http {{ access_log off; keepalive_requests 1000000000; sendfile on;\n\
         server {{ listen {SERVER}:8080; root {0}/files; }} }}\n",
        dir.display()
    );
    let file = dir.join("nginx.conf");
    fs::write(&file, text)?;
    Ok(file.display().to_string())
}
