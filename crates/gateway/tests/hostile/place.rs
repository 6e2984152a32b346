//! A gateway in front of a server that writes down what it gets.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use umbra_gateway::gateway::Limits;
use umbra_gateway::listen::front::Front;
use umbra_gateway::upstream::Trust;

use crate::message::{self, Message};
pub(crate) use crate::support::listen;
use crate::support::{all_to, gateway, gateway_with};

/// Time for a gateway that is busy with others; a client that is never closed takes all of it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What the primary got, request by request; or why it was none.
pub(crate) type Got = Result<Message, String>;

pub(crate) struct Place {
    pub(crate) at: SocketAddr,
    pub(crate) front: Arc<Front>,
    got: Arc<Mutex<Vec<Got>>>,
}

impl Place {
    /// Its primary answers each request with what `answer` makes of it, and closes the connection
    /// behind an answer that says so.
    pub(crate) async fn new(limits: Limits, answer: fn(&Message) -> Vec<u8>) -> Self {
        Self::with(limits, answer, |front| front).await
    }

    /// The same, of which clients see more than the usual.
    pub(crate) async fn with(
        limits: Limits,
        answer: fn(&Message) -> Vec<u8>,
        more: impl FnOnce(Front) -> Front,
    ) -> Self {
        let (primary, got) = recorder(answer).await;
        let (at, front) = gateway_with(all_to(primary), &Trust::default(), limits, more).await;
        Self { at, front, got }
    }

    /// How often the gateway closed a connection, or broke a body off, for this.
    pub(crate) fn closed(&self, cause: &str) -> u64 {
        let all = self.front.closed_status();
        all.iter().find(|one| one.cause == cause).map_or(0, |one| one.count)
    }

    /// What came since this was asked last.
    pub(crate) fn got(&self) -> Vec<Got> {
        std::mem::take(&mut *self.got.lock().expect("nobody panicked"))
    }

    /// A client that sends nothing odd is answered.
    pub(crate) async fn still_serves(&self) {
        let sent = b"GET /still HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let answers = ask(self.at, sent).await;
        assert_eq!(answers.iter().map(Message::status).collect::<Vec<_>>(), [200]);
    }
}

/// A gateway in front of a server of the test's own.
pub(crate) async fn in_front(primary: SocketAddr) -> SocketAddr {
    gateway(all_to(primary)).await.0
}

/// A server that writes down what it gets.
pub(crate) async fn recorder(
    answer: fn(&Message) -> Vec<u8>,
) -> (SocketAddr, Arc<Mutex<Vec<Got>>>) {
    let got: Arc<Mutex<Vec<Got>>> = Arc::default();
    let (at, listener) = listen().await;
    let writes = Arc::clone(&got);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(record(stream, Arc::clone(&writes), answer));
        }
    });
    (at, got)
}

pub(crate) fn ok(_: &Message) -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()
}

/// Sends bytes and reads answers until the gateway closes.
pub(crate) async fn ask(at: SocketAddr, sent: &[u8]) -> Vec<Message> {
    let mut stream = TcpStream::connect(at).await.expect("a connection");
    // It may close before everything is sent.
    let _ = stream.write_all(sent).await;
    answers(&mut BufReader::new(stream)).await
}

pub(crate) async fn answers(from: &mut (impl AsyncBufRead + Unpin)) -> Vec<Message> {
    let mut answers = Vec::new();
    // A connection that is reset is closed, too.
    while let Ok(Some(answer)) = message::answer(from, false).await {
        answers.push(answer);
    }
    answers
}

/// Sends this and nothing more; what comes until the gateway closes.
pub(crate) async fn closed_after(at: SocketAddr, sent: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(at).await.expect("a connection");
    stream.write_all(sent).await.expect("sent");
    let mut came = Vec::new();
    // It may be reset behind its answer.
    let closed = timeout(PATIENCE, stream.read_to_end(&mut came)).await;
    assert!(closed.is_ok(), "\"{}\" is waited for", sent.escape_ascii());
    came
}

async fn record(stream: TcpStream, got: Arc<Mutex<Vec<Got>>>, answer: fn(&Message) -> Vec<u8>) {
    let mut stream = BufReader::new(stream);
    loop {
        let request = match message::request(&mut stream).await {
            Ok(None) => return,
            Ok(Some(request)) => Ok(request),
            Err(why) => Err(why),
        };
        got.lock().expect("nobody panicked").push(request.clone());
        let Ok(request) = request else { return };
        let bytes = answer(&request);
        // The gateway may be gone.
        let _ = stream.write_all(&bytes).await;
        if bytes[..bytes.len().min(500)]
            .windows(17)
            .any(|part| part.eq_ignore_ascii_case(b"connection: close"))
        {
            return;
        }
    }
}
