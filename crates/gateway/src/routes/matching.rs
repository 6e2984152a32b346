//! Which requests a route is for.

use hyper::header::{HOST, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method};

use super::setup::RouteSetup;

/// What a request's head must be like.
#[derive(Debug)]
pub(super) struct Match {
    hosts: Vec<HostMatch>,
    path: Option<String>,
    methods: Vec<Method>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

#[derive(Debug)]
enum HostMatch {
    Is(String),
    /// Every name that ends so, the dot included.
    Below(String),
}

impl Match {
    /// As a checked setup says.
    pub(super) fn new(setup: &RouteSetup) -> Self {
        let header = |(name, value): &(String, String)| {
            Some((name.parse().ok()?, HeaderValue::from_str(value).ok()?))
        };
        Self {
            hosts: setup.hosts.iter().map(|host| HostMatch::new(host)).collect(),
            path: setup.path.clone().filter(|path| path != "/"),
            methods: setup.methods.iter().filter_map(|method| method.parse().ok()).collect(),
            headers: setup.headers.iter().filter_map(header).collect(),
        }
    }

    /// Whether it is for a request with this head.
    pub(super) fn is_for(&self, head: &Parts) -> bool {
        (self.hosts.is_empty() || self.has_host(head))
            && self.path.as_ref().is_none_or(|path| is_below(head.uri.path(), path))
            && (self.methods.is_empty() || self.methods.contains(&head.method))
            && has_all(&head.headers, &self.headers)
    }

    fn has_host(&self, head: &Parts) -> bool {
        let host = head.headers.get(HOST).and_then(|host| host.to_str().ok());
        let Some(host) = host else { return false };
        let name = without_port(host).trim_end_matches('.');
        self.hosts.iter().any(|one| one.is(name))
    }
}

impl HostMatch {
    fn new(host: &str) -> Self {
        let host = host.to_ascii_lowercase();
        match host.strip_prefix('*') {
            Some(below) => Self::Below(below.to_owned()),
            None => Self::Is(host),
        }
    }

    fn is(&self, name: &str) -> bool {
        match self {
            Self::Is(host) => name.eq_ignore_ascii_case(host),
            Self::Below(end) => {
                let start = name.len().checked_sub(end.len()).filter(|start| *start > 0);
                start
                    .and_then(|start| name.as_bytes().get(start..))
                    .is_some_and(|rest| rest.eq_ignore_ascii_case(end.as_bytes()))
            }
        }
    }
}

/// Whether all of these are there, each with that value among its own.
pub(crate) fn has_all(headers: &HeaderMap, all: &[(HeaderName, HeaderValue)]) -> bool {
    all.iter().all(|(name, value)| headers.get_all(name).iter().any(|one| one == value))
}

/// The path itself, or one below it: `/api` is not `/apiary`.
fn is_below(path: &str, above: &str) -> bool {
    let rest = path.strip_prefix(above);
    rest.is_some_and(|rest| rest.is_empty() || above.ends_with('/') || rest.starts_with('/'))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        // An IPv6 address ends with its bracket.
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;
    use crate::routes::setup::RoutesSetup;

    fn setup() -> RouteSetup {
        let target = "127.0.0.1:1".parse().expect("a target");
        RoutesSetup::all_to(&target).routes.remove(0)
    }

    #[track_caller]
    fn check(setup: RouteSetup, request: hyper::http::request::Builder, is_for: bool) {
        setup_is_valid(&setup);
        let head = request.body(()).expect("a request").into_parts().0;
        assert_eq!(Match::new(&setup).is_for(&head), is_for, "{setup:?} {head:?}");
    }

    #[track_caller]
    fn setup_is_valid(setup: &RouteSetup) {
        RoutesSetup { routes: vec![setup.clone()], secret: None }.check().expect("valid");
    }

    #[test]
    fn hosts_are_names_and_what_is_below_names() {
        let of = |host: &str| RouteSetup { hosts: vec![host.to_owned()], ..setup() };
        let asks = |host: &str| Request::builder().uri("/").header(HOST, host);
        for (host, asked, is_for) in [
            ("shop.example", "Shop.Example:8080", true),
            ("shop.example", "shop.example.", true),
            ("shop.example", "xshop.example", false),
            ("*.example", "a.b.example", true),
            ("*.example", "example", false),
            ("*.example", ".example", false),
            ("[::1]", "[::1]:80", true),
            ("[::1]", "[::1]", true),
        ] {
            check(of(host), asks(asked), is_for);
        }
        check(of("a"), Request::builder().uri("/"), false);
    }

    #[test]
    fn a_path_is_for_what_is_below_it() {
        let of = |path: &str| RouteSetup { path: Some(path.to_owned()), ..setup() };
        for (path, asked, is_for) in [
            ("/", "/x", true),
            ("/api", "/api", true),
            ("/api", "/api/x?y", true),
            ("/api", "/apiary", false),
            ("/api/", "/api/x", true),
            ("/api/", "/api", false),
            ("/api", "/API", false),
        ] {
            check(of(path), Request::builder().uri(asked), is_for);
        }
    }

    #[test]
    fn methods_and_headers_are_exact() {
        let methods = RouteSetup { methods: vec!["GET".to_owned()], ..setup() };
        check(methods.clone(), Request::builder().method("GET"), true);
        check(methods, Request::builder().method("POST"), false);
        let headers = vec![("X-Beta".to_owned(), "1".to_owned())];
        let headers = RouteSetup { headers, ..setup() };
        let beta = |value| Request::builder().header("x-beta", value);
        check(headers.clone(), beta("0").header("x-beta", "1"), true);
        check(headers.clone(), beta("10"), false);
        check(headers, Request::builder(), false);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        #[track_caller]
        fn check(change: impl FnOnce(&mut RouteSetup), refused: &str) {
            let mut one = setup();
            change(&mut one);
            let error =
                RoutesSetup { routes: vec![one], secret: None }.check().expect_err("refused");
            assert!(error.to_string().starts_with(refused), "{error}");
        }
        check(|one| one.name = "a b".to_owned(), "name a route");
        check(|one| one.targets[0].weight = 0.0, "give route");
        check(|one| one.targets[0].weight = f64::NAN, "weigh a target");
        check(|one| one.targets[0].to = "x".to_owned(), "read \"x\" as a target");
        check(|one| one.hosts = vec!["a/b".to_owned()], "read a host");
        check(|one| one.path = Some("api".to_owned()), "read a path");
        check(|one| one.methods = vec!["G T".to_owned()], "read a method");
        check(|one| one.headers = vec![("a".to_owned(), "\n".to_owned())], "read a header's value");
        let twice = RoutesSetup { routes: vec![setup(), setup()], secret: None };
        assert!(matches!(twice.check(), Err(super::super::SetupError::Name(_))));
    }
}
