//! The host's end: looks to whoever asks like the first process of the guest's view.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::PollFlags;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use serde::{Deserialize, Serialize};
use umbra_state::Exit;

use super::channel::{Channel, Channels, Interests, Open, Token, carry_on};
use super::frame::{Body, Frame, parse};
use super::link::{Link, malformed};
use super::stream::Stream;
use crate::order::{Opening, Order, Told};
use crate::run::{RunControl, RunEvent, RunRequest};
use crate::wire;

/// Asked of the tunnel itself, with a socket for the answer, on which its end says that whoever
/// asked is gone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Ask {
    /// Answered by an [`crate::order::Answer`]. With a second descriptor: the socket on which the
    /// view that follows is asked for commands, in place of the one before.
    Order(Order),
    /// Answered by `Result<(), i32>`; with a second descriptor, on which the bytes come and go.
    Connect(SocketAddr),
}

/// What a guest was before somebody spoke with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Past {
    /// It has just booted.
    None,
    /// It was spoken with, and copied: it may still tell of what it was asked then.
    Forked,
}

/// The first channel to a guest that was forked. Its original had fewer.
const FORKED: u32 = 1 << 24;

/// Carries what is asked on `asks`, and on the sockets that come with orders, through `port`, until
/// either is closed.
///
/// # Errors
/// The port's, or what comes from the guest is not what guests say.
pub fn serve(port: OwnedFd, asks: OwnedFd, past: Past) -> io::Result<()> {
    let link = Link::new(port)?;
    let next = match past {
        Past::None => 1,
        Past::Forked => FORKED,
    };
    let mut host = Host { link, asks, runs: None, channels: Channels::new(), next };
    loop {
        for token in host.wait()? {
            if !host.attend(token)? {
                return Ok(());
            }
        }
        host.settle();
        host.link.flush()?;
    }
}

struct Host {
    link: Link,
    asks: OwnedFd,
    /// Where the current view is asked for commands.
    runs: Option<OwnedFd>,
    channels: Channels<Purpose>,
    next: u32,
}

enum Purpose {
    Run { terminal: bool, ended: Option<Exit> },
    Connect(Option<OwnedFd>),
    Connected,
    Order { runs: Option<OwnedFd> },
}

impl Host {
    fn wait(&self) -> io::Result<Vec<Token>> {
        let mut interests = Interests::default();
        interests.link(&self.link);
        interests.add(Token::Orders, self.asks.as_fd(), PollFlags::IN);
        if let Some(runs) = &self.runs {
            interests.add(Token::Requests, runs.as_fd(), PollFlags::IN);
        }
        for (id, open) in &self.channels {
            interests.channel(*id, &open.channel);
        }
        interests.wait()
    }

    /// Whether it goes on.
    fn attend(&mut self, token: Token) -> io::Result<bool> {
        match token {
            Token::Port => {
                let Some(frames) = self.link.receive()? else { return Ok(false) };
                for frame in frames {
                    self.hear(&frame)?;
                }
            }
            Token::Orders => match wire::receive::<Ask>(&self.asks)? {
                Some((ask, fds)) => self.ask(ask, fds)?,
                None => return Ok(false),
            },
            Token::Requests => self.run()?,
            Token::Socket(id) => self.control(id),
            Token::Stream(ready) => carry_on(&mut self.channels, ready, &mut self.link),
        }
        Ok(true)
    }

    fn open(&mut self, opening: &Opening, channel: Channel, purpose: Purpose) -> io::Result<()> {
        let id = self.next;
        self.next = id.checked_add(1).ok_or_else(malformed)?;
        self.link.say(id, Body::Open(serde_json::to_vec(opening)?));
        self.channels.insert(id, Open { channel, purpose });
        Ok(())
    }

    fn ask(&mut self, ask: Ask, fds: Vec<OwnedFd>) -> io::Result<()> {
        let mut fds = fds.into_iter();
        let socket = Some(wire::take_fd(&mut fds)?);
        let channel = Channel { socket, ..Channel::default() };
        let second = fds.next();
        match ask {
            Ask::Order(order) => {
                self.open(&Opening::Order(order), channel, Purpose::Order { runs: second })
            }
            Ask::Connect(to) => self.open(&Opening::Connect(to), channel, Purpose::Connect(second)),
        }
    }

    /// A command is asked for.
    fn run(&mut self) -> io::Result<()> {
        let Some(runs) = &self.runs else { return Ok(()) };
        let Some((request, fds)) = wire::receive::<RunRequest>(runs)? else {
            self.runs = None;
            return Ok(());
        };
        let mut fds = fds.into_iter();
        let socket = Some(wire::take_fd(&mut fds)?);
        let terminal = request.terminal.is_some();
        let streams = if terminal {
            Default::default()
        } else {
            let mut next = || wire::take_fd(&mut fds).map(Some);
            [Stream::new(next()?, None)?, Stream::new(None, next()?)?, Stream::new(None, next()?)?]
        };
        let purpose = Purpose::Run { terminal, ended: None };
        self.open(&Opening::Run(request), Channel { socket, streams }, purpose)
    }

    /// Something came from whoever asked for a channel.
    fn control(&mut self, id: u32) {
        let Some(open) = self.channels.get(&id) else { return };
        let Some(socket) = &open.channel.socket else { return };
        match wire::receive::<RunControl>(socket) {
            Ok(Some((control, _))) => self.link.send(&Frame::message(id, &control)),
            Ok(None) | Err(_) => self.drop_channel(id),
        }
    }

    /// Nobody here waits for it any more.
    fn drop_channel(&mut self, id: u32) {
        self.channels.remove(&id);
        self.link.say(id, Body::End);
    }

    fn hear(&mut self, frame: &Frame) -> io::Result<()> {
        if frame.channel >= self.next {
            return Err(malformed());
        }
        let id = frame.channel;
        // One that was dropped here may still be told of.
        let Some(open) = self.channels.get_mut(&id) else { return Ok(()) };
        match &frame.body {
            Body::Open(_) => Err(malformed()),
            Body::End => {
                self.channels.remove(&id);
                Ok(())
            }
            Body::Message(message) => {
                let told = parse(message).map_err(|_| malformed())?;
                self.told(id, told)
            }
            body => open.channel.take(body).map(drop).map_err(|_| malformed()),
        }
    }

    fn told(&mut self, id: u32, told: Told) -> io::Result<()> {
        let Some(open) = self.channels.get_mut(&id) else { return Ok(()) };
        let Some(socket) = &open.channel.socket else { return Ok(()) };
        match (&mut open.purpose, told) {
            (Purpose::Run { ended, .. }, Told::Run(RunEvent::Ended(exit))) => *ended = Some(exit),
            (Purpose::Run { terminal: true, .. }, Told::Run(RunEvent::Started)) => {
                let flags = SocketFlags::CLOEXEC;
                let (ours, theirs) =
                    socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
                // A failure means that whoever asked is gone, which shows at the socket.
                let _ = wire::send(socket, &RunEvent::Started, &[theirs.as_fd()]);
                open.channel.streams[0] = both_ways(ours)?;
            }
            (Purpose::Run { .. }, Told::Run(event)) => {
                let over = matches!(event, RunEvent::NotStarted(_));
                let _ = wire::send(socket, &event, &[]);
                if over {
                    self.channels.remove(&id);
                }
            }
            (Purpose::Connect(stream), Told::Connected) => {
                let _ = wire::send(socket, &Ok::<(), i32>(()), &[]);
                if let Some(stream) = stream.take() {
                    open.channel.streams[0] = both_ways(stream)?;
                }
                open.channel.socket = None;
                open.purpose = Purpose::Connected;
            }
            (Purpose::Connect(_), Told::Refused(errno)) => {
                let _ = wire::send(socket, &Err::<(), i32>(errno), &[]);
                self.channels.remove(&id);
            }
            (Purpose::Order { runs }, Told::Done(answer)) => {
                if answer.is_ok()
                    && let Some(runs) = runs.take()
                {
                    self.runs = Some(runs);
                }
                let _ = wire::send(socket, &answer, &[]);
                self.channels.remove(&id);
            }
            _ => return Err(malformed()),
        }
        Ok(())
    }

    /// Says what was taken, and that commands have ended whose output has been.
    fn settle(&mut self) {
        let link = &mut self.link;
        self.channels.retain(|id, open| {
            open.channel.tell_news(*id, link);
            if matches!(open.purpose, Purpose::Connected) && open.channel.is_over() {
                link.say(*id, Body::End);
                return false;
            }
            let Purpose::Run { ended: Some(exit), .. } = &open.purpose else { return true };
            if !open.channel.is_empty() {
                return true;
            }
            if let Some(socket) = &open.channel.socket {
                let _ = wire::send(socket, &RunEvent::Ended(*exit), &[]);
            }
            false
        });
    }
}

fn both_ways(fd: OwnedFd) -> io::Result<Stream> {
    Ok(Stream::new(Some(fd.try_clone()?), Some(fd))?)
}
