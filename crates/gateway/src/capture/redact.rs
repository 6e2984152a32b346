//! Secrets that are not kept.
//!
//! What is redacted is replaced by a marker with a digest under a key that is drawn for each
//! capture and kept nowhere: within a capture equal secrets have equal markers, and nobody can
//! try out from a marker what the secret was.

use std::io;

use bytes::Bytes;
use serde_json::Value;

use super::mask::Mask;
use super::{Exchange, Headers, Kept};

/// What a marker begins with; letters, digits and `-`, so that it can stand anywhere.
pub const MARKER: &str = "redacted-";

/// Headers whose value is a credential.
const CREDENTIALS: [&str; 2] = ["authorization", "proxy-authorization"];
/// Schemes that may stay before a credential: they say nothing of it.
const SCHEMES: [&str; 5] = ["basic", "bearer", "digest", "negotiate", "token"];
/// What of a cookie's attributes may stay.
const ATTRIBUTES: [&str; 8] =
    ["path", "domain", "max-age", "expires", "secure", "httponly", "samesite", "partitioned"];
/// Headers whose value is an address, with a query of its own.
const ADDRESSES: [&str; 3] = ["referer", "location", "content-location"];

/// What is redacted besides credentials and cookies.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Secrets {
    /// Headers, by name.
    pub headers: Vec<String>,
    /// Places in bodies, which are then kept only if they are JSON.
    pub json: Vec<Mask>,
    /// Parameters of a query or a form, by name.
    pub query: Vec<String>,
}

/// Redacts exchanges of one capture.
pub struct Redactor {
    key: [u8; 32],
    secrets: Secrets,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redactor").field("secrets", &self.secrets).finish_non_exhaustive()
    }
}

/// Bytes that nobody knows.
///
/// # Errors
/// The kernel has none.
pub(super) fn drawn() -> io::Result<[u8; 32]> {
    let mut key = [0; 32];
    let mut got = 0;
    while got < key.len() {
        got += rustix::rand::getrandom(&mut key[got..], rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(key)
}

impl Redactor {
    /// With a key of its own.
    ///
    /// # Errors
    /// The kernel gives no random bytes.
    pub fn new(secrets: Secrets) -> io::Result<Self> {
        Ok(Self::with_key(drawn()?, secrets))
    }

    fn with_key(key: [u8; 32], mut secrets: Secrets) -> Self {
        secrets.headers.iter_mut().for_each(|name| name.make_ascii_lowercase());
        Self { key, secrets }
    }

    /// Replaces every secret, and says how many bodies were dropped, since they could not be read
    /// as JSON.
    pub fn redact(&self, exchange: &mut Exchange) -> u64 {
        if let Some(target) = self.address(&exchange.request.target) {
            exchange.request.target = target;
        }
        self.headers(&mut exchange.request.headers);
        let mut dropped = self.body(&exchange.request.headers, &mut exchange.request.body);
        if let Some(answer) = &mut exchange.answer {
            self.headers(&mut answer.headers);
            dropped += self.body(&answer.headers, &mut answer.body);
        }
        dropped
    }

    fn marker(&self, secret: &[u8]) -> String {
        let digest = blake3::keyed_hash(&self.key, secret).to_hex();
        format!("{MARKER}{}", &digest[..16])
    }

    fn headers(&self, headers: &mut Headers) {
        for (name, value) in headers {
            let name = String::from_utf8_lossy(name).to_ascii_lowercase();
            let redacted = match name.as_str() {
                _ if value.is_empty() => None,
                // By its owner's wish nothing of it stays.
                name if self.secrets.headers.iter().any(|one| one == name) => {
                    Some(self.marker(value))
                }
                name if CREDENTIALS.contains(&name) => Some(self.credential(value)),
                "cookie" => Some(self.cookies(value)),
                "set-cookie" => Some(self.cookie_set(value)),
                // Several addresses, with signs between them that may stand in one.
                "link" if !self.secrets.query.is_empty() => Some(self.marker(value)),
                name if ADDRESSES.contains(&name) => self.address(&String::from_utf8_lossy(value)),
                _ => None,
            };
            if let Some(redacted) = redacted {
                *value = redacted.into();
            }
        }
    }

    fn credential(&self, value: &[u8]) -> String {
        let text = String::from_utf8_lossy(value);
        let scheme = text.split_once(' ').map(|(scheme, _)| scheme);
        match scheme.filter(|scheme| SCHEMES.contains(&scheme.to_ascii_lowercase().as_str())) {
            Some(scheme) => format!("{scheme} {}", self.marker(&value[scheme.len() + 1..])),
            None => self.marker(value),
        }
    }

    /// `a=1; b=2`: values go, names stay.
    fn cookies(&self, value: &[u8]) -> String {
        let pairs = value.split(|&byte| byte == b';').map(|pair| self.pair(pair.trim_ascii()));
        pairs.collect::<Vec<_>>().join("; ")
    }

    fn cookie_set(&self, value: &[u8]) -> String {
        let mut parts = value.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let mut text = self.pair(parts.next().unwrap_or_default());
        for part in parts {
            let attribute = String::from_utf8_lossy(part);
            let name = attribute.split('=').next().unwrap_or_default().to_ascii_lowercase();
            text.push_str("; ");
            match ATTRIBUTES.contains(&name.as_str()) {
                true => text.push_str(&attribute),
                false => text.push_str(&self.marker(part)),
            }
        }
        text
    }

    fn pair(&self, pair: &[u8]) -> String {
        match pair.iter().position(|&byte| byte == b'=') {
            Some(at) => {
                let name = String::from_utf8_lossy(&pair[..at]);
                format!("{name}={}", self.marker(&pair[at + 1..]))
            }
            // Some put a secret there without a name.
            None => self.marker(pair),
        }
    }

    /// An address with parameters of these names replaced; `None` if nothing is.
    fn address(&self, address: &str) -> Option<String> {
        let (before, query) = address.split_once('?')?;
        let query = self.parameters(query)?;
        Some(format!("{before}?{query}"))
    }

    /// `a=1&b=2`.
    fn parameters(&self, text: &str) -> Option<String> {
        if self.secrets.query.is_empty() {
            return None;
        }
        let mut redacted = false;
        let parts = text.split('&').map(|part| match self.named(part) {
            Some(at) => {
                redacted = true;
                format!("{}{}", &part[..at], self.marker(&part.as_bytes()[at..]))
            }
            None => part.to_owned(),
        });
        let parts = parts.collect::<Vec<_>>().join("&");
        redacted.then_some(parts)
    }

    /// Where in `a=1` the value begins, if it is one to redact. A semicolon is a part of a value to
    /// some and a separator to others: what follows one goes, too.
    fn named(&self, part: &str) -> Option<usize> {
        let mut start = 0;
        for pair in part.split(';') {
            if let Some((name, _)) = pair.split_once('=')
                && self.secrets.query.contains(&decoded(name))
            {
                return Some(start + name.len() + 1);
            }
            start += pair.len() + 1;
        }
        None
    }

    /// How many were dropped: one or none.
    fn body(&self, headers: &Headers, body: &mut Kept) -> u64 {
        if body.bytes.is_empty() {
            return 0;
        }
        if !self.secrets.json.is_empty() {
            let json = if body.cut { None } else { self.json(&body.bytes) };
            let Some(json) = json else {
                *body = Kept { bytes: Bytes::new(), cut: true };
                return 1;
            };
            body.bytes = json;
        } else if is_form(headers)
            && let Some(form) = self.parameters(&String::from_utf8_lossy(&body.bytes))
        {
            body.bytes = form.into();
        }
        0
    }

    /// Written anew in any case: a name that is there twice has one value only in what was read.
    fn json(&self, body: &[u8]) -> Option<Bytes> {
        let mut value: Value = serde_json::from_slice(body).ok()?;
        for mask in &self.secrets.json {
            mask.apply(&mut value, &mut |secret| {
                let plain = match secret {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                Value::String(self.marker(plain.as_bytes()))
            });
        }
        serde_json::to_vec(&value).ok().map(Bytes::from)
    }
}

fn is_form(headers: &Headers) -> bool {
    headers.iter().any(|(name, value)| {
        name.eq_ignore_ascii_case(b"content-type")
            && value.to_ascii_lowercase().starts_with(b"application/x-www-form-urlencoded")
    })
}

/// A parameter's name as the server reads it: `%74oken` is `token`.
fn decoded(name: &str) -> String {
    let bytes = name.as_bytes();
    let hex = |at: usize| bytes.get(at).and_then(|&byte| char::from(byte).to_digit(16));
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match (byte, hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                // Two hexadecimal digits are a byte.
                plain.push((high * 16 + low) as u8);
                at += 2;
            }
            (b'+', ..) => plain.push(b' '),
            _ => plain.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{Answered, Asked};

    fn redactor() -> Redactor {
        let secrets = Secrets {
            headers: vec!["X-Api-Key".into()],
            json: vec!["user.password".parse().unwrap()],
            query: vec!["token".into()],
        };
        Redactor::with_key([7; 32], secrets)
    }

    /// Markers as `*`.
    fn shown(text: &str) -> String {
        let mut parts = text.split(MARKER);
        let mut shown = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            assert!(part.as_bytes()[..16].iter().all(u8::is_ascii_hexdigit), "{part}");
            shown.push('*');
            shown.push_str(&part[16..]);
        }
        shown
    }

    #[track_caller]
    fn check_header(name: &'static str, value: &'static str, is: &str) {
        let mut headers = vec![(Bytes::from(name), Bytes::from(value))];
        redactor().headers(&mut headers);
        assert_eq!(shown(&String::from_utf8_lossy(&headers[0].1)), is, "{name}: {value}");
    }

    #[test]
    fn headers_with_secrets_lose_them() {
        check_header("Authorization", "Bearer abc", "Bearer *");
        check_header("authorization", "abc def", "*");
        check_header("Proxy-Authorization", "Basic dTpw", "Basic *");
        check_header("cookie", "a=1; b=2;c", "a=*; b=*; *");
        check_header("Set-Cookie", "a=1; Path=/; HttpOnly; x=2", "a=*; Path=/; HttpOnly; *");
        check_header("X-API-Key", "k", "*");
        check_header("Referer", "http://a/?token=1&x=2", "http://a/?token=*&x=2");
        check_header("Link", "<http://a/?x=1>, <http://a/?token=1>", "*");
        check_header("accept", "text/html", "text/html");
    }

    #[test]
    fn queries_with_secrets_lose_them() {
        #[track_caller]
        fn check(address: &str, is: Option<&str>) {
            assert_eq!(redactor().address(address).map(|text| shown(&text)).as_deref(), is);
        }
        check("/a?token=1", Some("/a?token=*"));
        check("/a?x=1&token=1;token=2&y", Some("/a?x=1&token=*&y"));
        check("/a?x=1;token=1;y=2&z", Some("/a?x=1;token=*&z"));
        check("/a?%74oken=1", Some("/a?%74oken=*"));
        check("/a?tokens=1", None);
        check("/token=1", None);
    }

    fn exchange(kind: &'static str, body: &'static [u8], cut: bool) -> Exchange {
        let headers = vec![("content-type".into(), kind.into())];
        let body = Kept { bytes: body.into(), cut };
        let request =
            Asked { method: "POST".into(), target: "/".into(), headers, body: body.clone() };
        let answer = Answered { status: 200, after_us: 0, headers: Vec::new(), body };
        Exchange { began_us: 0, session: 0, request, answer: Some(answer) }
    }

    #[test]
    fn bodies_that_cannot_be_redacted_are_dropped_and_counted() {
        #[track_caller]
        fn check(body: &'static [u8], cut: bool, is: &str, dropped: u64) {
            let mut exchange = exchange("application/json", body, cut);
            assert_eq!(redactor().redact(&mut exchange), dropped);
            let answer = exchange.answer.unwrap().body;
            for kept in [&exchange.request.body, &answer] {
                assert_eq!(shown(&String::from_utf8_lossy(&kept.bytes)), is);
                assert_eq!(kept.cut, dropped > 0);
            }
        }
        check(
            br#"{"user":{"password":"p"},"x":1}"#,
            false,
            r#"{"user":{"password":"*"},"x":1}"#,
            0,
        );
        let twice = br#"{"user":{"password":"p"},"user":1}"#;
        check(twice, false, r#"{"user":1}"#, 0);
        check(br#"{"user":{"password":"p"#, false, "", 2);
        check(br#"{"x":1}"#, true, "", 2);
        check(b"password=p", false, "", 2);
        check(b"", false, "", 0);
    }

    #[test]
    fn forms_lose_parameters_too() {
        let mut redactor = redactor();
        redactor.secrets.json.clear();
        let form = "application/x-www-form-urlencoded; charset=utf-8";
        let mut exchange = exchange(form, b"token=1&x=2", true);
        redactor.redact(&mut exchange);
        assert_eq!(shown(&String::from_utf8_lossy(&exchange.request.body.bytes)), "token=*&x=2");
    }

    #[test]
    fn equal_secrets_stay_equal_within_a_capture_only() {
        let other = Redactor::new(Secrets::default()).unwrap();
        assert_eq!(redactor().marker(b"a"), redactor().marker(b"a"));
        assert_ne!(redactor().marker(b"a"), redactor().marker(b"b"));
        assert_ne!(redactor().marker(b"a"), other.marker(b"a"));
    }
}
