//! Which requests are of one session.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use hyper::HeaderMap;
use hyper::header::{COOKIE, HeaderName, HeaderValue, SET_COOKIE};
use hyper::http::request::Parts;

use super::setup::StickySetup;

/// By what they are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sticky {
    /// The value of a cookie.
    Cookie(String),
    /// The value of a header.
    Header(HeaderName),
    /// The address of the client, or of the proxy it comes through.
    Address,
}

/// It names nothing that tells sessions apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read {text:?} as what tells sessions apart: expected cookie:NAME, header:NAME or address")]
pub struct NoSticky {
    text: String,
}

impl FromStr for Sticky {
    type Err = NoSticky;

    fn from_str(text: &str) -> Result<Self, NoSticky> {
        let refused = || NoSticky { text: text.chars().take(80).collect() };
        Ok(match text.split_once(':') {
            None if text == "address" => Self::Address,
            Some(("header", name)) => Self::Header(name.parse().map_err(|_| refused())?),
            // Both are tokens (RFC 6265, 4.1.1).
            Some(("cookie", name)) if name.parse::<HeaderName>().is_ok() => {
                Self::Cookie(name.to_owned())
            }
            _ => return Err(refused()),
        })
    }
}

impl fmt::Display for Sticky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Address => f.write_str("address"),
        }
    }
}

/// What a request says of its session.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Session<'a> {
    /// It is of this one.
    Of(&'a [u8]),
    /// It is of none yet, and can be told of one by this cookie.
    New {
        /// The cookie's name.
        cookie: &'a str,
    },
    /// It is of none.
    Alone,
}

impl<'a> Session<'a> {
    /// What all its requests say, if it is of one.
    pub(crate) fn told(self) -> Option<&'a [u8]> {
        match self {
            Self::Of(told) => Some(told),
            Self::New { .. } | Self::Alone => None,
        }
    }
}

impl Sticky {
    /// As a checked setup says.
    pub(super) fn new(setup: &StickySetup) -> Option<Self> {
        Some(match setup {
            StickySetup::Cookie(name) => Self::Cookie(name.clone()),
            StickySetup::Header(name) => Self::Header(name.parse().ok()?),
            StickySetup::Address => Self::Address,
        })
    }

    /// Which one a request with this head is of. An address is written to `scratch`.
    pub(crate) fn session<'a>(
        &'a self,
        head: &'a Parts,
        client: IpAddr,
        scratch: &'a mut [u8; 16],
    ) -> Session<'a> {
        match self {
            Self::Cookie(name) => {
                cookie(&head.headers, name).map_or(Session::New { cookie: name }, Session::Of)
            }
            Self::Header(name) => {
                let value = head.headers.get(name).map(HeaderValue::as_bytes);
                value.filter(|value| !value.is_empty()).map_or(Session::Alone, Session::Of)
            }
            Self::Address => {
                *scratch = match client {
                    IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
                    IpAddr::V6(address) => address.octets(),
                };
                Session::Of(scratch)
            }
        }
    }
}

/// The value of a cookie (RFC 6265, 5.4), if there is one.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let pairs = headers.get_all(COOKIE).iter();
    let mut pairs = pairs.flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    pairs.find_map(|pair| {
        let value = pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        (!value.is_empty()).then_some(value)
    })
}

/// Has a client come back with `cookie`, which is `NAME=VALUE`.
pub(super) fn set_cookie(headers: &mut HeaderMap, cookie: &str, secure: bool) {
    let secure = if secure { "; Secure" } else { "" };
    let cookie = format!("{cookie}; Path=/; HttpOnly; SameSite=Lax{secure}");
    // Its name was checked.
    if let Ok(value) = HeaderValue::from_str(&cookie) {
        headers.append(SET_COOKIE, value);
    }
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    #[test]
    fn what_tells_sessions_apart_is_shown_as_it_is_typed() {
        for good in ["cookie:sid", "header:x-user", "address"] {
            assert_eq!(good.parse::<Sticky>().expect(good).to_string(), good);
        }
        for bad in ["", "cookie", "cookie:", "cookie:a b", "header:", "header:a b", "ip"] {
            assert!(bad.parse::<Sticky>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_session_is_told_by_one_thing() {
        #[track_caller]
        fn check(sticky: &StickySetup, header: (&str, &str), session: Session<'_>) {
            let request = Request::builder().header(header.0, header.1).body(()).expect("one");
            let head = request.into_parts().0;
            let sticky = Sticky::new(sticky).expect("valid");
            let client = "192.0.2.1".parse().expect("an address");
            assert_eq!(sticky.session(&head, client, &mut [0; 16]), session, "{header:?}");
        }
        let cookie = StickySetup::Cookie("id".to_owned());
        check(&cookie, ("cookie", "a=b; id=7; id=8"), Session::Of(b"7"));
        for other in ["xid=7", "id=", "ID=7", "id"] {
            check(&cookie, ("cookie", other), Session::New { cookie: "id" });
        }
        let header = StickySetup::Header("x-user".to_owned());
        check(&header, ("x-user", "me"), Session::Of(b"me"));
        check(&header, ("x-user", ""), Session::Alone);
        let address = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 192, 0, 2, 1];
        check(&StickySetup::Address, ("a", "b"), Session::Of(&address));
    }
}
