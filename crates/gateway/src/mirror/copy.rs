//! The copy of a request's body: written on production's path, read by the shadow's request.
//!
//! Writing never waits. What is written and not read yet takes from a budget of memory all copies
//! share; what finds no room, and what is longer than one copy may be, cuts the copy off, which is
//! counted and which the shadow sees as a request that breaks off.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};
use hyper::HeaderMap;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::counts::Counts;
use crate::body::Hears;
use crate::room::Room;

/// What a piece costs beside its bytes: many small ones must not cost nothing.
const PIECE_BYTES: usize = 128;

enum Piece {
    Data(Bytes, Room),
    Trailers(HeaderMap, Room),
    End,
}

/// The end that is written to.
#[derive(Debug)]
pub struct Copy {
    /// `None` once it is cut off.
    to: Option<UnboundedSender<Piece>>,
    left: u64,
    memory: Arc<Semaphore>,
    counts: Arc<Counts>,
    fate: Arc<Fate>,
}

/// What both ends know.
#[derive(Debug, Default)]
pub(super) struct Fate {
    cut: AtomicBool,
}

impl Fate {
    /// Whether it was cut off here, rather than by the client.
    pub(super) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }
}

/// A copy of at most `bytes_max`, and what reads it.
pub(super) fn copy(
    bytes_max: u64,
    memory: Arc<Semaphore>,
    counts: Arc<Counts>,
) -> (Copy, Read, Arc<Fate>) {
    let (to, from) = unbounded_channel();
    let fate = Arc::new(Fate::default());
    let copy = Copy { to: Some(to), left: bytes_max, memory, counts, fate: Arc::clone(&fate) };
    (copy, Read { from: Some(from), held: None }, fate)
}

impl Copy {
    fn room(&self, bytes: usize) -> Option<Room> {
        Room::of(&self.memory, bytes + PIECE_BYTES)
    }

    fn send(&mut self, piece: Piece) {
        // The shadow's request may have ended: then nobody wants the rest.
        self.to.take_if(|to| to.send(piece).is_err());
    }

    fn cut(&mut self) {
        self.to = None;
        self.fate.cut.store(true, Ordering::Relaxed);
        self.counts.truncated();
    }
}

impl Hears for Copy {
    fn data(&mut self, data: &Bytes) {
        if self.to.is_none() || data.is_empty() {
            return;
        }
        match self.left.checked_sub(data.len() as u64) {
            Some(left) => self.left = left,
            None => return self.cut(),
        }
        let Some(room) = self.room(data.len()) else { return self.cut() };
        // Not a part of a buffer that would be kept as a whole.
        self.send(Piece::Data(Bytes::copy_from_slice(data), room));
    }

    fn trailers(&mut self, trailers: &HeaderMap) {
        if self.to.is_none() {
            return;
        }
        let Some(room) = self.room(super::bytes_of(trailers)) else { return self.cut() };
        self.send(Piece::Trailers(trailers.clone(), room));
    }

    fn end(mut self) {
        self.send(Piece::End);
    }
}

/// The end that is read, as a request's body.
#[derive(Debug)]
pub struct Read {
    /// `None` where there is no body.
    from: Option<UnboundedReceiver<Piece>>,
    /// Of what was read last: whoever reads has it until it asks for more.
    held: Option<Room>,
}

impl Read {
    /// No body at all.
    pub(super) fn empty() -> Self {
        Self { from: None, held: None }
    }
}

/// The body was not copied to its end.
#[derive(Debug, thiserror::Error)]
#[error("the copy of the body breaks off")]
pub struct BrokenOff;

impl Body for Read {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        self.held = None;
        let Some(from) = &mut self.from else { return Poll::Ready(None) };
        let (frame, room) = match ready!(from.poll_recv(context)) {
            Some(Piece::Data(data, room)) => (Frame::data(data), room),
            Some(Piece::Trailers(trailers, room)) => (Frame::trailers(trailers), room),
            Some(Piece::End) => {
                self.from = None;
                return Poll::Ready(None);
            }
            None => {
                self.from = None;
                return Poll::Ready(Some(Err(BrokenOff)));
            }
        };
        self.held = Some(room);
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.from.is_none()
    }
}

impl std::fmt::Debug for Piece {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Data(data, _) => write!(f, "Data({} bytes)", data.len()),
            Self::Trailers(trailers, _) => write!(f, "Trailers({})", trailers.len()),
            Self::End => f.write_str("End"),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn ends(bytes_max: u64, memory: usize) -> (Copy, Read, Arc<Fate>, Arc<Semaphore>) {
        let memory = Arc::new(Semaphore::new(memory));
        let (copy, read, fate) = copy(bytes_max, Arc::clone(&memory), Arc::default());
        (copy, read, fate, memory)
    }

    #[tokio::test]
    async fn what_is_written_is_read_and_takes_no_room_then() {
        let (mut copy, read, fate, memory) = ends(100, 10_000);
        copy.data(&Bytes::from_static(b"one, "));
        copy.data(&Bytes::from_static(b"two"));
        assert_eq!(memory.available_permits(), 10_000 - 8 - 2 * PIECE_BYTES);
        copy.end();
        let read = read.collect().await.expect("whole").to_bytes();
        assert_eq!((&read[..], fate.is_cut()), (&b"one, two"[..], false));
        assert_eq!(memory.available_permits(), 10_000);
    }

    #[tokio::test]
    async fn what_finds_no_room_or_is_too_long_breaks_off() {
        for (bytes_max, room) in [(4, 10_000), (100, PIECE_BYTES + 4)] {
            let (mut copy, read, fate, memory) = ends(bytes_max, room);
            copy.data(&Bytes::from_static(b"1234"));
            copy.data(&Bytes::from_static(b"5"));
            copy.data(&Bytes::from_static(b"6"));
            copy.end();
            assert!(read.collect().await.is_err() && fate.is_cut());
            assert_eq!(memory.available_permits(), room);
        }
    }

    #[tokio::test]
    async fn a_client_that_goes_away_breaks_it_off() {
        let (mut copy, read, fate, _) = ends(100, 10_000);
        copy.data(&Bytes::from_static(b"half"));
        drop(copy);
        assert!(read.collect().await.is_err() && !fate.is_cut());
    }

    #[test]
    fn nobody_reads_and_nothing_waits() {
        let (mut copy, read, _, memory) = ends(u64::MAX, 1 << 20);
        drop(read);
        for _ in 0..10_000 {
            copy.data(&Bytes::from_static(&[0; 1000]));
        }
        copy.end();
        assert_eq!(memory.available_permits(), 1 << 20);
    }
}
