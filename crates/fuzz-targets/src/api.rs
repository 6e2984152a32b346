//! Frames of an attached terminal, and a build's events.

use umbra_api::attach::{Decoder, FRAME_BYTES_MAX, Frame};
use umbra_api::build::BuildEvent;

use crate::Target;
use crate::seeds::texts;

/// See [`frames`].
pub const FRAMES: Target = Target {
    name: "frames",
    open: || Box::new(frames),
    seeds: frame_seeds,
    words: &["\0\0\0", "\x01\0\x01x", "\x02\0\x04\0\x50\0\x18", "\x05\0\0"],
    cases: 2_000,
    heap_factor: 64,
};

/// However the bytes are cut, the same frames come out; none is longer than allowed, and a
/// frame written again is what was read.
pub fn frames(bytes: &[u8]) -> bool {
    let whole = decoded(bytes, bytes.len().max(1));
    let piece = 1 + bytes.len() / 50;
    assert_eq!(whole, decoded(bytes, piece), "cutting changes what is read");
    let mut written = Vec::new();
    for frame in &whole {
        if let Frame::Stdin(bytes) | Frame::Stdout(bytes) = frame {
            assert!(bytes.len() <= FRAME_BYTES_MAX);
        }
        let is_nothing =
            matches!(frame, Frame::Stdin(bytes) | Frame::Stdout(bytes) if bytes.is_empty());
        let start = written.len();
        frame.encode(&mut written);
        assert_eq!(written.len() == start, is_nothing, "only nothing is written as nothing");
    }
    assert!(written.len() <= bytes.len());
    !whole.is_empty()
}

fn decoded(bytes: &[u8], piece: usize) -> Vec<Frame> {
    let mut decoder = Decoder::default();
    let mut frames = Vec::new();
    for piece in bytes.chunks(piece) {
        decoder.push(piece);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                // Where frames begin is not known any more.
                Err(_) => return frames,
            }
        }
    }
    frames
}

fn frame_seeds() -> Vec<Vec<u8>> {
    let mut bytes = Vec::new();
    for frame in [Frame::Stdin(b"ls\n".to_vec()), Frame::Error("gone".to_owned()), Frame::Eof] {
        frame.encode(&mut bytes);
    }
    vec![bytes, b"\x03\0\x05\0\0\0\0\x07".to_vec()]
}

/// See [`event`].
pub const EVENT: Target = Target {
    name: "event",
    open: || Box::new(event),
    seeds: || {
        texts(&[
            r#"{"seq":1,"at_us":2,"event":"step_output","step":0,"text":"hello\n"}"#,
            r#"{"seq":0,"at_us":2,"event":"step_ingested","step":0,"state":"0000000000000000000000000000000000000000000000000000000000000007","delta":{"added":1,"modified":0,"removed":0,"content_bytes":3},"took_us":9}"#,
        ])
    },
    words: &["\"event\":", "\"verdict\":\"pass\"", "[", "{\"a\":", "1e999", "null", "\\ud800"],
    cases: 2_000,
    heap_factor: 64,
};

/// An event that is understood says the same when it is written and read again.
pub fn event(bytes: &[u8]) -> bool {
    let Ok(event) = serde_json::from_slice::<BuildEvent>(bytes) else { return false };
    let written = serde_json::to_string(&event).expect("an event is written");
    let again: BuildEvent = serde_json::from_str(&written).expect("what was written is read");
    assert_eq!(again, event);
    true
}
