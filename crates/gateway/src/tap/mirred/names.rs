//! Names of capture interfaces: each is held as long as its tap lives, which tells what a killed
//! one left from what is in use.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use super::MirredError;
use super::rules::{Rules, rules_of};
use crate::tap::tools::{ToolError, ask, run, words};

/// What the names of capture interfaces begin with.
pub const PREFIX: &str = "umbra-tap-";

/// Names that are tried.
const NAMES: u32 = 1000;

/// A capture interface that nobody owns any more.
#[derive(Debug)]
pub(super) struct Remains {
    device: String,
    rules: Option<Rules>,
    _held: UnixListener,
}

pub(super) fn remains() -> Result<Vec<Remains>, ToolError> {
    let links = ask("ip", "link show")?;
    let left = links.iter().filter_map(|link| {
        let device = link["ifname"].as_str().filter(|name| name.starts_with(PREFIX))?;
        // Whoever made it has the name as long as it lives.
        let held = hold(device)?;
        Some(Remains { device: device.to_owned(), rules: rules_of(link), _held: held })
    });
    Ok(left.collect())
}

/// What cannot be removed is said, and tried again next time.
pub(super) fn remove_remains(left: &Remains) {
    let rules = left.rules.as_ref().map_or(Ok(()), Rules::remove);
    let gone = || run("ip", &words(&format!("link del dev {}", left.device)));
    let gone = rules.and_then(|()| Ok(gone()?));
    match gone {
        Ok(_) => tracing::info!(device = left.device, "removed what a killed tap left"),
        Err(error) => {
            tracing::warn!(device = left.device, %error, "could not remove what a tap left");
        }
    }
}

/// Takes a name for a capture interface in this network namespace, if nobody has it.
fn hold(device: &str) -> Option<UnixListener> {
    let address = SocketAddr::from_abstract_name(device).ok()?;
    UnixListener::bind_addr(&address).ok()
}

/// A name that is free, or the one that was asked for.
pub(super) fn name(wanted: Option<&str>) -> Result<(String, UnixListener), MirredError> {
    let taken = ask("ip", "link show")?;
    let take = |name: String| {
        let free = !taken.iter().any(|link| link["ifname"] == name.as_str());
        let held = if free { hold(&name) } else { None };
        held.map(|held| (name, held))
    };
    let refused = |device: String| MirredError::Device { device };
    if let Some(device) = wanted {
        let fits = device.starts_with(PREFIX) && is_name(device);
        let held = if fits { take(device.to_owned()) } else { None };
        return held.ok_or_else(|| refused(device.to_owned()));
    }
    let found = (0..NAMES).map(|number| format!("{PREFIX}{number}")).find_map(take);
    found.ok_or_else(|| refused(format!("{PREFIX}{NAMES}")))
}

/// A name that is one word for `ip` and `tc`, and no option of theirs.
pub(super) fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
    (1..=15).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with(['-', '.'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_word() {
        for good in ["lo", "eth0.7", "br-1_a"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "-x", "a b", "a/b", "a\n", "..", "0123456789abcdef", "é"] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
