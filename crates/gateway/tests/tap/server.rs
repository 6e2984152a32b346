//! A server of many forms of answers, which counts what it is asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What it was asked.
pub(crate) type Asked = Arc<AtomicU64>;

/// Serves at this address, from threads of this one's network, until the process ends.
pub(crate) fn serve(at: &str) -> Asked {
    let listener = TcpListener::bind(at).expect(at);
    let asked = Asked::default();
    let counted = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, asked) = (stream.expect("a client"), Arc::clone(&asked));
            // A client that has what it wants may leave.
            std::thread::spawn(move || while answer(&stream, &asked).is_some() {});
        }
    });
    counted
}

/// A body of this size, every byte of which tells its place.
pub(crate) fn body(length: usize) -> String {
    (0..length).map(|at| char::from(b'a' + (at % 23) as u8)).collect()
}

fn answer(stream: &TcpStream, asked: &Asked) -> Option<()> {
    // Nobody here sends the next request before the answer, so nothing is lost with the buffer.
    let mut from = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    from.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    loop {
        line.clear();
        from.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let lower = line.to_ascii_lowercase();
        if let Some(number) = lower.strip_prefix("content-length:") {
            length = number.trim().parse().ok()?;
        }
        if lower.starts_with("expect:") {
            let mut to = stream;
            to.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut sent = vec![0; length];
    from.read_exact(&mut sent).ok()?;
    asked.fetch_add(1, Ordering::Relaxed);
    let (text, close) = message(&words[0], &words[1], &String::from_utf8(sent).ok()?);
    let mut to = stream;
    to.write_all(text.as_bytes()).ok()?;
    (!close).then_some(())
}

/// An answer, and whether the connection ends behind it.
fn message(method: &str, target: &str, sent: &str) -> (String, bool) {
    let plain = |body: &str| {
        let sent = if method == "HEAD" { "" } else { body };
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{sent}", body.len())
    };
    match target {
        "/none" => ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), false),
        "/end" => (format!("HTTP/1.1 200 OK\r\n\r\n{}", body(3000)), true),
        "/missing" => ("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno".to_owned(), false),
        "/echo" => (plain(sent), false),
        "/chunked" => {
            let chunk = format!("3e8\r\n{}\r\n", body(1000));
            let all = chunk.repeat(3) + "0\r\n\r\n";
            (format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{all}"), false)
        }
        other => (plain(&body(other[1..].parse().unwrap_or(0))), false),
    }
}
