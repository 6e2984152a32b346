//! Whether addresses accept connections: services need a moment to start, so for a while a
//! refusal is no answer.

use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// Patience for one connection.
const ATTEMPT: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(100);

/// Connects to `tcp://HOST:PORT`, `{host}` standing for `host`, until it works.
///
/// # Errors
/// Why not, as a sentence after "because".
pub(super) fn probe(address: &str, host: &str, timeout: Duration) -> Result<(), String> {
    let place = address.strip_prefix("tcp://").unwrap_or(address).replace("{host}", host);
    let deadline = Instant::now() + timeout;
    loop {
        let why = match connect(&place) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if Instant::now() + PAUSE >= deadline {
            return Err(format!("{place} does not accept connections: {why}"));
        }
        std::thread::sleep(PAUSE);
    }
}

fn connect(place: &str) -> std::io::Result<()> {
    let mut last = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
    for address in place.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, ATTEMPT) {
            Ok(_) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_listens_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        let port = listener.local_addr().expect("address").port();
        let address = format!("tcp://{{host}}:{port}");
        probe(&address, "127.0.0.1", Duration::from_secs(5)).expect("accepted");
        drop(listener);
        let why = probe(&address, "127.0.0.1", Duration::ZERO).expect_err("refused");
        assert!(why.contains("does not accept connections"), "{why}");
    }
}
