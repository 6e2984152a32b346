//! The parts of an address of a server in a shadow.

/// An `http` or `https` address, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) tls: bool,
    /// A name or an address, IPv6 in brackets.
    pub(crate) host: String,
    /// The port, given or the scheme's own.
    pub(crate) port: u16,
    /// Path and query, beginning with a slash.
    pub(crate) path: String,
}

/// Takes an address apart; the error says what is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Url, &'static str> {
    let (tls, rest) = match text.split_once("://") {
        Some(("http", rest)) => (false, rest),
        Some(("https", rest)) => (true, rest),
        _ => return Err("it begins with http:// or https://"),
    };
    let rest = rest.split('#').next().unwrap_or("");
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.contains('@') {
        return Err("a user name in it is not supported; send a header");
    }
    let (host, port) = split_port(authority)?;
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Ok(Url { tls, host: host.to_owned(), port: port.unwrap_or(if tls { 443 } else { 80 }), path })
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), &'static str> {
    let host_end = match authority.find(']') {
        Some(end) if authority.starts_with('[') => end + 1,
        _ => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, rest) = authority.split_at(host_end);
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
    if host.is_empty() || !host.chars().all(allowed) {
        return Err("the host is a name or an address");
    }
    if rest.is_empty() {
        return Ok((host, None));
    }
    match rest.strip_prefix(':').and_then(|port| port.parse().ok()) {
        Some(port) if port > 0 => Ok((host, Some(port))),
        _ => Err("the port is a number from 1 to 65535"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<(bool, &str, u16, &str)>) {
        let parsed = parse(text).ok();
        let parts = parsed.as_ref().map(|url| (url.tls, &*url.host, url.port, &*url.path));
        assert_eq!(parts, expected, "{text}");
    }

    #[test]
    fn addresses_come_apart() {
        check("http://localhost", Some((false, "localhost", 80, "/")));
        check("https://localhost/api?x=1#top", Some((true, "localhost", 443, "/api?x=1")));
        check("http://127.0.0.1:8080/", Some((false, "127.0.0.1", 8080, "/")));
        check("http://[::1]:81/x", Some((false, "[::1]", 81, "/x")));
        check("http://h?q", Some((false, "h", 80, "/?q")));
        for wrong in
            ["ftp://a/", "http:///x", "http://a:0/", "http://a:x/", "http://u@a/", "http://a b/"]
        {
            check(wrong, None);
        }
    }
}
