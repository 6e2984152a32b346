//! The fence around shadows, from inside and from outside.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command as Program;
use std::time::Duration;

use libtest_mimic::Trial;
use umbra_shadow::provider::{Egress, Limits, Network, Provider, Running};
use umbra_shadow::{Shadow, ShadowSpec};

use crate::support::{Ground, attack, repelled, run, sh, until};
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("network::the-host-reaches-a-shadow", host_reaches),
        trial("network::an-address-is-had-again", had_again),
        trial("network::a-shadow-reaches-nobody", reaches_nobody),
        trial("network::no-shadow-passes-for-another", no_impostor),
        trial("network::the-bridge-says-nothing-of-its-own", silent_bridge),
        trial("network::without-a-network-there-is-none", none),
        trial("network::openings-work-and-only-those", openings),
        trial("network::an-opening-to-this-machine", opening_to_this_machine),
        trial("network::connections-do-not-outlive-a-view", no_lingering),
    ]
}

const PORT: u16 = 8080;

fn address(shadow: &dyn Shadow) -> Ipv4Addr {
    match shadow.address() {
        Some(IpAddr::V4(address)) => address,
        other => panic!("no address: {other:?}"),
    }
}

/// The bridge is the first address of the subnet of 1024.
pub(crate) fn gateway(shadow: &dyn Shadow) -> Ipv4Addr {
    Ipv4Addr::from((u32::from(address(shadow)) & !1023) + 1)
}

#[track_caller]
fn serve(shadow: &dyn Shadow, word: &str) -> Box<dyn Running> {
    let service = shadow.start(&attack(&["serve", "8080", word])).expect("a service");
    until("it serves", Duration::from_secs(10), || service.log_tail(100) == b"ready\n");
    service
}

#[track_caller]
fn asks(shadow: &dyn Shadow) -> String {
    let to = SocketAddr::from((address(shadow), PORT));
    let mut connection =
        TcpStream::connect_timeout(&to, Duration::from_secs(5)).expect("connected");
    let mut word = String::new();
    connection.read_to_string(&mut word).expect("answered");
    word
}

fn host_reaches() {
    let ground = Ground::new();
    let shadow = ground.spawn("web", Network::Fenced);
    let _service = serve(&*shadow, "hello");
    assert_eq!(asks(&*shadow), "hello");
    // The address stays with the shadow through views.
    shadow.apply(&ground.layers()).expect("applied");
    let _service = serve(&*shadow, "again");
    assert_eq!(asks(&*shadow), "again");
}

fn had_again() {
    let ground = Ground::new();
    let spawn = |name: &str, address| {
        let spec = ShadowSpec::new(name, Limits::default(), Network::Fenced);
        let spec = ShadowSpec { address, ..spec };
        ground.provider().spawn(&ground.layers(), &spec).expect("spawned")
    };
    let first = spawn("first", None);
    let wanted = first.address();
    let other = spawn("other", wanted);
    assert_ne!(other.address(), wanted, "it is somebody's");
    drop(first);
    let _between = spawn("between", None);
    assert_eq!(spawn("again", wanted).address(), wanted);
    for foreign in [IpAddr::from([192, 0, 2, 9]), "2001:db8::1".parse().expect("an address")] {
        assert_ne!(spawn("foreign", Some(foreign)).address(), Some(foreign));
    }
}

fn reaches_nobody() {
    let ground = Ground::new();
    let first = ground.spawn("first", Network::Fenced);
    let second = ground.spawn("second", Network::Fenced);
    let _service = serve(&*second, "mine");
    let bridge = gateway(&*first);
    // A service on all of this machine's addresses.
    let listener = TcpListener::bind("0.0.0.0:0").expect("bound");
    let port = listener.local_addr().expect("an address").port();
    let mut targets: Vec<String> = own_addresses().iter().map(|a| format!("{a}:{port}")).collect();
    targets.push(format!("{bridge}:{port}"));
    targets.push(format!("{bridge}:1"));
    targets.push(format!("{}:{PORT}", address(&*second)));
    targets.push("192.0.2.1:80".to_owned());
    targets.push("169.254.169.254:80".to_owned());
    assert!(targets.len() >= 6, "{targets:?}");
    let words: Vec<&str> = ["connect"].into_iter().chain(targets.iter().map(|t| &**t)).collect();
    repelled(&*first, &words);
    assert_eq!(asks(&*second), "mine", "the service was there all the time");
    let routes = sh(&*first, "cat /proc/net/route").stdout;
    assert_eq!(routes.iter().filter(|byte| **byte == b'\n').count(), 2, "its own subnet only");
}

/// IPv4 addresses of this machine that are not loopback or a bridge of shadows.
pub(crate) fn own_addresses() -> Vec<Ipv4Addr> {
    let output = Program::new("ip").args(["-4", "-o", "addr"]).output().expect("ip runs");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields[1] != "lo" && !fields[1].starts_with("umb"))
        .filter_map(|fields| fields[3].split('/').next()?.parse().ok())
        .collect()
}

fn no_impostor() {
    let ground = Ground::new();
    let impostor = ground.spawn("impostor", Network::Fenced);
    let victim = ground.spawn("victim", Network::Fenced);
    let _honest = serve(&*victim, "victim");
    let _false = serve(&*impostor, "impostor");
    assert_eq!(asks(&*victim), "victim");
    let mac =
        String::from_utf8(sh(&*victim, "cat /sys/class/net/eth0/address").stdout).expect("text");
    let before = received(&*victim);
    let own = address(&*impostor).to_string();
    let other = address(&*victim).to_string();
    repelled(&*impostor, &["forge", &own, &other, mac.trim()]);
    assert_eq!(received(&*victim), before, "no frame of the impostor arrived");
    for _ in 0..5 {
        assert_eq!(asks(&*victim), "victim");
        assert_eq!(asks(&*impostor), "impostor");
    }
    let neighbours = sh(&*victim, "cat /proc/net/arp");
    let neighbours = String::from_utf8_lossy(&neighbours.stdout).into_owned();
    assert!(!neighbours.contains(&own), "{neighbours}");
}

/// Frames that have arrived at a shadow.
fn received(shadow: &dyn Shadow) -> u64 {
    let output = sh(shadow, "cat /sys/class/net/eth0/statistics/rx_packets");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number")
}

/// What a shadow hears is for it: this machine's end announces neither itself nor groups.
fn silent_bridge() {
    let ground = Ground::new();
    let shadow = ground.spawn("listening", Network::Fenced);
    let bridge = bridge(&*shadow);
    let own = |name: &str| name == bridge || name.starts_with(&format!("{bridge}-"));
    let groups = group_members();
    assert!(groups.iter().any(|(link, _)| own(link)), "{bridge} {groups:?}");
    // Membership of these is taken for granted and never reported (RFC 3376 and 3810, 6).
    const SILENT: [&str; 3] = [
        "010000E0", // 224.0.0.1 in the byte order of /proc/net/igmp
        "ff020000000000000000000000000001",
        "ff010000000000000000000000000001",
    ];
    for (link, group) in groups.iter().filter(|(link, _)| own(link)) {
        assert!(SILENT.contains(&&**group), "{link} is a member of {group}");
    }
    let addresses = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    let named = |line: &&str| line.split_whitespace().last().is_some_and(own);
    assert_eq!(addresses.lines().find(named), None);
}

/// The bridge a shadow is at.
fn bridge(shadow: &dyn Shadow) -> String {
    let output = Program::new("ip").args(["-4", "-o", "addr"]).output().expect("ip runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let address = format!(" {}/", gateway(shadow));
    let line = text.lines().find(|line| line.contains(&address)).expect("a bridge");
    line.split_whitespace().nth(1).expect("a name").to_owned()
}

/// This machine's interfaces, each with a multicast group it is a member of.
fn group_members() -> Vec<(String, String)> {
    let read = |file| std::fs::read_to_string(file).unwrap_or_default();
    let mut members = Vec::new();
    let mut link = String::new();
    for line in read("/proc/net/igmp").lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        // An interface, and indented below it its groups.
        if line.starts_with('\t') {
            members.push((link.clone(), words[0].to_owned()));
        } else {
            link = words[1].trim_end_matches(':').to_owned();
        }
    }
    for line in read("/proc/net/igmp6").lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        members.push((words[1].to_owned(), words[2].to_owned()));
    }
    members
}

fn none() {
    let ground = Ground::new();
    let shadow = ground.spawn("alone", Network::None);
    let links = sh(&*shadow, "ls /sys/class/net").stdout;
    assert_eq!(String::from_utf8_lossy(&links), "lo\n");
    let _service = serve(&*shadow, "self");
    assert!(run(&*shadow, &attack(&["reach", "127.0.0.1:8080"])).exit.success(), "loopback works");
}

/// Another machine, as far as a shadow can tell: a network namespace behind a veth.
struct Outside {
    name: String,
    link: String,
}

impl Outside {
    const HERE: &str = "198.51.100.1/24";
    const THERE: &str = "198.51.100.2";

    fn new() -> Self {
        let name = format!("outside-{}", std::process::id());
        let link = format!("out{}", std::process::id());
        let outside = Self { name, link };
        let Self { name, link } = &outside;
        ip(&["netns", "add", name]);
        ip(&["link", "add", link, "type", "veth", "peer", "name", "there", "netns", name]);
        ip(&["addr", "add", Self::HERE, "dev", link]);
        ip(&["link", "set", link, "up"]);
        let there = format!("{}/24", Self::THERE);
        ip(&["-n", name, "addr", "add", &there, "dev", "there"]);
        ip(&["-n", name, "link", "set", "there", "up"]);
        outside
    }

    /// A listener there; its socket stays there whoever holds it.
    fn listen(&self, port: u16) -> TcpListener {
        let path = format!("/run/netns/{}", self.name);
        let entered = std::thread::spawn(move || {
            let namespace = std::fs::File::open(path).expect("a namespace");
            let kind = Some(rustix::thread::LinkNameSpaceType::Network);
            rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), kind)
                .expect("entered");
            TcpListener::bind((Self::THERE, port)).expect("bound")
        });
        entered.join().expect("a listener")
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        // Both are gone already if their making failed.
        let _ = Program::new("ip").args(["link", "del", &self.link]).output();
        let _ = Program::new("ip").args(["netns", "del", &self.name]).output();
    }
}

#[track_caller]
fn ip(words: &[&str]) {
    let output = Program::new("ip").args(words).output().expect("ip runs");
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn openings() {
    let outside = Outside::new();
    let [open, closed] = [8080, 8081].map(|port| outside.listen(port));
    let ground = Ground::new();
    let to = |port| Egress { address: Outside::THERE.parse().expect("address"), port };
    let allowed = ground.spawn("allowed", Network::Egress(vec![to(8080)]));
    let fenced = ground.spawn("fenced", Network::Fenced);
    let elsewhere = ground.spawn("elsewhere", Network::Egress(vec![to(9)]));
    let reach = |port: u16| attack(&["reach", &format!("{}:{port}", Outside::THERE)]);
    let reaches = |shadow: &dyn Shadow, port| run(shadow, &reach(port)).exit.success();
    assert!(reaches(&*allowed, 8080), "the opening works");
    let (_, from) = open.accept().expect("a connection");
    assert_eq!(from.ip().to_string(), "198.51.100.1", "a shadow's own address does not leave");
    assert!(!reaches(&*allowed, 8081), "another port");
    assert!(!reaches(&*fenced, 8080), "another shadow");
    assert!(!reaches(&*elsewhere, 8080), "another opening");
    let bridge = gateway(&*allowed);
    repelled(&*allowed, &["connect", &format!("{bridge}:8080"), "198.51.100.1:8080"]);
    assert!(closed.set_nonblocking(true).is_ok() && closed.accept().is_err(), "nobody came");
    drop(allowed);
    let again = ground.spawn("again", Network::Fenced);
    assert!(!reaches(&*again, 8080), "an opening closes with its shadow");
}

fn opening_to_this_machine() {
    let ground = Ground::new();
    let outside = Outside::new();
    let listener = TcpListener::bind("198.51.100.1:0").expect("bound");
    let port = listener.local_addr().expect("an address").port();
    let closed = TcpListener::bind("198.51.100.1:0").expect("bound");
    let closed = closed.local_addr().expect("an address").port();
    let to = Egress { address: "198.51.100.1".parse().expect("address"), port };
    let shadow = ground.spawn("proxied", Network::Egress(vec![to]));
    let reaches = |port: u16| {
        run(&*shadow, &attack(&["reach", &format!("198.51.100.1:{port}")])).exit.success()
    };
    assert!(reaches(port) && !reaches(closed));
    drop(outside);
}

/// The network namespace outlives a view; its connections must not.
fn no_lingering() {
    let ground = Ground::new();
    let shadow = ground.spawn("lingering", Network::Fenced);
    let service = serve(&*shadow, "bye");
    // The side that closes first is the one that lingers, and that is the shadow's.
    assert_eq!(asks(&*shadow), "bye");
    drop(service);
    shadow.apply(&ground.layers()).expect("applied");
    let sockets = sh(&*shadow, "cat /proc/net/tcp").stdout;
    let lines = sockets.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(lines, 1, "{}", String::from_utf8_lossy(&sockets));
}
