//! Which requests a mirror is for, and which part of them it gets: of the requests, or of the
//! sessions they are of.
//!
//! ```text
//! request ── filter ──┬── each by itself ── chooser, exactly the fraction ──> copied or not
//!                     └── its session ── keyed hash, below the fraction? ───> copied or not
//!                              └ none: not copied, counted
//! ```

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::Method;
use hyper::header::{HeaderName, HeaderValue};
use hyper::http::request::Parts;

use crate::fraction::{Chooser, Fraction};
use crate::routes::matching::has_all;
use crate::routes::session::Sticky;
use crate::routes::weigh::Salt;

/// A request as mirrors and captures are offered it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offered<'a> {
    pub(crate) head: &'a Parts,
    /// The name of its route.
    pub(crate) route: &'a str,
    /// Where it is from.
    pub(crate) client: IpAddr,
}

/// Which requests a mirror or a capture is for: those that are all of this.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Of one of these methods; of any, if there are none.
    pub methods: Vec<Method>,
    /// With a path that begins so.
    pub path_prefix: String,
    /// With all of these headers, of these values.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Of this route; of any, if there is none.
    pub route: Option<String>,
}

impl Filter {
    /// Whether it asks for nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn lets_through(&self, offered: &Offered<'_>) -> bool {
        let Offered { head, route, .. } = offered;
        (self.methods.is_empty() || self.methods.contains(&head.method))
            && head.uri.path().starts_with(&self.path_prefix)
            && has_all(&head.headers, &self.headers)
            && self.route.as_ref().is_none_or(|wanted| wanted == route)
    }
}

/// Sessions that are mirrored whole or not at all.
#[derive(Clone, PartialEq, Eq)]
pub struct Sessions {
    /// By what they are told.
    pub by: Sticky,
    /// What they are hashed with. As long as it stays, more percent only add sessions.
    pub secret: String,
}

impl fmt::Debug for Sessions {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("by", &self.by).finish_non_exhaustive()
    }
}

/// Chooses the part of what the filter lets through.
#[derive(Debug)]
pub(super) enum Choice {
    /// Each request by itself.
    Requests(Chooser),
    Sessions(BySession),
}

#[derive(Debug)]
pub(super) struct BySession {
    fraction: Fraction,
    by: Sticky,
    salt: Salt,
    seen: AtomicU64,
    /// Of those, the ones that are of no session.
    no_session: AtomicU64,
}

impl Choice {
    /// Requests are chosen with a seed that clients do not know.
    pub(super) fn new(fraction: Fraction, sessions: Option<&Sessions>, seed: u64) -> Self {
        match sessions {
            None => Self::Requests(Chooser::new(fraction, seed)),
            Some(Sessions { by, secret }) => Self::Sessions(BySession {
                fraction,
                by: by.clone(),
                salt: Salt::new(Some(secret)),
                seen: AtomicU64::new(0),
                no_session: AtomicU64::new(0),
            }),
        }
    }

    /// Whether the next is chosen, which the filter let through.
    pub(super) fn choose(&self, offered: &Offered<'_>) -> bool {
        match self {
            Self::Requests(chooser) => chooser.choose(),
            Self::Sessions(sessions) => sessions.choose(offered),
        }
    }

    /// How many have come.
    pub(super) fn seen(&self) -> u64 {
        match self {
            Self::Requests(chooser) => chooser.seen(),
            Self::Sessions(sessions) => sessions.seen.load(Ordering::Relaxed),
        }
    }

    /// How many of them could not be chosen, since they are of no session.
    pub(super) fn no_session(&self) -> u64 {
        match self {
            Self::Requests(_) => 0,
            Self::Sessions(sessions) => sessions.no_session.load(Ordering::Relaxed),
        }
    }
}

impl BySession {
    fn choose(&self, offered: &Offered<'_>) -> bool {
        self.seen.fetch_add(1, Ordering::Relaxed);
        let mut scratch = [0; 16];
        let told = self.by.session(offered.head, offered.client, &mut scratch).told();
        if told.is_none() {
            self.no_session.fetch_add(1, Ordering::Relaxed);
        }
        told.is_some_and(|told| self.fraction.holds(self.salt.session(told)))
    }
}

#[cfg(test)]
mod tests {
    use hyper::Request;
    use proptest::prelude::*;

    use super::*;

    fn head(headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri("/api/x");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    fn offered(head: &Parts) -> Offered<'_> {
        Offered { head, route: "shop", client: [192, 0, 2, 1].into() }
    }

    fn by(by: &str, percent: &str, secret: &str) -> Choice {
        let sessions = Sessions { by: by.parse().expect(by), secret: secret.to_owned() };
        Choice::new(percent.parse().expect(percent), Some(&sessions), 1)
    }

    /// Which of so many users are chosen.
    fn users(choice: &Choice, users: u32) -> Vec<bool> {
        let chosen = |user: u32| choice.choose(&offered(&head(&[("x-user", &user.to_string())])));
        (0..users).map(chosen).collect()
    }

    #[test]
    fn a_filter_is_for_what_is_all_of_it() {
        #[track_caller]
        fn check(change: impl FnOnce(&mut Filter), lets_through: bool) {
            let head = head(&[("x-env", "blue"), ("x-env", "green"), ("x-user", "me")]);
            let mut filter = Filter::default();
            change(&mut filter);
            assert_eq!(filter.lets_through(&offered(&head)), lets_through, "{filter:?}");
        }
        let header = |name: &str, value: &str| (name.parse().unwrap(), value.parse().unwrap());
        check(|_| (), true);
        check(|filter| filter.methods = vec![Method::GET, Method::POST], true);
        check(|filter| filter.methods = vec![Method::POST], false);
        check(|filter| filter.path_prefix = "/api".into(), true);
        check(|filter| filter.path_prefix = "/b".into(), false);
        check(|filter| filter.route = Some("shop".into()), true);
        check(|filter| filter.route = Some("sho".into()), false);
        check(|filter| filter.headers = vec![header("X-Env", "green")], true);
        check(|filter| filter.headers = vec![header("x-env", "GREEN")], false);
        let both = vec![header("x-env", "blue"), header("x-user", "me")];
        check(|filter| filter.headers = both, true);
        let one = vec![header("x-env", "blue"), header("x-user", "you")];
        check(|filter| filter.headers = one, false);
    }

    #[test]
    fn what_is_of_no_session_is_counted_and_never_chosen() {
        #[track_caller]
        fn check(told_by: &str, headers: &[(&str, &str)], chosen: bool) {
            let choice = by(told_by, "100", "s");
            assert_eq!(choice.choose(&offered(&head(headers))), chosen, "{headers:?}");
            assert_eq!((choice.seen(), choice.no_session()), (1, u64::from(!chosen)));
        }
        check("cookie:sid", &[("cookie", "a=b; sid=1")], true);
        check("cookie:sid", &[("cookie", "a=b; sid=")], false);
        check("cookie:sid", &[], false);
        check("header:x-user", &[("x-user", "me")], true);
        check("header:x-user", &[("x-user", "")], false);
        check("address", &[], true);
    }

    #[test]
    fn a_part_of_the_sessions_is_chosen_and_always_the_same() {
        for (percent, share) in [("0", 0.0), ("1", 0.01), ("5", 0.05), ("50", 0.5), ("100", 1.0)] {
            let choice = by("header:x-user", percent, "secret");
            let count = 20_000;
            let chosen = users(&choice, count);
            assert_eq!(chosen, users(&by("header:x-user", percent, "secret"), count));
            let found = chosen.iter().filter(|chosen| **chosen).count() as f64;
            let expected = share * f64::from(count);
            // Six standard deviations.
            let bound = 6.0 * (expected * (1.0 - share)).sqrt();
            assert!((found - expected).abs() <= bound, "{found}, not {expected}");
            assert_eq!((choice.seen(), choice.no_session()), (u64::from(count), 0));
        }
        let other = |secret| users(&by("header:x-user", "50", secret), 200);
        assert_ne!(other("a"), other("b"), "who is chosen is a secret's");
    }

    proptest! {
        #[test]
        fn more_percent_only_add_sessions(
            some in 0..=100_000u32,
            more in 0..=100_000u32,
            secret in ".{1,20}",
        ) {
            let percent = |parts: u32| format!("{}.{:03}", parts / 1000, parts % 1000);
            let of = |parts| users(&by("header:x-user", &percent(parts), &secret), 300);
            let (some, more) = (of(some.min(more)), of(some.max(more)));
            prop_assert!(some.iter().zip(&more).all(|(some, more)| more >= some));
        }
    }
}
