//! Frames: what a tunnel is made of.
//!
//! ```text
//! length u32 | channel u32 | kind u8 | stream u8 | 0 u16 | body, `length` bytes
//! ```
//!
//! Numbers are little-endian. Whoever is at the other end may be hostile.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::wire::MESSAGE_BYTES_MAX;

/// Before each body.
const HEADER: usize = 12;

/// Streams of a channel: standard input, output and error, or both ways on the first.
pub const STREAMS: usize = 3;

/// So many bytes of one stream may be on their way, untaken, in each direction.
pub const WINDOW: u32 = 256 << 10;

/// The most that one frame carries of a stream.
pub const DATA_BYTES_MAX: usize = 32 << 10;

/// What a frame says of its channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// It begins; with what is asked for, as JSON.
    Open(Vec<u8>),
    /// A message beside the streams, as JSON.
    Message(Vec<u8>),
    /// Bytes of a stream.
    Data(usize, Vec<u8>),
    /// A stream has ended.
    Eof(usize),
    /// So many more bytes of a stream may come.
    Credit(usize, u32),
    /// It ends.
    End,
}

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Chosen by the host, never twice.
    pub channel: u32,
    /// What is said.
    pub body: Body,
}

/// What came is no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl Frame {
    /// With a body that is a message.
    pub fn message<T: Serialize>(channel: u32, message: &T) -> Self {
        // What is sent has no keys but strings, and no other reason to fail.
        Self { channel, body: Body::Message(serde_json::to_vec(message).unwrap_or_default()) }
    }

    /// As bytes, behind others.
    pub fn write(&self, to: &mut impl Extend<u8>) {
        let credit;
        let (kind, stream, body): (u8, usize, &[u8]) = match &self.body {
            Body::Open(body) => (1, 0, body),
            Body::Message(body) => (2, 0, body),
            Body::Data(stream, body) => (3, *stream, body),
            Body::Eof(stream) => (4, *stream, &[]),
            Body::Credit(stream, bytes) => {
                credit = bytes.to_le_bytes();
                (5, *stream, &credit)
            }
            Body::End => (6, 0, &[]),
        };
        to.extend((body.len() as u32).to_le_bytes());
        to.extend(self.channel.to_le_bytes());
        to.extend([kind, stream as u8, 0, 0]);
        to.extend(body.iter().copied());
    }
}

/// Reads a message strictly.
///
/// # Errors
/// It is none.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Malformed> {
    serde_json::from_slice(body).map_err(|_| Malformed)
}

/// Bytes on their way to be frames.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
    at: usize,
}

impl Decoder {
    /// Takes what came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.at);
        self.at = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame; after an error there is none any more.
    ///
    /// # Errors
    /// What comes next can be none.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, Malformed> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some((header, rest)) = rest.split_first_chunk::<HEADER>() else { return Ok(None) };
        let [l0, l1, l2, l3, c0, c1, c2, c3, kind, stream, 0, 0] = *header else {
            return Err(Malformed);
        };
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        let stream = usize::from(stream);
        let most = match kind {
            1 | 2 => MESSAGE_BYTES_MAX,
            3 => DATA_BYTES_MAX,
            5 => 4,
            _ => 0,
        };
        let of_stream = matches!(kind, 3..=5);
        if length > most || stream >= STREAMS || (stream > 0 && !of_stream) {
            return Err(Malformed);
        }
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let body = match kind {
            1 => Body::Open(body.to_vec()),
            2 => Body::Message(body.to_vec()),
            3 => Body::Data(stream, body.to_vec()),
            4 => Body::Eof(stream),
            5 => {
                let bytes = body.try_into().map_err(|_| Malformed)?;
                Body::Credit(stream, u32::from_le_bytes(bytes))
            }
            6 => Body::End,
            _ => return Err(Malformed),
        };
        self.at += HEADER + length;
        Ok(Some(Frame { channel: u32::from_le_bytes([c0, c1, c2, c3]), body }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames() -> impl Strategy<Value = Frame> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..100);
        let body = prop_oneof![
            bytes().prop_map(Body::Open),
            bytes().prop_map(Body::Message),
            (0..STREAMS, bytes()).prop_map(|(stream, bytes)| Body::Data(stream, bytes)),
            (0..STREAMS).prop_map(Body::Eof),
            (0..STREAMS, any::<u32>()).prop_map(|(stream, bytes)| Body::Credit(stream, bytes)),
            Just(Body::End),
        ];
        (any::<u32>(), body).prop_map(|(channel, body)| Frame { channel, body })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_however_it_comes(
            frames in prop::collection::vec(frames(), 0..8),
            cut in 1usize..40,
        ) {
            let mut bytes = Vec::new();
            frames.iter().for_each(|frame| frame.write(&mut bytes));
            let (mut decoder, mut read) = (Decoder::default(), Vec::new());
            for piece in bytes.chunks(cut) {
                decoder.push(piece);
                while let Some(frame) = decoder.next_frame().expect("well-formed") {
                    read.push(frame);
                }
            }
            prop_assert_eq!(read, frames);
        }

        #[test]
        fn nothing_that_comes_does_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut decoder = Decoder::default();
            decoder.push(&bytes);
            while let Ok(Some(_)) = decoder.next_frame() {}
        }
    }

    #[test]
    fn what_is_too_long_is_refused_at_its_header() {
        #[track_caller]
        fn check(length: u32, kind: u8, stream: u8) {
            let mut bytes = length.to_le_bytes().to_vec();
            bytes.extend([0, 0, 0, 0, kind, stream, 0, 0]);
            let mut decoder = Decoder::default();
            decoder.push(&bytes);
            assert_eq!(decoder.next_frame(), Err(Malformed));
        }
        check(u32::MAX, 1, 0);
        check(DATA_BYTES_MAX as u32 + 1, 3, 0);
        check(5, 5, 0);
        check(1, 4, 0);
        check(0, 3, 3);
        check(0, 6, 1);
        check(0, 7, 0);
    }
}
