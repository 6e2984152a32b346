//! An answer's body as it goes to a client: the request is under way until it is dropped.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::access_log::Pending;
use super::pace::UnderWay;
use super::received::BrokenBody;
use crate::body::Passing;

/// A body on its way out.
#[derive(Debug)]
pub(crate) struct Sent {
    body: Passing,
    logged: Option<Box<Pending>>,
    _under_way: UnderWay,
}

impl Sent {
    /// A line is written of it once it is dropped, if one is to be.
    pub(crate) fn new(body: Passing, under_way: UnderWay, logged: Option<Box<Pending>>) -> Self {
        Self { body, logged, _under_way: under_way }
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = BrokenBody;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenBody>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if let (Some(logged), Poll::Ready(Some(frame))) = (&mut self.logged, &frame) {
            match frame {
                Ok(frame) => logged.sent(frame.data_ref().map_or(0, Bytes::len)),
                Err(_) => logged.broke(),
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
