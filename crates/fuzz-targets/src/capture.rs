//! Files of captures, whoever wrote them, and what is typed to begin one.

use umbra_gateway::capture::file::Tally;
use umbra_gateway::capture::redact::{Redactor, Secrets};
use umbra_gateway::capture::wanted::{StartCapture, settings};
use umbra_gateway::capture::{Answered, Asked, Exchange, Format, Kept, Sink, Source};
use umbra_gateway::replay::Rewrite;

use crate::Target;
use crate::seeds::texts;

/// See [`capture`].
pub const CAPTURE: Target = Target {
    name: "capture",
    open: || Box::new(capture),
    seeds: || [false, true].map(|pack| ours(&[one("/a"), one("/b")], pack)).into(),
    words: &["\u{1}", "\0\0\0", "GET", "/a", "Host", "HTTP/1.1"],
    cases: 5_000,
    // What is packed grows; a window is 8 MiB, and an exchange is read as it comes.
    heap_factor: 4_000,
};

fn one(target: &str) -> Exchange {
    let headers = vec![("Host".into(), "a".into()), ("Cookie".into(), "s=1".into())];
    let body = Kept { bytes: "{\"a\":1}".into(), cut: false };
    let request = Asked {
        method: "POST".into(),
        target: target.into(),
        headers: headers.clone(),
        body: body.clone(),
    };
    let answer = Some(Answered { status: 200, after_us: 5, headers, body });
    Exchange { began_us: 1_700_000_000_000_000, session: 7, request, answer }
}

fn ours(all: &[Exchange], pack: bool) -> Vec<u8> {
    written(all, Format::Umbra, pack).expect("it fits")
}

/// `None` where one of them cannot stand in this format.
fn written(all: &[Exchange], format: Format, pack: bool) -> Option<Vec<u8>> {
    let mut sink = Sink::new(Vec::new(), format, pack).expect("memory");
    all.iter().try_for_each(|one| sink.put(one)).ok()?;
    Some(sink.finish(Tally::default()).expect("memory"))
}

/// Written, and as many read of that.
fn again(all: &[Exchange], format: Format) -> Option<(Vec<u8>, Vec<Exchange>)> {
    let bytes = written(all, format, false)?;
    let again = read(&bytes, format).expect("what was written");
    assert_eq!(again.len(), all.len());
    Some((bytes, again))
}

/// What is read is written and read the same, and everything that is read can be redacted and
/// prepared for being sent again.
pub fn capture(bytes: &[u8]) -> bool {
    let Some(all) = read(bytes, Format::Umbra) else { return false };
    assert_eq!(read(&ours(&all, false), Format::Umbra).as_ref(), Some(&all));
    all.into_iter().for_each(check_exchange);
    true
}

fn read(bytes: &[u8], format: Format) -> Option<Vec<Exchange>> {
    let mut source = Source::new(bytes, Some(format)).ok()?;
    let mut all = Vec::new();
    while let Some(exchange) = source.next_exchange().ok()? {
        all.push(exchange);
    }
    let notes = source.notes();
    assert!(notes.cut.is_none_or(|at| at <= bytes.len() as u64 + 16), "{notes:?}");
    Some(all)
}

/// No value of a cookie is left, and what is sent names one host and frames its body anew.
fn check_exchange(mut exchange: Exchange) {
    let secrets = Secrets { json: vec!["*".parse().expect("a mask")], ..Secrets::default() };
    Redactor::new(secrets).expect("random bytes").redact(&mut exchange);
    for (name, value) in &exchange.request.headers {
        if name.eq_ignore_ascii_case(b"cookie") && !value.is_empty() {
            let text = String::from_utf8_lossy(value);
            assert!(text.split("; ").all(|pair| pair.contains("redacted-")), "{text:?}");
        }
    }
    let rewrite = Rewrite { allow_writes: true, ..Rewrite::default() };
    if let Ok(prepared) = rewrite.apply(exchange) {
        let headers = prepared.request.headers();
        assert_eq!(headers.get_all("host").iter().count(), 1);
        for name in ["content-length", "transfer-encoding", "connection", "upgrade", "te"] {
            assert!(!headers.contains_key(name), "{name}");
        }
        assert!(prepared.request.uri().path().starts_with('/'));
    }
}

/// See [`gor`].
pub const GOR: Target = Target {
    name: "gor",
    open: || Box::new(gor),
    seeds: || {
        texts(&[
            "1 a 1000000 0\nPOST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi\n🐵🙈🙉\n2 a 2000000 7\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n\n🐵🙈🙉\n",
            "1 b 5\nGET http://a/ HTTP/1.0\r\n\r\n\n🐵🙈🙉\n3 b 9 1\n\n🐵🙈🙉\n1 c",
        ])
    },
    words: &[
        "\n🐵🙈🙉\n",
        "1 a 1 0\n",
        "2 a 3 0\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Content-Length: 1\r\n",
        "0\r\n\r\n",
        "\r\n",
        " ",
    ],
    cases: 5_000,
    heap_factor: 400,
};

/// What is read is written and read the same, but for sessions, which it has none of, and for
/// how bodies are framed.
pub fn gor(bytes: &[u8]) -> bool {
    let Some(all) = read(bytes, Format::Gor) else { return false };
    let Some((once, again)) = again(&all, Format::Gor) else { return !all.is_empty() };
    for (again, was) in again.iter().zip(&all) {
        let told = |one: &Exchange| (one.began_us, one.request.method.clone());
        assert_eq!(told(again), told(was));
        assert_eq!(
            (&again.request.target, &again.request.body),
            (&was.request.target, &was.request.body)
        );
        let status = |one: &Exchange| one.answer.as_ref().map(|answer| answer.status);
        assert_eq!(status(again), status(was));
    }
    assert_eq!(written(&again, Format::Gor, false).as_ref(), Some(&once));
    all.into_iter().for_each(check_exchange);
    true
}

/// See [`har`].
pub const HAR: Target = Target {
    name: "har",
    open: || Box::new(har),
    seeds: || {
        let ours = written(&[one("/a"), one("/b?c=d")], Format::Har, false).expect("it fits");
        let browsers = br#"{"log":{"version":"1.2","entries":[{"startedDateTime":"2026-01-02T03:04:05Z","time":1,"request":{"method":"GET","url":"https://a:1/b#c","headers":[{"name":":path","value":"/b"}]},"response":{"status":0},"timings":{"send":-1,"wait":2.5}}]}}"#;
        vec![ours, browsers.to_vec()]
    },
    words: &[
        "\"entries\":[",
        "\"encoding\":\"base64\"",
        "\"status\":",
        "\"text\":\"",
        "\"params\":[{\"name\":\"a\",\"value\":\"b\"}]",
        "http://",
        "-1",
        "1e308",
        "\\u0000",
        "null",
    ],
    cases: 4_000,
    heap_factor: 400,
};

/// What is read is written and read the same.
pub fn har(bytes: &[u8]) -> bool {
    let Some(all) = read(bytes, Format::Har) else { return false };
    let Some((_, again)) = again(&all, Format::Har) else { return !all.is_empty() };
    for (again, was) in again.iter().zip(&all) {
        assert_eq!((again.began_us, again.session), (was.began_us, was.session));
        assert_eq!(again.request, was.request);
    }
    all.into_iter().for_each(check_exchange);
    true
}

/// See [`start`].
pub const START: Target = Target {
    name: "capture_start",
    open: || Box::new(start),
    seeds: || {
        texts(&[
            "a\n{\"file\":\"/tmp/a\",\"percent\":\"5\"}",
            "b\n{\"file\":\"/a/b\",\"percent\":\"100\",\"methods\":[\"GET\"],\"session\":\"cookie:sid\",\"redact_json\":[\"a[].b\",\"*.c\"],\"bytes_max\":1,\"duration_ms\":18446744073709551615}",
        ])
    },
    words: &["\"session\":\"", "header:", "\"redact_json\":[\"", "[]", "*", "..", "\\u0000", "/"],
    cases: 3_000,
    heap_factor: 64,
};

/// A capture that is begun has a plain name and a file at an absolute path; what is refused is
/// said in printable words of a bounded length.
pub fn start(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let (name, wanted) = text.split_once('\n').unwrap_or(("a", &text));
    let Ok(wanted) = serde_json::from_str::<StartCapture>(wanted) else { return false };
    let written = serde_json::to_string(&wanted).expect("it is written");
    assert_eq!(serde_json::from_str::<StartCapture>(&written).expect("and read"), wanted);
    match settings(name, &wanted) {
        Ok(is) => {
            assert!((1..=64).contains(&is.name.len()) && is.name.is_ascii(), "{:?}", is.name);
            assert!(is.file.is_absolute() && is.file.file_name().is_some(), "{:?}", is.file);
            assert!(is.body_bytes_max <= 16 << 20);
            assert_eq!(is.whose.to_string().parse(), Ok(is.whose));
            true
        }
        Err(error) => {
            let said = error.message;
            assert!(said.len() <= 1_000 && !said.chars().any(char::is_control), "{said:?}");
            false
        }
    }
}
