//! The guest's end: asks the first process of the view that is shown.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::channel::{Channel, Channels, Interests, Open, Token, carry_on};
use super::frame::{Body, Frame, parse};
use super::link::{Link, malformed};
use super::stream::Stream;
use crate::failure::Failure;
use crate::order::{Answer, Opening, Order, Told};
use crate::run::{RunControl, RunEvent, RunRequest};
use crate::wire;

/// So many things go on at once.
const CHANNELS_MAX: usize = 1024;

/// What is still read of an ended command's output: what its pipes can hold.
const REST_BYTES_MAX: usize = 1 << 20;

/// Carries what comes through `port` to the view's first process, and orders to whoever is at the
/// other end of `orders`: an [`Answer`] comes back for each, with the new view's socket.
///
/// # Errors
/// The port's or the orders', after which there is nobody to speak with.
pub fn serve(port: OwnedFd, orders: OwnedFd) -> io::Result<()> {
    let link = Link::new(port)?;
    let mut guest = Guest { link, orders, ordered: None, init: None, channels: Channels::new() };
    loop {
        for token in guest.wait()? {
            if !guest.attend(token)? {
                return Ok(());
            }
        }
        guest.settle();
        guest.link.flush()?;
    }
}

struct Guest {
    link: Link,
    orders: OwnedFd,
    /// The channel of the order that is being carried out.
    ordered: Option<u32>,
    /// The first process of the view.
    init: Option<OwnedFd>,
    channels: Channels<Purpose>,
}

enum Purpose {
    Run {
        /// How it ended, and how much of its output may still be read.
        ended: Option<(RunEvent, usize)>,
    },
    Connecting,
    Connected,
}

impl Guest {
    fn wait(&self) -> io::Result<Vec<Token>> {
        let mut interests = Interests::default();
        interests.link(&self.link);
        interests.add(Token::Orders, self.orders.as_fd(), PollFlags::IN);
        for (id, open) in &self.channels {
            if let (Purpose::Connecting, Some(socket)) = (&open.purpose, &open.channel.socket) {
                interests.add(Token::Socket(*id), socket.as_fd(), PollFlags::OUT);
            } else {
                interests.channel(*id, &open.channel);
            }
        }
        interests.wait()
    }

    fn attend(&mut self, token: Token) -> io::Result<bool> {
        match token {
            Token::Port => {
                let Some(frames) = self.link.receive()? else { return Ok(false) };
                for frame in frames {
                    self.hear(&frame)?;
                }
            }
            Token::Orders => match wire::receive::<Answer>(&self.orders)? {
                Some((answer, fds)) => self.done(answer, fds),
                None => return Ok(false),
            },
            Token::Requests => {}
            Token::Socket(id) => self.event(id)?,
            Token::Stream(ready) => carry_on(&mut self.channels, ready, &mut self.link),
        }
        Ok(true)
    }

    fn hear(&mut self, frame: &Frame) -> io::Result<()> {
        let id = frame.channel;
        if let Body::Open(opening) = &frame.body {
            return self.open(id, parse(opening).map_err(|_| malformed())?);
        }
        let Some(open) = self.channels.get_mut(&id) else { return Ok(()) };
        match &frame.body {
            Body::End => {
                self.channels.remove(&id);
            }
            Body::Message(message) => {
                match parse(message).map_err(|_| malformed())? {
                    // Here and now: what is typed after it comes behind it.
                    RunControl::Resize(size) => open.channel.streams[0].resize(size),
                    control => {
                        if let Some(socket) = &open.channel.socket {
                            // It has ended, and said so.
                            let _ = wire::send(socket, &control, &[]);
                        }
                    }
                }
            }
            body => {
                open.channel.take(body).map_err(|_| malformed())?;
            }
        }
        Ok(())
    }

    fn open(&mut self, id: u32, opening: Opening) -> io::Result<()> {
        let full = self.channels.len() >= CHANNELS_MAX;
        let opened = match opening {
            Opening::Run(_) if full => Err(not_started("too much goes on in this machine")),
            Opening::Run(request) => self.run(&request),
            Opening::Connect(_) if full => Err(Told::Refused(Errno::AGAIN.raw_os_error())),
            Opening::Connect(to) => {
                connect(to).map_err(|errno| Told::Refused(errno.raw_os_error()))
            }
            Opening::Order(order) => return self.order(id, &order),
        };
        match opened {
            Ok(open) => {
                self.channels.insert(id, open);
            }
            Err(told) => self.link.send(&Frame::message(id, &told)),
        }
        Ok(())
    }

    fn order(&mut self, id: u32, order: &Order) -> io::Result<()> {
        if self.ordered.is_some() {
            let busy = Failure::new("do two things at once", &Errno::BUSY.into());
            self.link.send(&Frame::message(id, &Told::Done(Err(busy))));
            return Ok(());
        }
        if matches!(order, Order::Be(_)) {
            // What was under way was the one's that this machine was copied from.
            self.channels.clear();
        }
        self.ordered = Some(id);
        wire::send(&self.orders, order, &[])
    }

    /// An order was carried out.
    fn done(&mut self, answer: Answer, fds: Vec<OwnedFd>) {
        let Some(id) = self.ordered.take() else { return };
        if let Some(init) = fds.into_iter().next() {
            self.init = Some(init);
        }
        self.link.send(&Frame::message(id, &Told::Done(answer)));
    }

    fn run(&mut self, request: &RunRequest) -> Result<Open<Purpose>, Told> {
        let Some(init) = &self.init else { return Err(not_started("nothing is shown")) };
        let asked = || -> io::Result<Channel> {
            let (ours, theirs) = wire::pair()?;
            if request.terminal.is_some() {
                wire::send(init, request, &[theirs.as_fd()])?;
                return Ok(Channel { socket: Some(ours), ..Channel::default() });
            }
            let (stdin, to) = io::pipe()?;
            let (from_out, stdout) = io::pipe()?;
            let (from_err, stderr) = io::pipe()?;
            let fds = [theirs.as_fd(), stdin.as_fd(), stdout.as_fd(), stderr.as_fd()];
            wire::send(init, request, &fds)?;
            let streams = [
                Stream::new(None, Some(to.into()))?,
                Stream::new(Some(from_out.into()), None)?,
                Stream::new(Some(from_err.into()), None)?,
            ];
            Ok(Channel { socket: Some(ours), streams })
        };
        let channel = asked().map_err(|error| match error.raw_os_error() {
            Some(libc::EPIPE | libc::ECONNRESET) => not_started("the view has ended"),
            _ => not_started(&error.to_string()),
        })?;
        Ok(Open { channel, purpose: Purpose::Run { ended: None } })
    }

    /// Something happened at a channel's socket.
    fn event(&mut self, id: u32) -> io::Result<()> {
        let Some(open) = self.channels.get_mut(&id) else { return Ok(()) };
        let Some(socket) = &open.channel.socket else { return Ok(()) };
        if let Purpose::Connecting = open.purpose {
            match rustix::net::sockopt::socket_error(socket)? {
                Ok(()) => {
                    self.link.send(&Frame::message(id, &Told::Connected));
                    let stream = open.channel.socket.take();
                    let from = stream.as_ref().map(OwnedFd::try_clone).transpose()?;
                    open.channel.streams[0] = Stream::new(from, stream)?;
                    open.purpose = Purpose::Connected;
                }
                Err(errno) => {
                    let refused = Told::Refused(errno.raw_os_error());
                    self.link.send(&Frame::message(id, &refused));
                    self.channels.remove(&id);
                }
            }
            return Ok(());
        }
        match wire::receive::<RunEvent>(socket) {
            Ok(Some((RunEvent::Started, fds))) => {
                self.link.send(&Frame::message(id, &Told::Run(RunEvent::Started)));
                if let Some(terminal) = fds.into_iter().next() {
                    let from = terminal.try_clone()?;
                    open.channel.streams[0] = Stream::new(Some(from), Some(terminal))?;
                }
            }
            Ok(Some((event @ RunEvent::NotStarted(_), _))) => {
                self.link.send(&Frame::message(id, &Told::Run(event)));
                self.channels.remove(&id);
            }
            Ok(Some((event, _))) => {
                open.channel.socket = None;
                open.purpose = Purpose::Run { ended: Some((event, REST_BYTES_MAX)) };
            }
            // The view has ended, and the command with it.
            Ok(None) | Err(_) => {
                self.channels.remove(&id);
                self.link.say(id, Body::End);
            }
        }
        Ok(())
    }

    /// Says what was taken, and that commands have ended whose output has been sent.
    fn settle(&mut self) {
        let link = &mut self.link;
        self.channels.retain(|id, open| {
            open.channel.tell_news(*id, link);
            let Purpose::Run { ended: Some((event, rest)) } = &mut open.purpose else {
                return true;
            };
            for number in 0..open.channel.streams.len() {
                while *rest > 0 && open.channel.streams[number].reads().is_some() {
                    match open.channel.streams[number].read(number) {
                        Some(body) => {
                            if let Body::Data(_, bytes) = &body {
                                *rest = rest.saturating_sub(bytes.len());
                            }
                            link.say(*id, body);
                        }
                        // Nothing is there now.
                        None => break,
                    }
                }
            }
            let waits = |stream: &Stream| stream.is_out_of_credit();
            if *rest > 0 && open.channel.streams.iter().any(waits) {
                return true;
            }
            link.send(&Frame::message(*id, &Told::Run(event.clone())));
            false
        });
    }
}

/// Begins a connection; it is there, or not, when its socket can be written to.
fn connect(to: SocketAddr) -> Result<Open<Purpose>, Errno> {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, &to) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(errno) => return Err(errno),
    }
    let channel = Channel { socket: Some(socket), ..Channel::default() };
    Ok(Open { channel, purpose: Purpose::Connecting })
}

fn not_started(why: &str) -> Told {
    Told::Run(RunEvent::NotStarted(why.to_owned()))
}
