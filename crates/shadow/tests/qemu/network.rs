//! The fence around machines: this one reaches them, they reach nobody.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use libtest_mimic::Trial;
use umbra_shadow::provider::{Limits, Network};
use umbra_shadow::{Provider, Shadow, ShadowSpec};
use umbra_state::Command;

use crate::support::{Ground, sh, text, until};
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("network::machines-are-reached-and-reach-nobody", fenced)]
}

const SERVER: &str = "while :; do echo hello | nc -l -p 80; done";

fn fenced() {
    let ground = Ground::new();
    let spawn = |name: &str| -> Box<dyn Shadow> {
        let spec = ShadowSpec::new(name, Limits::default(), Network::Fenced);
        ground.provider().spawn(&ground.layers(), &spec).expect("a shadow")
    };
    let (one, other) = (spawn("one"), spawn("other"));
    let at = |shadow: &dyn Shadow| SocketAddr::new(shadow.address().expect("an address"), 80);
    let _server = one.start(&Command::shell(SERVER)).expect("a server");
    assert_eq!(read(|| TcpStream::connect_timeout(&at(&*one), SECOND)), "hello\n", "from here");
    let inside = SocketAddr::from((Ipv4Addr::LOCALHOST, 80));
    assert_eq!(read(|| one.connect(inside, SECOND)), "hello\n", "from inside");
    assert!(other.connect(inside, SECOND).is_err(), "nothing listens there");
    // Neither another machine nor this one is reached from inside.
    assert!(other.connect(at(&*one), SECOND).is_err(), "its neighbour");
    let std::net::IpAddr::V4(own) = one.address().expect("an address") else { panic!("IPv4") };
    let bridge = Ipv4Addr::from(u32::from(own) & 0xffff_fc00 | 1);
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    assert!(other.connect((bridge, port).into(), SECOND).is_err(), "this machine");
    let routes = text(&sh(&*other, "ip route"));
    assert!(!routes.contains("default"), "{routes}");
}

const SECOND: Duration = Duration::from_secs(1);

/// What it says, once it is there.
fn read(mut connect: impl FnMut() -> std::io::Result<TcpStream>) -> String {
    let mut said = String::new();
    until("it says something", Duration::from_secs(20), || {
        said.clear();
        let read = connect().and_then(|mut stream| {
            stream.set_read_timeout(Some(SECOND))?;
            stream.read_to_string(&mut said)
        });
        read.is_ok() && !said.is_empty()
    });
    said
}
