//! Whose a request is: a number that is the same for requests of one client.

use std::fmt;
use std::io;
use std::str::FromStr;

use hyper::http::request::Parts;

use super::redact::drawn;
use crate::headers::Client;
use crate::routes::session::Sticky;
use crate::routes::weigh::Salt;

/// By what requests are told to be one client's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Whose {
    /// The connection they come on.
    #[default]
    Connection,
    /// What tells sessions apart elsewhere, too; the connection where there is none.
    Session(Sticky),
}

/// It names nothing that tells clients apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "read {text:?} as what tells clients apart: expected connection, address, header:NAME or cookie:NAME"
)]
pub struct NoWhose {
    text: String,
}

impl FromStr for Whose {
    type Err = NoWhose;

    fn from_str(text: &str) -> Result<Self, NoWhose> {
        if text == "connection" {
            return Ok(Self::Connection);
        }
        let refused = |_| NoWhose { text: text.chars().take(80).collect() };
        text.parse().map(Self::Session).map_err(refused)
    }
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection => f.write_str("connection"),
            Self::Session(sticky) => sticky.fmt(f),
        }
    }
}

/// Numbers sessions. What they are made of cannot be told from them: their salt is kept nowhere.
#[derive(Debug)]
pub(super) struct Sessions {
    whose: Whose,
    salt: Salt,
}

impl Sessions {
    pub(super) fn new(whose: Whose) -> io::Result<Self> {
        Ok(Self { whose, salt: Salt::of(drawn()?) })
    }

    pub(super) fn of(&self, head: &Parts, client: &Client) -> u64 {
        let mut scratch = [0; 16];
        let told = match &self.whose {
            Whose::Connection => None,
            Whose::Session(by) => by.session(head, client.source().ip(), &mut scratch).told(),
        };
        match told {
            Some(told) => self.salt.session(told),
            None => self.salt.session(&client.connection().to_le_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tells_clients_apart_is_shown_as_it_is_typed() {
        for good in ["connection", "address", "cookie:sid"] {
            assert_eq!(good.parse::<Whose>().expect(good).to_string(), good);
        }
        assert!("ip".parse::<Whose>().is_err());
    }

    #[test]
    fn requests_of_one_client_have_one_session() {
        let client = |address: &str| Client::new(address.parse().expect("an address"));
        let (one, same, other) =
            (client("192.0.2.1:1"), client("192.0.2.1:2"), client("192.0.2.2:1"));
        let head = |cookie: &str| {
            let request = hyper::Request::builder().header("cookie", cookie);
            request.body(()).expect("a request").into_parts().0
        };
        #[track_caller]
        fn check(
            whose: &str,
            (a, a_client): (&Parts, &Client),
            (b, b_client): (&Parts, &Client),
            same: bool,
        ) {
            let sessions = Sessions::new(whose.parse().expect(whose)).expect("random bytes");
            assert_eq!(sessions.of(a, a_client) == sessions.of(b, b_client), same, "{whose}");
        }
        let (a, b) = (head("x=1; sid=a"), head("sid=b"));
        check("connection", (&a, &one), (&b, &one), true);
        check("connection", (&a, &one), (&a, &same), false);
        check("address", (&a, &one), (&b, &same), true);
        check("address", (&a, &one), (&a, &other), false);
        check("cookie:sid", (&a, &one), (&a, &other), true);
        check("cookie:sid", (&a, &one), (&b, &one), false);
        check("cookie:no", (&a, &one), (&b, &one), true);
        check("header:cookie", (&a, &one), (&a, &other), true);
    }
}
