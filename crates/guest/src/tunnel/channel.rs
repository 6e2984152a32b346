//! One thing that goes on through a tunnel: a socket for messages, and its streams.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};

use super::frame::{Body, Malformed, STREAMS};
use super::link::Link;
use super::stream::Stream;

/// See the module.
#[derive(Default)]
pub(super) struct Channel {
    /// Whoever is concerned here.
    pub(super) socket: Option<OwnedFd>,
    pub(super) streams: [Stream; STREAMS],
}

/// A channel that is open, and what for.
pub(super) struct Open<P> {
    pub(super) channel: Channel,
    pub(super) purpose: P,
}

/// Those that are open, by their numbers.
pub(super) type Channels<P> = BTreeMap<u32, Open<P>>;

/// Carries on a stream that is ready.
pub(super) fn carry_on<P>(channels: &mut Channels<P>, stream: Ready, link: &mut Link) {
    match stream {
        Ready::From(id, number) => {
            if let Some(open) = channels.get_mut(&id) {
                open.channel.send(id, number, link);
            }
        }
        Ready::To(id, number) => {
            if let Some(open) = channels.get_mut(&id) {
                open.channel.streams[number].write();
            }
        }
    }
}

/// What a descriptor that is waited for belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// The tunnel's own way.
    Port,
    /// What new things are asked for on.
    Requests,
    /// What orders are answered, or asked, on.
    Orders,
    /// A channel's socket.
    Socket(u32),
    /// A stream of a channel.
    Stream(Ready),
}

/// A stream of a channel, by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ready {
    /// Has bytes to be sent.
    From(u32, usize),
    /// Has room for bytes.
    To(u32, usize),
}

/// What is waited for.
#[derive(Default)]
pub(super) struct Interests<'a> {
    fds: Vec<PollFd<'a>>,
    tokens: Vec<Token>,
}

impl<'a> Interests<'a> {
    pub(super) fn add(&mut self, token: Token, fd: BorrowedFd<'a>, flags: PollFlags) {
        self.fds.push(PollFd::from_borrowed_fd(fd, flags));
        self.tokens.push(token);
    }

    pub(super) fn link(&mut self, link: &'a Link) {
        let out = if link.is_full() { PollFlags::OUT } else { PollFlags::empty() };
        self.add(Token::Port, link.port(), PollFlags::IN | out);
    }

    pub(super) fn channel(&mut self, id: u32, channel: &'a Channel) {
        if let Some(socket) = &channel.socket {
            self.add(Token::Socket(id), socket.as_fd(), PollFlags::IN);
        }
        for (number, stream) in channel.streams.iter().enumerate() {
            if let Some(from) = stream.reads() {
                self.add(Token::Stream(Ready::From(id, number)), from, PollFlags::IN);
            }
            if let Some(to) = stream.writes() {
                self.add(Token::Stream(Ready::To(id, number)), to, PollFlags::OUT);
            }
        }
    }

    /// Waits, and says what is ready.
    pub(super) fn wait(mut self) -> std::io::Result<Vec<Token>> {
        rustix::io::retry_on_intr(|| rustix::event::poll(&mut self.fds, None))?;
        let ready = self.fds.iter().zip(&self.tokens).filter(|(fd, _)| !fd.revents().is_empty());
        Ok(ready.map(|(_, token)| *token).collect())
    }
}

impl Channel {
    /// Takes what came for a stream, or about it; whether it was that.
    pub(super) fn take(&mut self, body: &Body) -> Result<bool, Malformed> {
        match body {
            Body::Data(number, bytes) => self.streams[*number].put(bytes)?,
            Body::Eof(number) => self.streams[*number].end(),
            Body::Credit(number, bytes) => self.streams[*number].credit(*bytes)?,
            Body::Open(_) | Body::Message(_) | Body::End => return Ok(false),
        }
        Ok(true)
    }

    /// Sends what a stream has.
    fn send(&mut self, id: u32, number: usize, link: &mut Link) {
        if let Some(body) = self.streams[number].read(number) {
            link.say(id, body);
        }
    }

    /// Says which bytes were taken.
    pub(super) fn tell_news(&mut self, id: u32, link: &mut Link) {
        for (number, stream) in self.streams.iter_mut().enumerate() {
            link.tell_news(id, number, stream);
        }
    }

    /// Whether nothing can go either way any more.
    pub(super) fn is_over(&self) -> bool {
        self.streams.iter().all(Stream::is_over)
    }

    /// Whether all that came has been taken.
    pub(super) fn is_empty(&self) -> bool {
        self.streams.iter().all(Stream::is_empty)
    }
}
