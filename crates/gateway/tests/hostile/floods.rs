//! HTTP/2 connections that cost a server more than a client: they end, and others are served.

use umbra_gateway::gateway::Limits;

use crate::frames::{
    CONTINUATION, Came, DATA, END_HEADERS, END_STREAM, GO_AWAY, HEADERS, PING, RESET, SETTINGS,
    WINDOW_UPDATE, endless_head, frame, get, header, taken_back, talk,
};
use crate::place::{Place, ok};

/// `:status` 400, as the static table numbers it (RFC 7541, appendix A).
const STATUS_400: u8 = 0x80 | 12;

/// The connection ends, by a word or without one; production got no more than so many requests.
async fn ends(sent: Vec<u8>, asked_max: usize) {
    let place = Place::new(Limits::default(), ok).await;
    // Without a word it ends, too: this returns once it is closed.
    talk(place.at, sent, |came| came.kind == GO_AWAY).await;
    place.still_serves().await;
    // One of them is the good client's.
    let got = place.got().len();
    assert!(got <= asked_max + 1, "{got} requests");
}

/// The request is refused, and production gets nothing.
async fn refused(more: &[(&[u8], &[u8])]) {
    let place = Place::new(Limits::default(), ok).await;
    let sent = frame(HEADERS, END_STREAM | END_HEADERS, 1, &get(more));
    let came = talk(place.at, sent, about_the_first).await;
    let last = came.last().expect("an answer");
    let answered = last.kind == HEADERS && last.payload[0] == STATUS_400;
    assert!(answered || last.kind == RESET || last.kind == GO_AWAY, "{last:?}");
    assert!(place.got().is_empty(), "{more:?}");
    place.still_serves().await;
}

fn about_the_first(came: &Came) -> bool {
    came.kind == GO_AWAY || came.stream == 1 && [HEADERS, RESET].contains(&came.kind)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_taken_back_at_once_is_not_free() {
    ends(taken_back(), 1_000).await;
}

/// A reset that the client makes the server send.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_has_to_be_reset_is_not_free() {
    let head = get(&[]);
    let one = |stream: u32| {
        let opens = frame(HEADERS, END_HEADERS, stream, &head);
        // A window that grows by nothing is an error.
        let update = frame(WINDOW_UPDATE, 0, stream, &0_u32.to_be_bytes());
        [opens, update].concat()
    };
    ends((0..10_000).flat_map(|n| one(2 * n + 1)).collect(), 1_100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_ends() {
    ends(endless_head(), 0).await;
    let mut nothing = frame(HEADERS, END_STREAM, 1, &get(&[]));
    nothing.extend(frame(CONTINUATION, 0, 1, b"").repeat(100_000));
    ends(nothing, 0).await;
}

#[tokio::test]
async fn a_head_is_bounded() {
    let value = vec![b'a'; 4_000];
    let lines: Vec<(&[u8], &[u8])> = vec![(b"x", &value); 3];
    let place = Place::new(Limits::default(), ok).await;
    let sent = frame(HEADERS, END_STREAM | END_HEADERS, 1, &get(&lines));
    talk(place.at, sent, about_the_first).await;
    assert_eq!(place.got().len(), 1, "12 kB are no flood");
    // A small head that the table makes large: one header of 4 kB, said 10,000 times.
    let mut bomb = get(&[]);
    let named = [&[0x40][..], &header(b"x", &value[..3_900])[1..]].concat();
    bomb.extend(named);
    bomb.extend([0xbe; 10_000]);
    let place = Place::new(Limits::default(), ok).await;
    let sent = frame(HEADERS, END_STREAM | END_HEADERS, 1, &bomb);
    talk(place.at, sent, about_the_first).await;
    assert!(place.got().is_empty(), "40 MB of headers");
    place.still_serves().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_want_an_answer_are_bounded() {
    // They are answered or the connection ends; others are served either way.
    let place = Place::new(Limits::default(), ok).await;
    let pings = frame(PING, 0, 0, &[7; 8]).repeat(50_000);
    let settings = frame(SETTINGS, 0, 0, b"").repeat(50_000);
    for flood in [pings, settings] {
        let pinged = frame(PING, 0, 0, &[9; 8]);
        let sent = [flood, pinged].concat();
        talk(place.at, sent, |came| came.kind == GO_AWAY || came.payload == [9; 8]).await;
        place.still_serves().await;
    }
}

#[tokio::test]
async fn what_another_protocol_frames_by_is_not_passed_on() {
    refused(&[(b"transfer-encoding", b"chunked")]).await;
    refused(&[(b"connection", b"close")]).await;
    refused(&[(b"upgrade", b"websocket")]).await;
    refused(&[(b"content-length", b"5")]).await;
    refused(&[(b"content-length", b"0"), (b"content-length", b"5")]).await;
    refused(&[(b"content-length", b"+0")]).await;
    refused(&[(b"x", b"a\r\ntransfer-encoding: chunked")]).await;
    refused(&[(b"x", b"a\nb")]).await;
    refused(&[(b"x\r\ny", b"a")]).await;
    refused(&[(b"x y", b"a")]).await;
    refused(&[(b"X", b"a")]).await;
    refused(&[(b"x:", b"a")]).await;
    refused(&[(b":path", b"/b")]).await;
    refused(&[(b"x", b"a"), (b":protocol", b"websocket")]).await;
    refused(&[(b"host", b"a"), (b"host", b"b")]).await;
}

#[tokio::test]
async fn a_body_is_as_long_as_it_says() {
    let place = Place::new(Limits::default(), ok).await;
    let opens = frame(HEADERS, END_HEADERS, 1, &get(&[(b"content-length", b"3")]));
    for body in [&b"hello"[..], b"h"] {
        let sent = [opens.clone(), frame(DATA, END_STREAM, 1, body)].concat();
        let came = talk(place.at, sent, about_the_first).await;
        assert_eq!(came.last().map(|came| came.kind), Some(RESET), "{came:?}");
    }
    assert!(place.got().iter().all(Result::is_err), "no whole request");
    // A GET's body is passed on as any other.
    let opens = frame(HEADERS, END_HEADERS, 1, &get(&[]));
    let sent = [opens, frame(DATA, END_STREAM, 1, b"hello")].concat();
    talk(place.at, sent, about_the_first).await;
    let got = place.got().remove(0).expect("one reading");
    assert_eq!(got.asked(), "GET / chunked:hello");
}
