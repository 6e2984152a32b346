//! Both ends together, and behind them a first process that does as it is told.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};

use umbra_state::{Command, Exit};

use super::frame::{Body, Frame, STREAMS, WINDOW};
use super::host::{Ask, Past};
use super::{guest, host};
use crate::exec;
use crate::order::{Answer, Order, Told};
use crate::run::{RunControl, RunEvent, RunRequest, TerminalSize};
use crate::wire;

/// A tunnel whose guest shows a view; ends with this value.
struct Tunnel {
    asks: Option<OwnedFd>,
    runs: OwnedFd,
    ends: Vec<JoinHandle<io::Result<()>>>,
}

impl Tunnel {
    /// With a first process that does this to each request.
    fn new(init: fn(RunRequest, Vec<OwnedFd>)) -> Self {
        let (here, there) = UnixStream::pair().expect("a pair");
        let (asks, asked) = wire::pair().expect("a pair");
        let (orders, first) = wire::pair().expect("a pair");
        let ends = vec![
            thread::spawn(move || host::serve(here.into(), asked, Past::None)),
            thread::spawn(move || guest::serve(there.into(), orders)),
        ];
        thread::spawn(move || {
            while let Ok(Some((order, _))) = wire::receive::<Order>(&first) {
                let (ours, theirs) = wire::pair().expect("a pair");
                thread::spawn(move || {
                    while let Ok(Some((request, fds))) = wire::receive::<RunRequest>(&ours) {
                        thread::spawn(move || init(request, fds));
                    }
                });
                let fds = [theirs.as_fd()];
                let fds = if order == Order::Hello { &fds[..0] } else { &fds[..] };
                wire::send(&first, &Answer::Ok(()), fds).expect("answered");
            }
        });
        let (runs, at) = wire::pair().expect("a pair");
        let tunnel = Self { asks: Some(asks), runs, ends };
        let order = Order::View(crate::order::View {
            root: crate::order::Root::Disk,
            hostname: "web".into(),
            shm_bytes_max: 0,
            memory_bytes_max: None,
            pids_max: None,
        });
        let answer: Answer = tunnel.ask(&Ask::Order(order), Some(at));
        assert_eq!(answer, Ok(()));
        tunnel
    }

    fn ask<T: serde::de::DeserializeOwned>(&self, ask: &Ask, second: Option<OwnedFd>) -> T {
        let (ours, theirs) = wire::pair().expect("a pair");
        let fds: Vec<_> = [Some(theirs.as_fd()), second.as_ref().map(AsFd::as_fd)]
            .into_iter()
            .flatten()
            .collect();
        wire::send(self.asks.as_ref().expect("asked"), ask, &fds).expect("sent");
        drop((theirs, second));
        wire::receive(&ours).expect("answered").expect("answered").0
    }

    /// Asks for a command; its socket, and our ends of its streams.
    fn run(&self, argv: &[&str]) -> (OwnedFd, File, File) {
        let (ours, theirs) = wire::pair().expect("a pair");
        let (stdin, feed) = io::pipe().expect("a pipe");
        let (out, stdout) = io::pipe().expect("a pipe");
        let request = RunRequest { command: Command::new(argv.to_vec()), terminal: None };
        let fds = [theirs.as_fd(), stdin.as_fd(), stdout.as_fd(), stdout.as_fd()];
        wire::send(&self.runs, &request, &fds).expect("sent");
        (ours, OwnedFd::from(feed).into(), OwnedFd::from(out).into())
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.asks = None;
        for end in self.ends.drain(..) {
            let ended = end.join().expect("no panic");
            assert!(ended.is_ok() || thread::panicking(), "{ended:?}");
        }
    }
}

fn event(socket: &OwnedFd) -> Option<RunEvent> {
    wire::receive(socket).expect("an event").map(|(event, _)| event)
}

/// `cat`, `flood`, `hold` and `none`.
fn script(request: RunRequest, fds: Vec<OwnedFd>) {
    let mut fds = fds.into_iter();
    let run = fds.next().expect("a socket");
    let say = |event| drop(wire::send(&run, &event, &[]));
    let program = request.command.argv[0].clone();
    if program == "none" {
        return say(RunEvent::NotStarted("there is none".into()));
    }
    if let Some(size) = request.terminal {
        let (master, slave) = exec::open_terminal(size).expect("a terminal");
        wire::send(&run, &RunEvent::Started, &[master.as_fd()]).expect("sent");
        drop(master);
        let mut slave = File::from(slave);
        let mut typed = [0; 5];
        slave.read_exact(&mut typed).expect("typed");
        assert_eq!(&typed, b"exit\n");
        // What was said before that is known by now.
        let size = rustix::termios::tcgetwinsize(&slave).expect("a size");
        let said = format!("{} {}", size.ws_row, size.ws_col);
        slave.write_all(said.as_bytes()).expect("written");
        // Until it is read.
        let gone = wire::receive::<RunControl>(&run).expect("no error");
        assert_eq!(gone.map(|(control, _)| control), Some(RunControl::Kill));
        return say(RunEvent::Ended(Exit::Code(7)));
    }
    say(RunEvent::Started);
    let mut next = || File::from(fds.next().expect("a stream"));
    let (mut stdin, mut stdout) = (next(), next());
    match program.as_str() {
        "cat" => drop(io::copy(&mut stdin, &mut stdout).expect("copied")),
        "flood" => while stdout.write_all(&[b'x'; 4096]).is_ok() {},
        _ => {
            let gone = wire::receive::<RunControl>(&run).expect("no error");
            assert!(gone.is_none(), "{gone:?}");
            return;
        }
    }
    drop(stdout);
    say(RunEvent::Ended(Exit::Code(3)));
}

#[test]
fn what_goes_in_comes_out_before_the_end_is_told() {
    let tunnel = Tunnel::new(script);
    let (socket, mut feed, mut out) = tunnel.run(&["cat"]);
    assert_eq!(event(&socket), Some(RunEvent::Started));
    let bytes: Vec<u8> = (0..3 * WINDOW).map(|n| (n % 251) as u8).collect();
    let fed = bytes.clone();
    let feeder = thread::spawn(move || feed.write_all(&fed).expect("fed"));
    let mut read = Vec::new();
    out.read_to_end(&mut read).expect("read");
    assert!(read == bytes, "{} bytes came back", read.len());
    assert_eq!(event(&socket), Some(RunEvent::Ended(Exit::Code(3))));
    assert_eq!(event(&socket), None);
    feeder.join().expect("fed");
}

#[test]
fn who_does_not_read_stops_nobody_else() {
    let tunnel = Tunnel::new(script);
    let (flood, _feed, mut flooded) = tunnel.run(&["flood"]);
    assert_eq!(event(&flood), Some(RunEvent::Started));
    for _ in 0..3 {
        let (socket, feed, mut out) = tunnel.run(&["cat"]);
        assert_eq!(event(&socket), Some(RunEvent::Started));
        drop(feed);
        let mut read = Vec::new();
        out.read_to_end(&mut read).expect("read");
        assert_eq!(event(&socket), Some(RunEvent::Ended(Exit::Code(3))));
    }
    // It goes on where somebody reads.
    let mut much = vec![0; 2 * WINDOW as usize];
    flooded.read_exact(&mut much).expect("read");
    // And ends where its caller is gone.
    drop(flood);
    let mut rest = Vec::new();
    flooded.read_to_end(&mut rest).expect("its end");
}

#[test]
fn programs_that_are_not_there_are_told_of_and_gone_callers_too() {
    let tunnel = Tunnel::new(script);
    let (socket, _feed, _out) = tunnel.run(&["none"]);
    assert_eq!(event(&socket), Some(RunEvent::NotStarted("there is none".into())));
    let (socket, _feed, mut out) = tunnel.run(&["hold"]);
    assert_eq!(event(&socket), Some(RunEvent::Started));
    drop(socket);
    assert_eq!(out.read(&mut [0]).expect("read"), 0, "its output ends with it");
    let hello: Answer = tunnel.ask(&Ask::Order(Order::Hello), None);
    assert_eq!(hello, Ok(()));
}

#[test]
fn terminals_have_a_size_and_go_both_ways() {
    let tunnel = Tunnel::new(script);
    let (ours, theirs) = wire::pair().expect("a pair");
    let size = TerminalSize { columns: 80, rows: 24 };
    let request = RunRequest { command: Command::new(["sh"]), terminal: Some(size) };
    wire::send(&tunnel.runs, &request, &[theirs.as_fd()]).expect("sent");
    drop(theirs);
    let (started, fds) = wire::receive::<RunEvent>(&ours).expect("told").expect("told");
    assert_eq!(started, RunEvent::Started);
    let mut terminal = File::from(fds.into_iter().next().expect("a terminal"));
    let resize = RunControl::Resize(TerminalSize { columns: 100, rows: 40 });
    wire::send(&ours, &resize, &[]).expect("sent");
    terminal.write_all(b"exit\n").expect("typed");
    // It echoes what is typed.
    let wanted = "exit\r\n40 100";
    let mut seen = vec![0; wanted.len()];
    terminal.read_exact(&mut seen).expect("read");
    assert_eq!(String::from_utf8_lossy(&seen), wanted);
    wire::send(&ours, &RunControl::Kill, &[]).expect("sent");
    assert_eq!(event(&ours), Some(RunEvent::Ended(Exit::Code(7))));
}

#[test]
fn connections_are_made_from_inside() {
    let tunnel = Tunnel::new(script);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
    let at = listener.local_addr().expect("an address");
    let answers = thread::spawn(move || {
        let (mut one, _) = listener.accept().expect("accepted");
        let mut asked = Vec::new();
        one.read_to_end(&mut asked).expect("asked");
        one.write_all(&asked).expect("answered");
        // Nobody listens from here on.
    });
    let connect = |to: SocketAddr| {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let connected: Result<(), i32> = tunnel.ask(&Ask::Connect(to), Some(theirs.into()));
        connected.map(|()| ours)
    };
    let mut stream = connect(at).expect("connected");
    stream.write_all(b"hello").expect("written");
    stream.shutdown(std::net::Shutdown::Write).expect("half closed");
    let mut back = String::new();
    stream.read_to_string(&mut back).expect("read");
    assert_eq!(back, "hello");
    answers.join().expect("answered");
    assert_eq!(connect(at).err(), Some(libc::ECONNREFUSED));
    drop(TcpStream::connect(at).expect_err("refused as well"));
}

/// What a guest may say that is no guest's to say.
#[test]
fn a_hostile_guest_costs_its_tunnel_and_nothing_else() {
    let frame = |body| Frame { channel: 1, body };
    let sayings: Vec<Vec<Frame>> = vec![
        vec![Frame { channel: 2, body: Body::Data(0, vec![b'x']) }],
        vec![frame(Body::Open(b"{}".to_vec()))],
        vec![frame(Body::Credit(0, WINDOW)), frame(Body::Credit(0, 1))],
        vec![frame(Body::Message(b"[".repeat(100_000)))],
        vec![Frame::message(1, &Told::Connected)],
        vec![frame(Body::Eof(STREAMS - 1)), frame(Body::Data(STREAMS - 1, vec![1]))],
    ];
    for (number, saying) in sayings.into_iter().enumerate() {
        let (here, mut guest) = UnixStream::pair().expect("a pair");
        let (asks, asked) = wire::pair().expect("a pair");
        let served = thread::spawn(move || host::serve(here.into(), asked, Past::None));
        let (ours, theirs) = wire::pair().expect("a pair");
        wire::send(&asks, &Ask::Order(Order::Hello), &[theirs.as_fd()]).expect("sent");
        drop(theirs);
        // Its order has come: the channel is known.
        guest.read_exact(&mut [0; 12]).expect("asked");
        let mut bytes = Vec::new();
        saying.iter().for_each(|frame| frame.write(&mut bytes));
        let _ = guest.write_all(&bytes);
        drop(guest);
        let ended = served.join().expect("no panic");
        assert!(ended.is_err(), "saying {number}");
        assert!(matches!(wire::receive::<Answer>(&ours), Ok(None)), "saying {number}");
    }
}
