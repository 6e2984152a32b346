//! What a tap leaves behind: nothing, and of others it disturbs nothing.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use umbra_gateway::tap::live::{Live, Options, TapError, Through};
use umbra_gateway::tap::mirred::MirredError;
use umbra_gateway::tap::ring::RingError;

use super::place::{CABLE, Far, must, run};
use super::tapped::{captured, from_copies, options};

/// Says to this program that it is to be a tap that is killed.
pub(crate) const FORLORN: &str = "forlorn";

/// Taps an interface and says so; then waits to be killed.
pub(crate) fn forlorn(interface: &str) -> ExitCode {
    let tap = Live::open(options(interface, from_copies())).expect("a tap");
    println!("{}", tap.device());
    // Its parent never writes.
    let _ = std::io::stdin().lines().next();
    ExitCode::SUCCESS
}

/// All that a tap could change.
fn everything() -> String {
    let links = must("ip -o link show");
    // Whether a cable is plugged in on both sides comes and goes.
    let plain = |line: &str| {
        let line = line.split(" state ").next().unwrap_or(line);
        line.replace("NO-CARRIER,", "").replace(",LOWER_UP", "")
    };
    let links = links.lines().map(plain);
    let mut all: Vec<String> = links.collect();
    all.push(must("tc qdisc show"));
    for hook in ["ingress", "egress"] {
        all.push(must(&format!("tc filter show dev {CABLE} {hook}")));
    }
    all.join("\n")
}

fn open(options: Options) -> Result<Live, TapError> {
    Live::open(options)
}

pub(crate) fn nothing_stays() {
    let _far = Far::connected();
    let before = everything();
    let tap = open(options(CABLE, from_copies())).expect("a tap");
    assert!(tap.device().starts_with("umbra-tap-"));
    let during = everything();
    assert!(during.contains("clsact") && during.contains(tap.device()), "{during}");
    let second = open(options(CABLE, from_copies())).expect("another");
    assert_ne!(second.device(), tap.device());
    drop(tap);
    assert!(everything().contains(second.device()), "the other's stay");
    second.finish(&mut |_| {}).expect("an end");
    assert_eq!(everything(), before);
    drop(open(options(CABLE, from_copies())).expect("a tap"));
    assert_eq!(everything(), before);
}

pub(crate) fn others() {
    let _far = Far::connected();
    must("ip link add theirs type ifb");
    must("ip link set theirs up");
    must(&format!("tc qdisc add dev {CABLE} clsact"));
    let rule = "u32 match u32 0 0 action mirred egress mirror dev theirs";
    for (hook, preference) in [("egress", 7), ("egress", 60_000), ("ingress", 60_000)] {
        must(&format!(
            "tc filter add dev {CABLE} {hook} pref {preference} protocol all {rule} continue"
        ));
    }
    let before = everything();
    let counts = captured(options(CABLE, from_copies()), &mut |_| {}, || {
        // Nobody listens: what leaves and its answer are packets all the same.
        run("curl -s --max-time 5 http://192.0.2.2:8080/");
    });
    assert!(counts.packets >= 2, "{counts:?}");
    assert_eq!(everything(), before);
    for hook in ["egress", "ingress"] {
        let shown = must(&format!("tc -s filter show dev {CABLE} {hook} pref 60000"));
        assert!(!shown.contains("Sent 0 bytes"), "behind ours it gets nothing: {shown}");
    }
    must(&format!("tc qdisc del dev {CABLE} clsact"));
    must(&format!("tc qdisc add dev {CABLE} ingress"));
    let before = everything();
    let refused = open(options(CABLE, from_copies())).expect_err("no place for rules");
    assert!(matches!(refused, TapError::Mirred(MirredError::OnlyIngress { .. })), "{refused}");
    assert_eq!(everything(), before);
}

/// A tap in a process of its own, in this thread's network.
struct Forlorn {
    process: Child,
    device: String,
}

impl Forlorn {
    fn start() -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut process = Command::new(program)
            .args([FORLORN, CABLE])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let mut device = String::new();
        let mut from = BufReader::new(process.stdout.take().expect("its answer"));
        from.read_line(&mut device).expect("its answer");
        Self { process, device: device.trim().to_owned() }
    }

    fn kill(&mut self) {
        // It may have been killed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Forlorn {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn killed() {
    let _far = Far::connected();
    let before = everything();
    let mut forlorn = Forlorn::start();
    let device = forlorn.device.clone();
    assert!(device.starts_with("umbra-tap-"), "{device}");
    // As long as it lives, it is not touched.
    let second = open(options(CABLE, from_copies())).expect("a tap");
    assert!(everything().contains(&device));
    drop(second);
    forlorn.kill();
    let left = everything();
    assert!(left.contains(&device) && left.contains("clsact"), "{left}");
    // The next removes it, whatever interface it is for.
    drop(open(options("lo", from_copies())).expect("a tap"));
    assert_eq!(everything(), before);
    // So it does what was left before there was anything else.
    must("ip link add umbra-tap-77 type ifb");
    drop(open(options(CABLE, from_copies())).expect("a tap"));
    assert_eq!(everything(), before);
}

pub(crate) fn gone() {
    let _far = Far::connected();
    for through in [Through::Direct, from_copies()] {
        must("ip link add short type veth peer name lived");
        must("ip link set short up");
        let mut tap = open(options("short", through)).expect("a tap");
        must("ip link del short");
        let step = tap.step(Duration::from_millis(50), &mut |_| {});
        assert!(matches!(step, Err(TapError::Read { .. })), "{step:?}");
        let _ = tap.finish(&mut |_| {});
        let links = must("ip -o link show");
        assert!(!links.contains("umbra-tap"), "{links}");
    }
}

pub(crate) fn refused() {
    let none = open(options("nobody", Through::Direct)).expect_err("no interface");
    assert!(matches!(none, TapError::Ring(RingError::NoInterface { .. })), "{none}");
    assert!(open(options("nobody", from_copies())).is_err());
    let word = open(options("a b", from_copies())).expect_err("no name");
    assert!(matches!(word, TapError::Mirred(MirredError::Name { .. })), "{word}");
    for device in ["eth0", "umbra-tap-0123456", "umbra-tap-/"] {
        let through = Through::Copies { device: Some(device.to_owned()) };
        let refused = open(options("lo", through)).expect_err("no name for it");
        assert!(matches!(refused, TapError::Mirred(MirredError::Device { .. })), "{refused}");
    }
    must("ip tuntap add mode tun name tunnel");
    let tunnel = open(options("tunnel", from_copies())).expect_err("no Ethernet");
    assert!(matches!(tunnel, TapError::Mirred(MirredError::NotEthernet { .. })), "{tunnel}");
    open(options("tunnel", Through::Direct)).expect("packets of IP");
    let named = Through::Copies { device: Some("umbra-tap-own".to_owned()) };
    let tap = open(options("lo", named.clone())).expect("a tap");
    assert_eq!(tap.device(), "umbra-tap-own");
    assert!(open(options("lo", named)).is_err(), "it is taken");
    let links = must("ip -o link show");
    assert!(links.contains("umbra-tap-own") && !links.contains("umbra-tap-0"), "{links}");
}
