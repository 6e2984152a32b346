//! The few URLs that tests need: http and https, with a host, a port and a path.

use std::fmt;
use std::net::IpAddr;

use hyper::Uri;

use super::Scheme;

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) scheme: Scheme,
    /// A name or an address, IPv6 in brackets; a given port is not part of it.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) path: String,
}

impl Url {
    /// Reads an absolute URL.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.split('#').next().unwrap_or_default();
        let uri: Uri = text.parse().map_err(|_| "no URL")?;
        let scheme = match uri.scheme_str() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            _ => return Err("neither http nor https"),
        };
        let host = uri.host().filter(|host| is_host(host)).ok_or("without a host")?.to_owned();
        let port = uri.port_u16().unwrap_or(scheme.port_default());
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { scheme, host, port, path })
    }

    /// Where a `Location` header leads from here.
    pub(crate) fn join(&self, location: &str) -> Result<Self, &'static str> {
        let location = location.split('#').next().unwrap_or_default();
        if has_scheme(location) {
            return Self::parse(location);
        }
        let (scheme, authority) = (self.scheme, self.authority());
        Self::parse(&if location.starts_with("//") {
            format!("{scheme}:{location}")
        } else if location.starts_with('/') {
            format!("{scheme}://{authority}{location}")
        } else {
            let base = self.path.split('?').next().unwrap_or("/");
            let directory = base.rfind('/').map_or("/", |slash| &base[..=slash]);
            format!("{scheme}://{authority}{directory}{location}")
        })
    }

    /// The value of the `Host` header.
    pub(crate) fn authority(&self) -> String {
        if self.port == self.scheme.port_default() || self.host_has_port() {
            return self.host.clone();
        }
        format!("{}:{}", self.host, self.port)
    }

    /// The host without brackets or a port, as TLS wants it.
    pub(crate) fn server_name(&self) -> &str {
        if let Some(inner) = self.host.strip_prefix('[') {
            return inner.split(']').next().unwrap_or(inner);
        }
        self.host.split(':').next().unwrap_or(&self.host)
    }

    fn host_has_port(&self) -> bool {
        let after_bracket = self.host.rsplit(']').next().unwrap_or(&self.host);
        after_bracket.contains(':')
    }
}

/// A name, or an IPv6 address in brackets: brackets mean nothing anywhere else.
fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && !host.contains(['[', ']']),
    }
}

/// Whether a reference names its scheme: what stands before `://` is one only if it could be. A
/// path may have an address in its query.
fn has_scheme(reference: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    reference.split_once("://").is_some_and(|(scheme, _)| scheme.chars().all(fits))
}

/// An address as it stands in a URL.
pub(crate) fn host_of(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(base: &str, location: &str, expected: &str) {
        let base = Url::parse(base).expect(base);
        assert_eq!(base.join(location).expect(location).to_string(), expected);
    }

    #[test]
    fn locations_lead_from_here() {
        check("http://a/x/y?q", "z", "http://a/x/z");
        check("http://a:8080/x", "/z?p", "http://a:8080/z?p");
        check("http://a/x", "https://b/#top", "https://b/");
        check("https://a/x", "//b/c", "https://b/c");
        check("http://a", "", "http://a/");
        check("http://a/x", "/login?next=http://b/", "http://a/login?next=http://b/");
        check("http://a/x", "login?next=http://b/", "http://a/login?next=http://b/");
    }

    #[test]
    fn a_location_that_is_none_leads_nowhere() {
        let base = Url::parse("http://a/").expect("base");
        for location in ["/with a space", "/bell\u{7}", "ftp://a/", "://a", "http://"] {
            assert!(base.join(location).is_err(), "{location:?}");
        }
    }

    #[test]
    fn names_for_tls() {
        for (url, name) in [
            ("https://[::1]:8443/", "::1"),
            ("https://host:1/", "host"),
            ("https://10.0.0.1/", "10.0.0.1"),
        ] {
            assert_eq!(Url::parse(url).expect(url).server_name(), name);
        }
        for wrong in ["ftp://a/", "http://a[::1]b:1/", "http://[a]/", "http:///x"] {
            assert!(Url::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Url::parse("/only/a/path").is_err());
    }
}
