//! HAR 1.2, the browsers' archive: one JSON document, read as a whole.
//!
//! A `connection` is a session; without any, a file is of one client, and one session. Bodies are
//! text, or Base64 where they are none. What HAR has no place for is in fields of our own, whose
//! names begin with an underscore as the format asks.

mod read;
mod shapes;
mod write;

pub use read::Reader;
pub use write::Writer;

/// Who writes a file, if it is us.
const CREATOR: &str = "umbra";

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::capture::{Answered, Asked, Exchange, Kept, ReadError};

    fn read(text: &str) -> Result<Vec<Exchange>, ReadError> {
        Ok(Reader::new(text.as_bytes())?.exchanges.collect())
    }

    fn with_entry(entry: &str) -> String {
        format!("{{\"log\":{{\"version\":\"1.2\",\"entries\":[{entry}]}}}}")
    }

    const ENTRY: &str = r#"{
        "startedDateTime": "2026-01-02T03:04:05.678+01:00", "time": 50,
        "request": {"method": "POST", "url": "https://shop.example:8443/cart?id=7#top",
            "httpVersion": "h2", "headers": [{"name": ":authority", "value": "shop"}, {"name": "X", "value": "1"}],
            "queryString": [], "cookies": [{"name": "a", "value": "b"}], "headersSize": -1, "bodySize": 3,
            "postData": {"mimeType": "application/x-www-form-urlencoded", "params": [{"name": "a b", "value": "c&d"}]}},
        "response": {"status": 201, "statusText": "", "httpVersion": "h2", "cookies": [], "headers": [{"name": "Content-Encoding", "value": "gzip"}],
            "content": {"size": 2, "mimeType": "x", "text": "/wA=", "encoding": "base64"}, "redirectURL": "", "headersSize": -1, "bodySize": 2},
        "cache": {}, "timings": {"blocked": -1, "dns": 1, "connect": 2, "ssl": 1, "send": 0.5, "wait": 20, "receive": 5},
        "_initiator": {"type": "other"}}"#;

    #[test]
    fn what_a_browser_writes_is_read() {
        let all = read(&with_entry(ENTRY)).unwrap();
        let [Exchange { began_us, session, request, answer: Some(answer) }] = &all[..] else {
            panic!("{all:?}")
        };
        assert_eq!((*began_us, *session), (1_767_319_445_678_000, 0));
        assert_eq!((&*request.method, &*request.target), ("POST", "/cart?id=7"));
        assert_eq!(&request.headers[0].1[..], b"shop.example:8443");
        assert_eq!(&request.body.bytes[..], b"a%20b=c%26d");
        assert_eq!((answer.status, answer.after_us), (201, 23_500));
        assert_eq!((&answer.body.bytes[..], answer.headers.len()), (&b"\xff\0"[..], 0));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let bad =
            |from: &str, to: &str| read(&with_entry(&ENTRY.replacen(from, to, 1))).unwrap_err();
        for (from, to) in
            [("2026-01", "2026-13"), ("201", "1201"), ("/wA=", "/w"), ("2026-", "1926-")]
        {
            let error = bad(from, to);
            assert!(matches!(error, ReadError::Entry { record: 1, .. }), "{to}: {error}");
        }
        assert!(matches!(bad("{", "["), ReadError::Place { .. }));
        assert!(matches!(read("{}"), Err(ReadError::Place { .. })));
        let text = with_entry(&ENTRY.replacen("https:", "wss:", 1));
        let reader = Reader::new(text.as_bytes()).unwrap();
        assert_eq!(reader.refused, BTreeMap::from([("scheme".into(), 1)]));
    }

    prop_compose! {
        fn kept()(bytes in vec(any::<u8>(), 0..40), cut: bool) -> Kept {
            Kept { bytes: bytes.into(), cut }
        }
    }

    prop_compose! {
        fn exchange()(
            began_us in 0_u64..4_000_000_000_000_000,
            session: u64,
            target in "/[a-z0-9/]{0,9}(\\?[a-z=&]{0,9})?",
            value in "[ -~é]{0,9}",
            body in kept(),
            answer in proptest::option::of((100_u16..1000, 0_u64..1 << 40, kept())),
        ) -> Exchange {
            let headers = vec![("Host".into(), "a:80".into()), ("X".into(), value.into())];
            let answer = answer.map(|(status, after_us, body)| {
                let headers = vec![("Content-Encoding".into(), "br".into())];
                Answered { status, after_us, headers, body }
            });
            let request = Asked { method: "PUT".into(), target, headers, body };
            Exchange { began_us, session, request, answer }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(all in vec(exchange(), 0..4)) {
            let mut writer = Writer::new(Vec::new()).unwrap();
            all.iter().for_each(|one| writer.put(one).unwrap());
            let text = String::from_utf8(writer.finish().unwrap()).unwrap();
            prop_assert_eq!(read(&text).unwrap(), all);
        }
    }

    #[test]
    fn what_would_be_read_otherwise_is_not_written() {
        #[track_caller]
        fn check(host: &'static str, target: &str, good: bool) {
            let headers = vec![("Host".into(), host.into())];
            let (method, target, body) = ("GET".into(), target.into(), Kept::default());
            let request = Asked { method, target, headers, body };
            let one = Exchange { began_us: 0, session: 0, request, answer: None };
            assert_eq!(Writer::new(Vec::new()).unwrap().put(&one).is_ok(), good, "{host}");
        }
        check("a:80", "//b?c", true);
        for (host, target) in
            [("a/", "/b"), ("a?", "/b"), ("ahttp://", "/"), ("a", "/b#c"), ("a", "*")]
        {
            check(host, target, false);
        }
    }

    #[test]
    fn cut_at_any_byte_it_is_no_har() {
        let text = with_entry(ENTRY);
        for length in 0..text.len() {
            assert!(read(&text[..length]).is_err(), "{length}");
        }
    }
}
