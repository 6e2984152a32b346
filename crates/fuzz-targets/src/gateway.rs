//! What clients ask the gateway for, and what its owner types.

use hyper::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, TE, UPGRADE};
use hyper::http::request::Parts;
use hyper::{Request, Version};
use umbra_gateway::control::{StartMirror, settings};
use umbra_gateway::fraction::Fraction;
use umbra_gateway::headers::{Client, forwarded, pass_on};
use umbra_gateway::listen::proxy_header::{BYTES_MAX, Parsed, Version as Written, parse, write};
use umbra_gateway::mirror::Sessions;
use umbra_gateway::routes::RoutesSetup;
use umbra_gateway::upstream::Target as Upstream;

use crate::Target;
use crate::seeds::texts;

/// See [`head`].
pub const HEAD: Target = Target {
    name: "head",
    open: || Box::new(head),
    seeds: || {
        texts(&[
            "GET / 1\nHost: a\nConnection: close, X-Mine\nX-Mine: 1\nTE: trailers\n",
            "POST http://b:80/x 1\nHost: a\nContent-Length: 010\nExpect: 100-continue\n",
            "POST / 1\nHost: a\nTransfer-Encoding: chunked\nTrailer: x\n",
            "GET /chat 1\nHost: [::1]:80\nConnection: Upgrade\nUpgrade: websocket\n",
            "GET /a?b 2\nHost: a\nX-Forwarded-For: c\nForwarded: for=c\n",
            "OPTIONS * 0\n",
        ])
    },
    words: &[
        "Host: a\n",
        "http://b",
        "u@",
        "Connection: ",
        "close",
        "upgrade",
        "host",
        "content-length",
        "x-forwarded-for",
        "Upgrade: h2c\n",
        "Content-Length: ",
        "Transfer-Encoding: chunked\n",
        "gzip",
        "Keep-Alive: 1\n",
        "Proxy-Connection: x\n",
        ", ",
        "CONNECT ",
        "*",
        "18446744073709551616",
    ],
    cases: 5_000,
    heap_factor: 200,
};

/// What is passed on says once whom it is for and at most once how long it is, nothing of its
/// connection but what it is to become and that trailers may come, and who asked. Passed on
/// again it stays what it is.
pub fn head(bytes: &[u8]) -> bool {
    let Some(mut head) = read(bytes) else { return false };
    let old = head.version == Version::HTTP_10;
    let Ok(upgrade) = pass_on(&mut head) else { return false };
    let count = |name: &HeaderName| head.headers.get_all(name).iter().count();
    let hosts = count(&HOST);
    assert!(hosts == 1 || (hosts == 0 && old), "{hosts} hosts");
    for name in ["keep-alive", "proxy-connection", "transfer-encoding", "expect"] {
        assert!(!head.headers.contains_key(name), "{name} is passed on");
    }
    // Whoever takes trailers may say so, and nothing else.
    assert!(count(&TE) <= 1 && head.headers.get(TE).is_none_or(|te| te == "trailers"));
    let length = head.headers.get(CONTENT_LENGTH);
    assert!(count(&CONTENT_LENGTH) <= 1);
    assert!(length.is_none_or(|length| {
        let text = length.to_str().expect("digits");
        text.parse::<u64>().expect("a number").to_string() == text
    }));
    let becomes = upgrade.as_ref().map(|_| HeaderValue::from_static("upgrade"));
    assert_eq!(head.headers.get(CONNECTION), becomes.as_ref());
    assert_eq!(head.headers.get(UPGRADE), upgrade.as_ref());
    assert!(count(&CONNECTION) <= 1 && count(&UPGRADE) <= 1);
    assert!(head.uri.path().starts_with('/'));
    assert_eq!(head.version, Version::HTTP_11);
    check_again(&head);
    for trusted in [true, false] {
        let mut headers = head.headers.clone();
        let client = Client::new(([192, 0, 2, 7], 80).into());
        forwarded(&mut headers, &client, trusted);
        let mut told = headers.get_all("x-forwarded-for").iter();
        assert!(told.next_back().is_some_and(|last| last == "192.0.2.7"));
        assert!(trusted || told.next().is_none() && !headers.contains_key("forwarded"));
    }
    true
}

fn check_again(head: &Parts) {
    let mut again = head.clone();
    if again.headers.contains_key(HOST) {
        pass_on(&mut again).expect("what is passed on can be");
        assert_eq!(again.headers, head.headers);
    }
}

/// Longer heads do not come past HTTP's parser; with its checks on, a map of headers takes time
/// quadratic in how often a name is repeated.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// `METHOD TARGET MINOR`, and headers, a line each: what HTTP's parser can make a head of.
fn read(bytes: &[u8]) -> Option<Parts> {
    let bytes = (bytes.len() <= HEAD_BYTES_MAX).then_some(bytes)?;
    let mut lines = bytes.split(|&byte| byte == b'\n');
    let mut words = lines.next()?.split(|&byte| byte == b' ');
    let (method, target) = (words.next()?, words.next()?);
    let version = match words.next()? {
        b"0" => Version::HTTP_10,
        b"1" => Version::HTTP_11,
        _ => Version::HTTP_2,
    };
    let mut request = Request::builder().method(method).uri(target).version(version);
    let headers = request.headers_mut()?;
    for line in lines.filter(|line| !line.is_empty()) {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
        headers.try_append(name, value).ok()?;
    }
    Some(request.body(()).ok()?.into_parts().0)
}

/// See [`mirror`].
pub const MIRROR: Target = Target {
    name: "mirror",
    open: || Box::new(mirror),
    seeds: || {
        texts(&[
            "one\n{\"to\":\"127.0.0.1:9001\",\"percent\":\"5\"}",
            "a-b.c\n{\"to\":\"a:1\",\"percent\":\"0.001%\",\"methods\":[\"GET\"],\"path_prefix\":\"/a\",\"host\":\"b:80\",\"in_flight_max\":7,\"body_bytes_max\":9,\"timeout_ms\":18446744073709551615}",
            "s\n{\"to\":\"a:1\",\"percent\":\"5\",\"headers\":[[\"x-env\",\"a b\"]],\"route\":\"shop\",\"sessions\":\"cookie:sid\",\"secret\":\"s\"}",
        ])
    },
    words: &[
        "\"percent\":\"",
        "\"methods\":[\"",
        "\"host\":\"",
        "\"headers\":[[\"",
        "\"route\":\"",
        "\"sessions\":\"header:",
        "\"secret\":\"",
        "\"in_flight_max\":",
        "\\u0000",
        "\\r\\n",
        "18446744073709551615",
        "null",
        ",",
        "%",
    ],
    cases: 3_000,
    heap_factor: 64,
};

/// A mirror that is begun has a plain name, a part of a whole, a host's name, room that a
/// semaphore can hold, and a filter and sessions of a bounded length that can be written again;
/// what is refused is said in printable words of a bounded length.
pub fn mirror(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let (name, wanted) = text.split_once('\n').unwrap_or(("a", &text));
    let Ok(wanted) = serde_json::from_str::<StartMirror>(wanted) else { return false };
    let written = serde_json::to_string(&wanted).expect("it is written");
    assert_eq!(serde_json::from_str::<StartMirror>(&written).expect("and read"), wanted);
    match settings(name, &wanted) {
        Ok(is) => {
            assert!((1..=64).contains(&is.name.len()) && is.name.is_ascii(), "{:?}", is.name);
            assert!(!is.name.contains(['/', '"', '\\', '\n']), "{:?}", is.name);
            assert!(is.fraction <= Fraction::ALL);
            assert!(is.limits.in_flight_max <= usize::MAX >> 3);
            let plain = |host: &HeaderValue| {
                let host = host.as_bytes();
                !host.is_empty() && !host.iter().any(|byte| b" /@#?\\".contains(byte))
            };
            assert!(is.host.as_ref().is_none_or(plain), "{:?}", is.host);
            let written = |(_, value): &(_, HeaderValue)| {
                value.len() <= 1024 && std::str::from_utf8(value.as_bytes()).is_ok()
            };
            assert!(is.filter.headers.len() <= 16 && is.filter.headers.iter().all(written));
            assert!(is.filter.route.is_none_or(|route| (1..=64).contains(&route.len())));
            if let Some(Sessions { by, secret }) = is.sessions {
                assert_eq!(by.to_string().parse(), Ok(by));
                assert!((1..=1024).contains(&secret.len()));
            }
            true
        }
        Err(error) => {
            let said = error.message;
            assert!(said.len() <= 1_000 && !said.chars().any(char::is_control), "{said:?}");
            false
        }
    }
}

/// See [`percentage`].
pub const PERCENTAGE: Target = Target {
    name: "percentage",
    open: || Box::new(percentage),
    seeds: || texts(&["5", "0.001", "12.5%", "100", "0", "99.999"]),
    words: &[".", "%", "0", "9", "100", "-", "+", "e", " "],
    cases: 5_000,
    heap_factor: 64,
};

/// At most everything, and shown as what is read as the same.
pub fn percentage(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Ok(fraction) = text.parse::<Fraction>() else { return false };
    assert!((Fraction::NONE..=Fraction::ALL).contains(&fraction));
    let shown = fraction.percent().to_string();
    assert_eq!(shown.parse::<Fraction>(), Ok(fraction), "{text:?} is shown as {shown}");
    true
}

/// See [`upstream`].
pub const UPSTREAM: Target = Target {
    name: "upstream",
    open: || Box::new(upstream),
    seeds: || texts(&["127.0.0.1:9000", "https://app.internal:443/", "h2c://[::1]:9000"]),
    words: &["http://", "https://", "h2c://", "/", ":", "@", "[::1]", "%", "65536", "#", "?", " "],
    cases: 3_000,
    heap_factor: 64,
};

/// A host and a port, of which each request's address can be made, shown as what is read as the
/// same.
pub fn upstream(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Ok(target) = text.parse::<Upstream>() else { return false };
    let shown = target.to_string();
    assert_eq!(shown.parse::<Upstream>().as_ref(), Ok(&target), "{text:?} is shown as {shown}");
    let place = shown.split_once("://").map_or(&*shown, |(_, place)| place);
    assert!(
        !place.contains(['@', '/', '?', '#']) && !place.contains(char::is_control),
        "{place:?}"
    );
    assert!(!target.host().is_empty() && !target.host().contains(['[', ']']), "{place:?}");
    true
}

/// See [`routes`].
pub const ROUTES: Target = Target {
    name: "routes",
    open: || Box::new(routes),
    seeds: || {
        texts(&[
            "routes:\n  - name: a\n    targets: [{ to: 'a:1', weight: 2 }]\n",
            "routes:\n  - name: a\n    match: { host: '*.b', path: /c, methods: [GET], headers: { d: e } }\n    \
             targets: [{ to: 'https://a:1' }]\n    sticky: { cookie: f }\n    \
             health: { path: /g, every: 1s }\n    eject: { failures: 2 }\nsecret: h\n",
        ])
    },
    words: &[
        "sticky",
        "by: address",
        "eject: {}",
        "weight",
        "*.",
        ": ",
        "\n  - ",
        "0",
        "1e9",
        "-1",
    ],
    cases: 1_500,
    heap_factor: 4_096,
};

/// What is accepted makes sense to a gateway as well, and is the same after it was written and
/// read; what is refused is told in printable words.
pub fn routes(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    match umbra_gateway::routes::file::parse("routes.yaml", &text) {
        Ok(setup) => {
            assert_eq!(setup.check(), Ok(()), "{text:?}");
            let written = serde_json::to_string(&setup).expect("it is written");
            let read: RoutesSetup = serde_json::from_str(&written).expect("and read");
            assert_eq!(read, setup, "{text:?}");
            true
        }
        Err(problems) => {
            let told = problems.render(false);
            assert!(!told.contains(|c: char| c.is_control() && c != '\n'), "{told:?}");
            false
        }
    }
}

/// See [`proxy_header`].
pub const PROXY_HEADER: Target = Target {
    name: "proxy_header",
    open: || Box::new(proxy_header),
    seeds: || {
        let mut seeds = texts(&[
            "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\nGET / HTTP/1.1\r\n",
            "PROXY TCP6 2001:db8::1 ::1 0 65535\r\n",
            "PROXY UNKNOWN ffff:f...f:ffff\r\n",
        ]);
        let binary = |command_and_family: &[u8], rest: &[u8]| {
            let length = [0, rest.len() as u8];
            [b"\r\n\r\n\0\r\nQUIT\n", command_and_family, &length, rest].concat()
        };
        seeds.push(binary(
            b"\x21\x11",
            b"\xc0\0\x02\x07\xc6\x33\x64\x01\xdc\x04\x01\xbb\x04\0\x01x",
        ));
        seeds.push(binary(b"\x21\x21", &[1; 36]));
        seeds.push(binary(b"\x20\0", b"any"));
        seeds
    },
    words: &[
        "PROXY ",
        "TCP4 ",
        "TCP6 ",
        "UNKNOWN",
        " 65535",
        "\r\n",
        "::ffff:1.2.3.4",
        "\r\n\r\n\0\r\nQUIT\n",
        "\u{21}\u{11}\0\u{c}",
        "\u{20}\0\0\0",
    ],
    cases: 5_000,
    heap_factor: 64,
};

/// A header has a bounded length and ends where it does whatever follows; before its end it is
/// incomplete; what it says, written again in either version, is read as the same.
pub fn proxy_header(bytes: &[u8]) -> bool {
    let Ok(Parsed::Whole { length, ends }) = parse(bytes) else { return false };
    assert!(length <= bytes.len() && length <= BYTES_MAX, "{length}");
    assert_eq!(parse(&bytes[..length]), Ok(Parsed::Whole { length, ends }));
    for cut in 0..length {
        assert_eq!(parse(&bytes[..cut]), Ok(Parsed::Incomplete), "{cut} of {length}");
    }
    if let Some(ends) = ends {
        for version in [Written::V1, Written::V2] {
            let again = write(ends, version);
            let whole = Parsed::Whole { length: again.len(), ends: Some(ends) };
            assert_eq!(parse(&again), Ok(whole));
        }
    }
    true
}
