//! Where requests go, as people write it.

use std::fmt;
use std::str::FromStr;

use hyper::http::uri::Authority;

/// How a target is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.1.
    Http,
    /// HTTP/2 without TLS, by prior knowledge.
    H2c,
    /// HTTP/2 or HTTP/1.1 over TLS, as the target chooses.
    Https,
}

impl Protocol {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Http, "http"), (Self::H2c, "h2c"), (Self::Https, "https")];

    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(one, _)| *one == self).map_or("http", |(_, word)| word)
    }
}

/// A host or an address, a port, and what is spoken there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    protocol: Protocol,
    authority: Authority,
}

/// It names no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read {text:?} as a target: expected HOST:PORT, or one behind http://, https:// or h2c://")]
pub struct NoTarget {
    text: String,
}

impl Target {
    /// How it is spoken to.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Host and port, as they stand in a URI.
    pub(super) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Its host's name or address; an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        self.authority.host().trim_matches(['[', ']'])
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        // There is one: it was asked for.
        self.authority.port_u16().unwrap_or_default()
    }
}

impl FromStr for Target {
    type Err = NoTarget;

    fn from_str(text: &str) -> Result<Self, NoTarget> {
        let refused = || NoTarget { text: text.chars().take(80).collect() };
        let (word, rest) = text.split_once("://").unwrap_or(("http", text));
        let known = Protocol::ALL.iter().find(|(_, known)| *known == word);
        let (protocol, _) = *known.ok_or_else(refused)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let authority: Authority = rest.parse().map_err(|_| refused())?;
        // A user and a password would be sent on.
        let plain = !authority.as_str().contains('@') && !authority.host().is_empty();
        // To a number's parser a sign is part of it.
        let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
        let port = authority.port().filter(|port| is_port(port.as_str()) && port.as_u16() > 0);
        let whole = plain && port.is_some();
        whole.then_some(Self { protocol, authority }).ok_or_else(refused)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.protocol {
            Protocol::Http => self.authority.fmt(f),
            other => write!(f, "{}://{}", other.word(), self.authority),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_host_and_a_port() {
        #[track_caller]
        fn check(text: &str, target: Option<&str>) {
            let read = text.parse::<Target>().ok().map(|target| target.to_string());
            assert_eq!(read.as_deref(), target, "{text}");
        }
        check("127.0.0.1:9000", Some("127.0.0.1:9000"));
        check("http://app.internal:80/", Some("app.internal:80"));
        check("[::1]:9000", Some("[::1]:9000"));
        check("https://app:443/", Some("https://app:443"));
        check("h2c://app:50051", Some("h2c://app:50051"));
        for bad in [
            "",
            "app",
            "http://app",
            "ftp://app:443",
            "u:p@app:80",
            "app:80/path",
            ":80",
            "app:+80",
            "app:0",
        ] {
            check(bad, None);
        }
    }
}
