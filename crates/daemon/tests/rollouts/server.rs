//! Servers on loopback, a keeper of such servers, and requests for them.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use umbra_api::error::{ErrorCode, WireError};
use umbra_daemon::instances::{Instance, InstancePhase, InstanceSpec};
use umbra_state::StateId;

use crate::roles::Ask;

/// How an image's instances answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Always well.
    Good,
    /// Every so many requests with an error, checks of health well.
    FailsEvery(u64),
    /// Nothing well, not even checks of health.
    Ill,
}

/// What is never answered.
const HELD: &str = "/held";

/// A server; it ends when dropped, with every connection.
pub(crate) struct Server {
    pub(crate) at: SocketAddr,
    pub(crate) asked: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
    connections: Arc<Mutex<Vec<TcpStream>>>,
    accepts: Option<JoinHandle<()>>,
}

impl Server {
    /// One that answers with `word`.
    pub(crate) fn start(word: &str, manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("an address");
        let (asked, ended) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let connections = Arc::<Mutex<Vec<TcpStream>>>::default();
        let (counter, over) = (Arc::clone(&asked), Arc::clone(&ended));
        let (word, all) = (word.to_owned(), Arc::clone(&connections));
        let accepts = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                all.lock().expect("connections").push(stream.try_clone().expect("cloned"));
                let (word, counter) = (word.clone(), Arc::clone(&counter));
                // It ends with its connection.
                std::thread::spawn(move || drop(serve(&stream, &word, manner, &counter)));
            }
        });
        Self { at, asked, ended, connections, accepts: Some(accepts) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes who accepts.
        drop(TcpStream::connect(self.at));
        if let Some(accepts) = self.accepts.take() {
            accepts.join().expect("a server");
        }
        for stream in self.connections.lock().expect("connections").drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

fn serve(stream: &TcpStream, word: &str, manner: Manner, asked: &AtomicU64) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    loop {
        let mut path = None;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line.trim_end().is_empty() {
                break;
            }
            path.get_or_insert_with(|| line.split(' ').nth(1).unwrap_or("/").to_owned());
        }
        if path.as_deref() == Some(HELD) {
            io::copy(&mut reader, &mut io::sink())?;
            return Ok(());
        }
        let is_check = path.as_deref() == Some("/healthz");
        let number = if is_check { 1 } else { asked.fetch_add(1, Ordering::SeqCst) + 1 };
        let is_well = match manner {
            Manner::Good => true,
            Manner::FailsEvery(every) => is_check || !number.is_multiple_of(every),
            Manner::Ill => false,
        };
        let status = if is_well { "200 OK" } else { "500 Internal Server Error" };
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{word}", word.len());
        writer.write_all(head.as_bytes())?;
    }
}

/// Runs instances, as the process does that outlives daemons.
pub(crate) struct Keeper {
    running: Arc<Mutex<BTreeMap<String, (Instance, Server)>>>,
    manners: Arc<Mutex<BTreeMap<StateId, (String, Manner)>>>,
}

impl Keeper {
    /// Listens at `socket` for as long as the test's process lives.
    pub(crate) fn start(socket: &Path) -> Self {
        let keeper = Self { running: Arc::default(), manners: Arc::default() };
        let listener = UnixListener::bind(socket).expect("a socket");
        let (running, manners) = (Arc::clone(&keeper.running), Arc::clone(&keeper.manners));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A daemon that was killed in the middle waits for nothing.
                drop(answer(&stream, &running, &manners));
            }
        });
        keeper
    }

    /// How instances of a state answer.
    pub(crate) fn teach(&self, state: StateId, word: &str, manner: Manner) {
        self.manners.lock().expect("manners").insert(state, (word.to_owned(), manner));
    }

    /// The states of all that run.
    pub(crate) fn states(&self) -> Vec<StateId> {
        self.running.lock().expect("instances").values().map(|(one, _)| one.state).collect()
    }

    /// How many requests the instances of a state were asked that run.
    pub(crate) fn asked(&self, state: StateId) -> u64 {
        let running = self.running.lock().expect("instances");
        let of_state = running.values().filter(|(one, _)| one.state == state);
        of_state.map(|(_, server)| server.asked.load(Ordering::SeqCst)).sum()
    }
}

type Running = Mutex<BTreeMap<String, (Instance, Server)>>;
type Manners = Mutex<BTreeMap<StateId, (String, Manner)>>;

fn answer(stream: &UnixStream, running: &Running, manners: &Manners) -> io::Result<()> {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    let Ok(ask) = serde_json::from_str::<Ask>(&line) else { return Ok(()) };
    let mut running = running.lock().expect("instances");
    let text = match ask {
        Ask::Start(spec) => json(&start(&mut running, manners, &spec)),
        Ask::Stop(name) => {
            running.remove(&name);
            json(&Ok::<(), WireError>(()))
        }
        Ask::List => {
            let all: Vec<Instance> = running.values().map(|(one, _)| one.clone()).collect();
            json(&Ok::<_, WireError>(all))
        }
    };
    let mut writer = stream;
    writer.write_all((text + "\n").as_bytes())
}

fn start(
    running: &mut BTreeMap<String, (Instance, Server)>,
    manners: &Manners,
    spec: &InstanceSpec,
) -> Result<Instance, WireError> {
    if let Some((known, _)) = running.get(&spec.name) {
        return Ok(known.clone());
    }
    let manner = manners.lock().expect("manners").get(&spec.state).cloned();
    let Some((word, manner)) = manner else {
        return Err(WireError::new(ErrorCode::NotFound, "start an instance: nobody knows it"));
    };
    let server = Server::start(&word, manner);
    let instance = Instance {
        name: spec.name.clone(),
        service: spec.service.clone(),
        state: spec.state,
        to: server.at.to_string(),
        phase: InstancePhase::Running,
        restarts: 0,
        why: None,
        started_at_ms: 0,
    };
    running.insert(spec.name.clone(), (instance.clone(), server));
    Ok(instance)
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("JSON")
}

/// What came of requests.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tally {
    /// By status, 0 for none at all, and what was said.
    pub(crate) answers: BTreeMap<(u16, String), u64>,
}

impl Tally {
    /// How many were answered so.
    pub(crate) fn of(&self, word: &str) -> u64 {
        self.answers.iter().filter(|((_, said), _)| said == word).map(|(_, count)| count).sum()
    }

    /// How many were not answered well.
    pub(crate) fn bad(&self) -> u64 {
        self.answers.iter().filter(|((status, _), _)| *status != 200).map(|(_, count)| count).sum()
    }
}

/// Clients who ask without end, each again as soon as it was answered.
pub(crate) struct Load {
    tally: Arc<Mutex<Tally>>,
    ended: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// So many clients of the gateway at `at`, for `path`, each waiting `pause` between requests.
    pub(crate) fn start(at: SocketAddr, path: &str, clients: usize, pause: Duration) -> Self {
        let (tally, ended) = (Arc::<Mutex<Tally>>::default(), Arc::<AtomicBool>::default());
        let clients = (0..clients).map(|_| {
            let (tally, ended) = (Arc::clone(&tally), Arc::clone(&ended));
            let path = path.to_owned();
            std::thread::spawn(move || {
                let mut connection = None;
                while !ended.load(Ordering::SeqCst) {
                    let answer = ask(&mut connection, at, &path);
                    let key = answer.unwrap_or((0, String::new()));
                    *tally.lock().expect("a tally").answers.entry(key).or_default() += 1;
                    std::thread::sleep(pause);
                }
            })
        });
        let clients = clients.collect();
        Self { tally, ended, clients }
    }

    /// As it is now.
    pub(crate) fn so_far(&self) -> Tally {
        self.tally.lock().expect("a tally").clone()
    }

    /// Ends it.
    pub(crate) fn stop(mut self) -> Tally {
        self.end();
        self.so_far()
    }

    fn end(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        for client in self.clients.drain(..) {
            client.join().expect("a client");
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}

/// A request that is under way for as long as this lives.
pub(crate) fn held(at: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(at).expect("a gateway");
    stream.write_all(format!("GET {HELD} HTTP/1.1\r\nHost: web\r\n\r\n").as_bytes()).expect("sent");
    stream
}

/// One request, on the connection there is.
pub(crate) fn ask(
    connection: &mut Option<BufReader<TcpStream>>,
    at: SocketAddr,
    path: &str,
) -> io::Result<(u16, String)> {
    if connection.is_none() {
        let stream = TcpStream::connect_timeout(&at, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.set_nodelay(true)?;
        *connection = Some(BufReader::new(stream));
    }
    let answered = connection.as_mut().map_or_else(
        || Err(io::Error::other("none")),
        |reader| {
            let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n");
            reader.get_mut().write_all(request.as_bytes())?;
            read(reader)
        },
    );
    if answered.is_err() {
        *connection = None;
    }
    answered
}

fn read(reader: &mut BufReader<TcpStream>) -> io::Result<(u16, String)> {
    let broken = || io::Error::other("no answer");
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let status =
        first.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(broken)?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(broken());
        }
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(|_| broken())?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}
