//! What a mirror is to select, as it is wanted, checked.

use hyper::header::{HeaderName, HeaderValue};
use umbra_api::error::{ErrorCode, WireError};
use umbra_state::chain;

use super::select::{Filter, Sessions};
use crate::control::StartMirror;
use crate::routes::session::Sticky;
use crate::routes::setup::is_name;

const HEADERS_MAX: usize = 16;
/// Of a header's name and value together, and of a secret. A successor is told of all of them.
const TEXT_BYTES_MAX: usize = 1024;
const COOKIE_BYTES_MAX: usize = 64;

/// Which requests it is for.
pub(crate) fn filter(wanted: &StartMirror) -> Result<Filter, WireError> {
    if wanted.headers.len() > HEADERS_MAX {
        return Err(bad(format!("filter by more than {HEADERS_MAX} headers")));
    }
    let methods = wanted.methods.iter().map(|one| one.parse().map_err(|error| bad(chain(&error))));
    let route = wanted.route.clone();
    if let Some(name) = route.as_deref().filter(|name| !is_name(name)) {
        return Err(bad(format!("read {:?} as a route's name", start_of(name))));
    }
    Ok(Filter {
        methods: methods.collect::<Result<_, _>>()?,
        path_prefix: wanted.path_prefix.clone(),
        headers: wanted.headers.iter().map(header).collect::<Result<_, _>>()?,
        route,
    })
}

fn header((name, value): &(String, String)) -> Result<(HeaderName, HeaderValue), WireError> {
    let refused = |what: &str, text: &str| bad(format!("read {:?} as {what}", start_of(text)));
    if name.len() + value.len() > TEXT_BYTES_MAX {
        return Err(bad(format!("filter by a header of more than {TEXT_BYTES_MAX} bytes")));
    }
    let is = name.parse().map_err(|_| refused("a header's name", name))?;
    // The value may be a credential: it is not said again.
    let value = HeaderValue::from_str(value);
    let value = value
        .map_err(|_| bad(format!("filter by {}: its value cannot be a header's", start_of(name))));
    Ok((is, value?))
}

/// Which sessions it is for, if it chooses by them; hashed with `secret` if none is wanted.
pub(crate) fn sessions(
    wanted: &StartMirror,
    secret: impl FnOnce() -> String,
) -> Result<Option<Sessions>, WireError> {
    let Some(by) = &wanted.sessions else {
        return match wanted.secret {
            Some(_) => Err(bad("hash sessions: nothing is said that tells them apart".into())),
            None => Ok(None),
        };
    };
    let by: Sticky = by.parse().map_err(|error| bad(chain(&error)))?;
    if matches!(&by, Sticky::Cookie(name) if name.len() > COOKIE_BYTES_MAX) {
        return Err(bad(format!("name a cookie: up to {COOKIE_BYTES_MAX} bytes")));
    }
    let secret = wanted.secret.clone().unwrap_or_else(secret);
    if secret.is_empty() || secret.len() > TEXT_BYTES_MAX {
        return Err(bad(format!("hash sessions with a secret: 1 to {TEXT_BYTES_MAX} bytes")));
    }
    Ok(Some(Sessions { by, secret }))
}

/// As much as is said of what makes no sense.
fn start_of(text: &str) -> String {
    text.chars().take(80).collect()
}

fn bad(message: String) -> WireError {
    WireError::new(ErrorCode::BadRequest, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused() {
        #[track_caller]
        fn check(change: impl FnOnce(&mut StartMirror), said: &str) {
            let mut wanted = StartMirror::default();
            change(&mut wanted);
            let is = filter(&wanted).and_then(|_| sessions(&wanted, || "drawn".into()));
            let error = is.expect_err(said);
            assert_eq!(error.code, ErrorCode::BadRequest);
            assert!(error.message.contains(said), "{}", error.message);
        }
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        check(|wanted| wanted.headers = vec![header("a b", "c")], "\"a b\" as a header's name");
        check(|wanted| wanted.headers = vec![header("a", "b\n")], "by a: its value cannot be");
        check(|wanted| wanted.headers = vec![header("a", &"b".repeat(1024))], "1024 bytes");
        check(|wanted| wanted.headers = vec![header("a", "b"); 17], "more than 16 headers");
        check(|wanted| wanted.route = Some("a b".into()), "\"a b\" as a route's name");
        check(|wanted| wanted.sessions = Some("moon".into()), "expected cookie:NAME, header:NAME");
        check(|wanted| wanted.sessions = Some("cookie:a b".into()), "tells sessions apart");
        let long = format!("cookie:{}", "a".repeat(65));
        check(|wanted| wanted.sessions = Some(long), "up to 64 bytes");
        check(|wanted| wanted.secret = Some("s".into()), "nothing is said that tells them apart");
        let hashed = |secret: &str| {
            let secret = Some(secret.to_owned());
            move |wanted: &mut StartMirror| {
                (wanted.sessions, wanted.secret) = (Some("address".into()), secret);
            }
        };
        check(hashed(""), "1 to 1024 bytes");
        check(hashed(&"s".repeat(1025)), "1 to 1024 bytes");
    }
}
