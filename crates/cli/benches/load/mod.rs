//! An open loop of load: requests are due by a schedule, whatever became of those before, and
//! what they take is counted from when they were due. Someone who only asks again once they have
//! been answered does not see the time in which nobody was.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Whoever is not answered by then never is.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// An answer is no longer.
const BODY_BYTES_MAX: usize = 1 << 20;

/// What is asked, and how often.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    /// Whom.
    pub(crate) at: SocketAddr,
    /// Requests a second.
    pub(crate) rate: u32,
    /// Connections that take turns. Each is kept, and made anew only when it breaks.
    pub(crate) connections: u32,
}

/// One request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// When it was to be sent.
    pub(crate) due: Instant,
    /// From then to the last byte of its answer.
    pub(crate) took: Duration,
    /// Whether an answer came and was the one to this request.
    pub(crate) good: bool,
}

/// Load that goes on until it is told to end.
pub(crate) struct Load {
    /// Nothing is due from then on.
    stop: Arc<OnceLock<Instant>>,
    connections: Vec<JoinHandle<Vec<Sample>>>,
}

impl Load {
    /// Begins now. Each request asks for a path of its own, which its answer must contain.
    pub(crate) fn begin(schedule: Schedule) -> Self {
        let (stop, start) = (Arc::new(OnceLock::new()), Instant::now());
        let connections = (0..schedule.connections).map(|connection| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || ask_on(schedule, connection, start, &stop))
        });
        let connections = connections.collect();
        Self { stop, connections }
    }

    /// Ends it; what was due is asked first, for as long as an answer may take. All requests by
    /// when they were due.
    pub(crate) fn end(mut self) -> Vec<Sample> {
        self.stop.get_or_init(Instant::now);
        let connections = std::mem::take(&mut self.connections).into_iter();
        let mut samples: Vec<Sample> =
            connections.flat_map(|connection| connection.join().unwrap_or_default()).collect();
        samples.sort_by_key(|sample| sample.due);
        samples
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.get_or_init(Instant::now);
    }
}

/// A part of the samples, from the fastest to the slowest: `percent` 50 is the middle.
pub(crate) fn percentile(samples: &[Sample], percent: usize) -> Duration {
    let mut took: Vec<Duration> = samples.iter().map(|sample| sample.took).collect();
    took.sort_unstable();
    let at = (took.len() * percent / 100).min(took.len().saturating_sub(1));
    took.get(at).copied().unwrap_or_default()
}

fn ask_on(
    schedule: Schedule,
    connection: u32,
    start: Instant,
    stop: &OnceLock<Instant>,
) -> Vec<Sample> {
    let mut samples = Vec::new();
    let mut open = None;
    let mut number = connection;
    loop {
        let due = start + Duration::from_secs(1) * number / schedule.rate;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let stop = stop.get();
        if stop.is_some_and(|stop| due >= *stop) {
            return samples;
        }
        let asked = match stop.is_some_and(|stop| stop.elapsed() > ANSWER_TIME) {
            true => Err(io::ErrorKind::TimedOut.into()),
            false => ask(&mut open, schedule.at, number),
        };
        if asked.is_err() {
            open = None;
        }
        samples.push(Sample { due, took: due.elapsed(), good: asked.unwrap_or(false) });
        number += schedule.connections;
    }
}

/// Asks for a path that nobody else asks for, and says whether that is what was answered.
fn ask(open: &mut Option<BufReader<TcpStream>>, at: SocketAddr, number: u32) -> io::Result<bool> {
    let stream = match open {
        Some(stream) => stream,
        None => {
            let stream = TcpStream::connect_timeout(&at, ANSWER_TIME)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(ANSWER_TIME))?;
            open.insert(BufReader::new(stream))
        }
    };
    let path = format!("/ask/{number}/");
    let request = format!("GET {path} HTTP/1.1\r\nHost: production\r\n\r\n");
    stream.get_mut().write_all(request.as_bytes())?;
    let (status, text) = answer(stream)?;
    Ok(status < 400 && text.contains(&path))
}

/// The status of an answer, and all of it as text.
fn answer(stream: &mut BufReader<TcpStream>) -> io::Result<(u16, String)> {
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut text = String::new();
    let mut length = 0;
    loop {
        let began = text.len();
        if stream.read_line(&mut text)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = text[began..].trim_end().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(|_| bad("no length"))?;
        }
        if line.is_empty() {
            break;
        }
    }
    if length > BODY_BYTES_MAX {
        return Err(bad("a long body"));
    }
    let status = text.split(' ').nth(1).and_then(|word| word.parse().ok());
    let status = status.ok_or_else(|| bad("no status"))?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    text.push_str(&String::from_utf8_lossy(&body));
    Ok((status, text))
}
