//! Bodies as they pass, and their copies for shadows.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::HeaderMap;

use crate::capture::Tape;
use crate::compare::keep::Keep;
use crate::listen::received::{BrokenBody, Received};
use crate::mirror::Copy;
use crate::split::watch::Watched;
use crate::upstream::Answer;

/// What hears a body as it passes. It never makes that wait; where it is dropped before the end,
/// the body broke off.
pub trait Hears {
    /// More of the body.
    fn data(&mut self, data: &Bytes);
    /// What comes after it.
    fn trailers(&mut self, trailers: &HeaderMap);
    /// It is whole.
    fn end(self);
}

/// A body on its way.
#[derive(Debug)]
pub enum Passing {
    /// A request's, as it comes.
    Received(Received),
    /// An answer's, as it comes.
    Answered(Answer<Passing>),
    /// As it comes, and copied while it does.
    Copied(Copied<Received, Copy>),
    /// As it comes, and kept to be compared.
    Kept(Copied<Answer<Passing>, Keep>),
    /// As another passes, and kept in captures while it does.
    Taped(Box<Copied<Self, Tape>>),
    /// As another passes, and its end waited for.
    Watched(Box<Watched>),
    /// Made here.
    Made(Full<Bytes>),
}

impl Passing {
    /// Words of the gateway's own.
    pub fn made(text: impl Into<Bytes>) -> Self {
        Self::Made(Full::new(text.into()))
    }

    /// A request's body, copied for these.
    pub fn copied(body: Received, copies: Vec<Copy>) -> Self {
        if copies.is_empty() {
            return Self::Received(body);
        }
        Self::Copied(Copied::new(body, copies))
    }

    /// A body, kept by these.
    pub(crate) fn taped(body: Self, tapes: Vec<Tape>) -> Self {
        if tapes.is_empty() {
            return body;
        }
        Self::Taped(Box::new(Copied::new(body, tapes)))
    }

    /// An answer's body, kept by this.
    pub(crate) fn kept(body: Answer<Self>, keep: Keep) -> Self {
        Self::Kept(Copied::new(body, vec![keep]))
    }
}

impl Body for Passing {
    type Data = Bytes;
    type Error = BrokenBody;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenBody>>> {
        match self.get_mut() {
            Self::Received(body) => Pin::new(body).poll_frame(context),
            Self::Answered(body) => {
                Pin::new(body).poll_frame(context).map_err(BrokenBody::Connection)
            }
            Self::Copied(body) => Pin::new(body).poll_frame(context),
            Self::Kept(body) => Pin::new(body).poll_frame(context).map_err(BrokenBody::Connection),
            Self::Taped(body) => Copied::poll_frame(Pin::new(body.as_mut()), context),
            Self::Watched(body) => body.poll_frame(context),
            Self::Made(body) => Pin::new(body).poll_frame(context).map_err(|never| match never {}),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Received(body) => body.is_end_stream(),
            Self::Answered(body) => body.is_end_stream(),
            Self::Copied(body) => body.body.is_end_stream(),
            Self::Kept(body) => body.body.is_end_stream(),
            Self::Taped(body) => body.body.is_end_stream(),
            Self::Watched(body) => body.body.is_end_stream(),
            Self::Made(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Received(body) => body.size_hint(),
            Self::Answered(body) => body.size_hint(),
            Self::Copied(body) => body.body.size_hint(),
            Self::Kept(body) => body.body.size_hint(),
            Self::Taped(body) => body.body.size_hint(),
            Self::Watched(body) => body.body.size_hint(),
            Self::Made(body) => body.size_hint(),
        }
    }
}

/// A body that is copied while it streams. A copy never makes it wait; one that is not at its
/// end when this is dropped breaks off.
#[derive(Debug)]
pub struct Copied<B, H> {
    body: B,
    copies: Vec<H>,
}

impl<B: Body<Data = Bytes> + Unpin, H: Hears + Unpin> Copied<B, H> {
    fn new(body: B, copies: Vec<H>) -> Self {
        let mut copied = Self { body, copies };
        copied.end_with_body();
        copied
    }

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                for copy in &mut self.copies {
                    if let Some(data) = frame.data_ref() {
                        copy.data(data);
                    } else if let Some(trailers) = frame.trailers_ref() {
                        copy.trailers(trailers);
                    }
                }
                self.end_with_body();
            }
            Some(Err(_)) => self.copies.clear(),
            None => self.end(),
        }
        Poll::Ready(frame)
    }

    /// Whoever reads a body stops where it says that it is at its end.
    fn end_with_body(&mut self) {
        if self.body.is_end_stream() {
            self.end();
        }
    }

    fn end(&mut self) {
        for copy in self.copies.drain(..) {
            copy.end();
        }
    }
}
