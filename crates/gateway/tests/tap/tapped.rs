//! What clients asked, and what a tap made of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use umbra_gateway::capture::{Answered, Exchange};
use umbra_gateway::tap::counts::{Counts, Packets};
use umbra_gateway::tap::flows::Settings;
use umbra_gateway::tap::live::{Live, Options, Through};

use super::place::{CABLE, Far, SERVER, must, run};
use super::server::{body, serve};

const PORT: u16 = 8080;

pub(crate) fn options(interface: &str, through: Through) -> Options {
    Options {
        interface: interface.to_owned(),
        through,
        ring_bytes: 32 << 20,
        settings: Settings { ports: vec![PORT], ..Settings::default() },
    }
}

pub(crate) fn from_copies() -> Through {
    Through::Copies { device: None }
}

/// Captures while somebody acts, in this thread's network.
pub(crate) fn captured(
    options: Options,
    each: &mut (dyn FnMut(Exchange) + Send),
    act: impl FnOnce(),
) -> Counts {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (ready, wait) = std::sync::mpsc::channel();
        let over = &over;
        let tap = scope.spawn(move || {
            let mut tap = Live::open(options).expect("a tap");
            ready.send(()).expect("somebody waits");
            while !over.load(Ordering::Relaxed) {
                tap.step(Duration::from_millis(20), each).expect("packets");
            }
            tap.finish(each).expect("an end")
        });
        if wait.recv().is_ok() {
            // It is told to end, whatever becomes of this.
            let _ending = Ending(over);
            act();
        }
        tap.join().expect("a tap")
    })
}

struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub(crate) fn direct() {
    let far = Far::connected();
    far.there(|| serve(&format!("{SERVER}:{PORT}")));
    check_all(options(CABLE, Through::Direct), SERVER);
}

pub(crate) fn copies() {
    let far = Far::connected();
    far.there(|| serve(&format!("{SERVER}:{PORT}")));
    check_all(options(CABLE, from_copies()), SERVER);
}

/// Everything passes twice there, and is seen once.
pub(crate) fn loopback() {
    serve(&format!("127.0.0.1:{PORT}"));
    for through in [Through::Direct, from_copies()] {
        let counts = check_all(options("lo", through), "127.0.0.1");
        // A busy machine sends one or the other again.
        assert!(counts.segments.repeated * 4 < counts.packets, "{counts:?}");
    }
}

pub(crate) fn ipv6() {
    let far = Far::connected();
    let speak = |end: &str, address: &str| {
        // Its own packets of IPv6 are no TCP; without checks for doubles there are few of them.
        let file = format!("/proc/sys/net/ipv6/conf/{end}/disable_ipv6");
        std::fs::write(file, "0").expect("IPv6");
        must(&format!("ip addr add {address}/64 dev {end} nodad"));
    };
    speak(CABLE, "2001:db8::1");
    far.there(move || {
        speak("server", "2001:db8::2");
        serve(&format!("[2001:db8::2]:{PORT}"))
    });
    for through in [Through::Direct, from_copies()] {
        check_all(options(CABLE, through), "[2001:db8::2]");
    }
}

/// The tag is taken off by the kernel, and is there beside the packet.
pub(crate) fn vlan() {
    let far = Far::connected();
    let tagged = |end: &str, address: &str| {
        let made = run(&format!("ip link add link {end} name {end}.7 type vlan id 7"));
        if made.status.success() {
            must(&format!("ip addr add {address}/24 dev {end}.7"));
            must(&format!("ip link set {end}.7 up"));
        }
        made.status.success()
    };
    if !tagged(CABLE, "198.51.100.1") {
        return println!("skipped: the kernel knows no VLANs");
    }
    far.there(move || {
        tagged("server", "198.51.100.2");
        serve(&format!("198.51.100.2:{PORT}"))
    });
    for through in [Through::Direct, from_copies()] {
        check_all(options(CABLE, through), "198.51.100.2");
    }
}

/// Packets that are lost, doubled and late on the line, as far as the kernel can do that.
pub(crate) fn bad_line() {
    let far = Far::connected();
    let bad = |end: &str| {
        let rule = "netem delay 2ms 1ms loss 3% duplicate 3% reorder 20%";
        run(&format!("tc qdisc add dev {end} root {rule}")).status.success()
    };
    if !bad(CABLE) {
        return println!("skipped: the kernel has no netem");
    }
    far.there(move || {
        bad("server");
        serve(&format!("{SERVER}:{PORT}"))
    });
    // What is lost here passes before it is: the tap sees it.
    check_all(options(CABLE, Through::Direct), SERVER);
}

/// Asks in all the ways there are; everything must be there, byte for byte.
#[track_caller]
fn check_all(options: Options, server: &str) -> Counts {
    let dir = tempfile::tempdir().expect("a directory");
    let large = dir.path().join("large");
    std::fs::write(&large, body(200_000)).expect("a file");
    let url = |path: &str| format!("http://{server}:{PORT}{path}");
    let mut exchanges = Vec::new();
    let counts = captured(options, &mut |exchange| exchanges.push(exchange), || {
        let ways: [(&[&str], &[&str]); 4] = [
            (&[], &["/0", "/5", "/chunked", "/none", "/missing", "/60000", "/end"]),
            (&["--head"], &["/5", "/5"]),
            (&["--data", "small"], &["/echo", "/5"]),
            (&["--data-binary", &format!("@{}", large.display())], &["/echo"]),
        ];
        for (how, paths) in ways {
            let mut curl = Command::new("curl");
            curl.args(["-sS", "-o", "/dev/null", "--max-time", "60"]).args(how);
            for path in paths {
                curl.arg(url(path)).args(["-o", "/dev/null"]);
            }
            let output = curl.output().expect("curl");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
    });
    let shown: Vec<String> = exchanges.iter().map(shown).collect();
    let all =
        |target: &str, status: u16, body: String| format!("GET {target} [] {status} [{body}]");
    let expected = [
        all("/0", 200, String::new()),
        all("/5", 200, body(5)),
        all("/chunked", 200, body(1000).repeat(3)),
        all("/none", 204, String::new()),
        all("/missing", 404, "no".to_owned()),
        all("/60000", 200, body(60_000)),
        all("/end", 200, body(3000)),
        "HEAD /5 [] 200 []".to_owned(),
        "HEAD /5 [] 200 []".to_owned(),
        "POST /echo [small] 200 [small]".to_owned(),
        format!("POST /5 [small] 200 [{}]", body(5)),
        format!("POST /echo [{0}] 200 [{0}]", body(200_000)),
    ];
    assert_eq!(shown.len(), expected.len(), "{counts:?}");
    for (shown, expected) in shown.iter().zip(&expected) {
        assert!(shown == expected, "{:.200} is not {:.200}; {counts:?}", shown, expected);
    }
    let sessions: BTreeMap<u64, u64> =
        exchanges.iter().map(|exchange| (exchange.session, exchange.began_us)).collect();
    assert_eq!(sessions.len(), 4, "one of each curl");
    assert_eq!((counts.lost.total(), counts.given_up.total(), counts.cut), (0, 0, 0), "{counts:?}");
    let other = Packets { not_tcp: counts.not_taken.not_tcp, ..Packets::default() };
    assert_eq!(counts.not_taken, other, "{counts:?}");
    counts
}

fn shown(exchange: &Exchange) -> String {
    let answer = exchange.answer.as_ref().expect("an answer");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (asked, answered) = (&exchange.request.body, &answer.body);
    assert!(!asked.cut && !answered.cut);
    format!(
        "{} {} [{}] {} [{}]",
        exchange.request.method,
        exchange.request.target,
        text(&asked.bytes),
        answer.status,
        text(&answered.bytes)
    )
}

pub(crate) fn complete_direct() {
    complete(options(CABLE, Through::Direct), Duration::ZERO);
}

pub(crate) fn complete_copies() {
    complete(options(CABLE, from_copies()), Duration::ZERO);
}

/// A reader that is too slow for its small ring.
pub(crate) fn overrun() {
    for through in [Through::Direct, from_copies()] {
        let small = Options { ring_bytes: 2 << 20, ..options(CABLE, through) };
        let counts = complete(small, Duration::from_millis(2));
        assert!(counts.not_taken.kernel_drops > 0, "{counts:?}");
        assert!(counts.segments.gaps > 0, "{counts:?}");
    }
}

/// Under load, with tcpdump beside it: what one saw the other saw, or counted as dropped.
#[track_caller]
fn complete(options: Options, slow: Duration) -> Counts {
    let far = Far::connected();
    let asked = far.there(|| serve(&format!("{SERVER}:{PORT}")));
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("pcap");
    let tcpdump = Tcpdump::start(&file);
    let (mut whole, all) = (0_u64, body(20_000));
    let mut each = |exchange: Exchange| {
        std::thread::sleep(slow);
        let answer = exchange.answer.as_ref();
        let is = answer.is_some_and(|answer| answer.status == 200 && !answer.body.cut);
        let right = |answer: &Answered| all.as_bytes().starts_with(&answer.body.bytes);
        assert!(answer.is_none_or(right), "another body");
        whole += u64::from(is);
    };
    let counts = captured(options, &mut each, || {
        let url = format!("http://{SERVER}:{PORT}/20000");
        let load = Command::new("wrk").args(["-t1", "-c8", "-d1s", &url]).output().expect("wrk");
        assert!(load.status.success());
        quiet();
        far.there(quiet);
    });
    let ours = counts.packets + counts.not_taken.kernel_drops + counts.not_taken.mirror_drops;
    let (seen, dropped) = tcpdump.stop(&file, ours);
    assert!(seen > 1000, "{seen} packets");
    assert_eq!(ours, seen + dropped, "{counts:?}; tcpdump dropped {dropped}");
    assert_eq!(counts.requests, counts.exchanges + counts.lost.total(), "{counts:?}");
    let asked = asked.load(Ordering::Relaxed);
    if counts.not_taken.kernel_drops == 0 {
        assert_eq!(counts.requests, asked, "{counts:?}");
        assert_eq!((counts.segments.gaps, counts.lost.gap), (0, 0), "{counts:?}");
        // Those that were under way when the client left were not answered to the end.
        assert!(whole + 8 >= asked, "{whole} of {asked}; {counts:?}");
    } else {
        assert!(counts.requests <= asked, "{counts:?}");
    }
    counts
}

/// Waits until no connection of this thread's network has anything to say.
fn quiet() {
    const TIME_WAIT: &str = "06";
    const LISTEN: &str = "0A";
    let talks = || {
        let all = std::fs::read_to_string("/proc/thread-self/net/tcp").expect("connections");
        let states = all.lines().skip(1).filter_map(|line| line.split_whitespace().nth(3));
        states.filter(|state| ![TIME_WAIT, LISTEN].contains(state)).count()
    };
    let until = Instant::now() + Duration::from_secs(20);
    while talks() > 0 {
        assert!(Instant::now() < until, "connections do not end");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// tcpdump on the cable, ended when dropped.
struct Tcpdump {
    process: Child,
}

impl Tcpdump {
    fn start(file: &Path) -> Self {
        let mut command = Command::new("tcpdump");
        command.args(["-i", CABLE, "-B", "65536", "-s", "96", "-U", "-Z", "root", "-w"]).arg(file);
        command.args(["tcp", "port", &PORT.to_string()]);
        let process = command.stderr(Stdio::piped()).spawn().expect("tcpdump");
        let tcpdump = Self { process };
        // It writes the file's head when it has begun.
        let until = Instant::now() + Duration::from_secs(10);
        while std::fs::metadata(file).map_or(0, |file| file.len()) == 0 {
            assert!(Instant::now() < until, "tcpdump does not begin");
            std::thread::sleep(Duration::from_millis(10));
        }
        tcpdump
    }

    /// What it saw, and what it says was dropped. It is given time to see what is expected.
    fn stop(mut self, file: &Path, expected: u64) -> (u64, u64) {
        // It leaves what it has not read yet when it is told to end.
        let until = Instant::now() + Duration::from_secs(20);
        while packets_in(&std::fs::read(file).expect("a file")) < expected && Instant::now() < until
        {
            std::thread::sleep(Duration::from_millis(50));
        }
        let pid = Pid::from_child(&self.process);
        kill_process(pid, Signal::INT).expect("a signal");
        let mut said = String::new();
        let mut from = self.process.stderr.take().expect("its story");
        std::io::Read::read_to_string(&mut from, &mut said).expect("its story");
        self.process.wait().expect("its end");
        let line = said.lines().find(|line| line.contains("dropped by kernel"));
        let dropped = line.and_then(|line| line.split(' ').next()?.parse().ok());
        (packets_in(&std::fs::read(file).expect("a file")), dropped.expect("a number"))
    }
}

impl Drop for Tcpdump {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The packets in a pcap file.
fn packets_in(file: &[u8]) -> u64 {
    let mut rest = file.get(24..).expect("its head");
    let mut count = 0;
    while let Some(length) = rest.get(8..12) {
        let length = u32::from_ne_bytes(length.try_into().expect("four bytes")) as usize;
        // The last may be half written.
        let Some(after) = rest.get(16 + length..) else { break };
        rest = after;
        count += 1;
    }
    count
}
