//! Doors to parsers that are no part of this crate's interface, for the fuzz targets.

use crate::check::goss;
use crate::check::http::url::Url;

/// Reads an address and goes where `location` leads from it. Panics where an address that was
/// read is not read the same when it was written, or has no path. False for no address.
pub fn url(address: &str, location: &str) -> bool {
    let Ok(url) = Url::parse(address) else { return false };
    check_url(&url);
    if let Ok(next) = url.join(location) {
        check_url(&next);
    }
    true
}

fn check_url(url: &Url) {
    assert!(url.path.starts_with('/'), "{url:?} has no path");
    assert_eq!(Url::parse(&url.to_string()).as_ref(), Ok(url), "{url}");
}

/// How many users and groups a file has, read as `etc/passwd` and as `etc/group`.
pub fn accounts(bytes: &[u8]) -> (usize, usize) {
    (goss::parse_passwd(bytes).len(), goss::parse_group(bytes).len())
}

/// How many listeners there are in what the kernel lists.
pub fn sockets(bytes: &[u8]) -> usize {
    goss::parse_sockets(bytes).len()
}

/// How many packages are installed, by dpkg's status file.
pub fn packages(bytes: &[u8]) -> usize {
    goss::count_packages(bytes)
}
