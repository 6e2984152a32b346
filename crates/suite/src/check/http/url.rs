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
        let host = uri.host().filter(|host| !host.is_empty()).ok_or("without a host")?.to_owned();
        let port = uri.port_u16().unwrap_or(scheme.port_default());
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { scheme, host, port, path })
    }

    /// Where a `Location` header leads from here.
    pub(crate) fn join(&self, location: &str) -> Result<Self, &'static str> {
        if location.contains("://") {
            return Self::parse(location);
        }
        let location = location.split('#').next().unwrap_or_default();
        let path = match (location.strip_prefix("//"), location.starts_with('/')) {
            (Some(_), _) => return Self::parse(&format!("{}:{location}", self.scheme)),
            (None, true) => location.to_owned(),
            (None, false) => {
                let base = self.path.split('?').next().unwrap_or("/");
                let directory = base.rfind('/').map_or("/", |slash| &base[..=slash]);
                format!("{directory}{location}")
            }
        };
        Ok(Self { path, ..self.clone() })
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
        assert!(Url::parse("ftp://a/").is_err());
        assert!(Url::parse("/only/a/path").is_err());
    }
}
