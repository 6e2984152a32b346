//! HTTP/2 written by hand (RFC 9113), as no client that means well would.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::place::PATIENCE;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RESET: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GO_AWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header that is in no table (RFC 7541, 6.2.2).
pub(crate) fn header(name: &[u8], value: &[u8]) -> Vec<u8> {
    [vec![0], text(name), text(value)].concat()
}

/// A string without Huffman's code.
fn text(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    match bytes.len() {
        short @ ..127 => text.push(short as u8),
        long => {
            text.push(127);
            let mut left = long - 127;
            while left >= 128 {
                text.push((left % 128) as u8 | 128);
                left /= 128;
            }
            text.push(left as u8);
        }
    }
    text.extend(bytes);
    text
}

/// `GET /`, for host `a`, with these headers behind.
pub(crate) fn get(more: &[(&[u8], &[u8])]) -> Vec<u8> {
    let first: [(&[u8], &[u8]); 4] =
        [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"a")];
    first.iter().chain(more).flat_map(|(name, value)| header(name, value)).collect()
}

/// Ten thousand requests, each taken back at once.
pub(crate) fn taken_back() -> Vec<u8> {
    let head = get(&[]);
    let one = |n: u32| {
        let stream = 2 * n + 1;
        let opens = frame(HEADERS, END_STREAM | END_HEADERS, stream, &head);
        [opens, frame(RESET, 0, stream, &8_u32.to_be_bytes())].concat()
    };
    (0..10_000).flat_map(one).collect()
}

/// 16 MB of a head without its end.
pub(crate) fn endless_head() -> Vec<u8> {
    let opens = frame(HEADERS, END_STREAM, 1, &get(&[]));
    let piece = frame(CONTINUATION, 0, 1, &header(b"x", &[b'a'; 8_000]));
    [opens, piece.repeat(2_000)].concat()
}

/// A frame that came.
#[derive(Debug)]
pub(crate) struct Came {
    pub(crate) kind: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// Sends the preface, settings, and then these bytes while reading what comes until one is `enough`
/// or the gateway closes.
pub(crate) async fn talk(
    at: SocketAddr,
    sent: Vec<u8>,
    enough: impl Fn(&Came) -> bool,
) -> Vec<Came> {
    talk_over(TcpStream::connect(at).await.expect("a connection"), sent, enough).await
}

/// The same over a connection that is there.
pub(crate) async fn talk_over(
    stream: impl AsyncRead + AsyncWrite + Send + 'static,
    sent: Vec<u8>,
    enough: impl Fn(&Came) -> bool,
) -> Vec<Came> {
    let (mut from, mut to) = tokio::io::split(stream);
    let writing = tokio::spawn(async move {
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        let settings = [frame(SETTINGS, 0, 0, b""), frame(SETTINGS, ACK, 0, b"")].concat();
        // The gateway may close before everything is sent.
        let _ = to.write_all(&[&preface[..], &settings, &sent].concat()).await;
        to
    });
    let mut came = Vec::new();
    let reading = timeout(PATIENCE, async {
        while let Ok(frame) = read(&mut from).await {
            let last = enough(&frame);
            came.push(frame);
            if last {
                break;
            }
        }
    });
    assert!(reading.await.is_ok(), "it neither answers nor closes: {came:?}");
    writing.abort();
    came
}

async fn read(from: &mut (impl AsyncReadExt + Unpin)) -> std::io::Result<Came> {
    let mut head = [0; 9];
    from.read_exact(&mut head).await?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    let mut payload = vec![0; length as usize];
    from.read_exact(&mut payload).await?;
    Ok(Came { kind: head[3], stream, payload })
}
