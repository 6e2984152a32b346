//! The program: a gateway with its socket, until it is told to end.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, oneshot};
use umbra_api::socket::{BindError, Socket};

use crate::control::{self, Control};
use crate::gateway::{self, Limits};
use crate::listen::access_log::{AccessLog, OpenError, Wanted};
use crate::listen::front::Front;
use crate::listen::hand_over::{Claim, ClaimError, Estate};
use crate::listen::tls::{Sources, Tls, TlsError, keep_looking};
use crate::proxy::{Proxy, Rules};
use crate::routes::{Inherited, Routes, RoutesError, RoutesSetup};
use crate::upstream::Trust;

/// Clients that wait to be accepted; the kernel may hold fewer.
const BACKLOG: u32 = 4096;

/// What a gateway is to be.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where clients come to: `ADDRESS:PORT`, or `:PORT` for all addresses.
    pub listen: String,
    /// Where requests go; where those of the gateway that is replaced do, if this is not said.
    pub routes: Option<RoutesSetup>,
    /// The file that is read again on SIGHUP.
    pub routes_file: Option<PathBuf>,
    /// Whom targets that speak TLS have to be.
    pub trust: Trust,
    /// The socket that is asked and told.
    pub control: PathBuf,
    /// Threads that serve.
    pub threads: usize,
    /// Memory for copies of requests, in bytes.
    pub mirror_bytes_max: usize,
    /// What holds for requests.
    pub rules: Rules,
    /// What clients may do.
    pub limits: Limits,
    /// Certificates; without any there is no TLS.
    pub certificates: Sources,
    /// Whether each connection begins with a PROXY header.
    pub proxy_protocol: bool,
    /// A line for each request, if it is wanted.
    pub access_log: Option<Wanted>,
    /// Whether to take over from the gateway at the control socket, if there is one.
    pub replace: bool,
}

/// Why there is no gateway.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It is no address.
    #[error("listen at {listen:?}: expected ADDRESS:PORT or :PORT")]
    Address {
        /// What was asked for.
        listen: String,
    },
    /// The kernel refuses.
    #[error("listen at {at}")]
    Listen {
        /// Where.
        at: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// Nobody can ask it or tell it anything.
    #[error("listen at {at}")]
    Control {
        /// Where.
        at: String,
        /// Why.
        #[source]
        source: BindError,
    },
    /// The kernel refuses something else.
    #[error("{doing}")]
    System {
        /// What was to be done.
        doing: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// There can be no such routes.
    #[error(transparent)]
    Routes(#[from] RoutesError),
    /// Nobody is replaced whose routes could be taken over.
    #[error("find the gateway that is to be replaced: without one, say where requests go")]
    NoRoutes,
    /// Certificates cannot be used.
    #[error("begin to serve TLS")]
    Tls(#[from] TlsError),
    /// A log cannot be written.
    #[error("begin to log")]
    Log(#[from] OpenError),
    /// The gateway that runs does not give its sockets away.
    #[error("take over from the gateway at {at}")]
    Claim {
        /// Its control socket.
        at: String,
        /// Why.
        #[source]
        source: ClaimError,
    },
    /// The gateway that runs listens somewhere else.
    #[error("take over from a gateway that listens at {is}: {asked} was asked for")]
    Elsewhere {
        /// Where it listens.
        is: SocketAddr,
        /// Where it was to be.
        asked: String,
    },
    /// A mirror makes no sense.
    #[error("mirror to {name:?}: {why}")]
    Mirror {
        /// Its name.
        name: String,
        /// What is wrong.
        why: String,
    },
}

/// Runs a gateway until SIGTERM or SIGINT, and tells where it listens once it does.
///
/// # Errors
/// It cannot begin.
pub fn run(options: Options, told: impl FnOnce(SocketAddr)) -> Result<(), RunError> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(options.threads.max(1)).thread_name("umbra-gateway").enable_all();
    open_many();
    let system = |doing| move |source| RunError::System { doing, source };
    let runtime = builder.build().map_err(system("start threads"))?;
    runtime.block_on(serve(options, told))
}

/// As many descriptors as the kernel gives: what most shells give is one for a thousand clients.
fn open_many() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    if let Err(error) = raised {
        tracing::warn!(%error, ?current, "there are no more descriptors");
    }
}

async fn serve(options: Options, told: impl FnOnce(SocketAddr)) -> Result<(), RunError> {
    let system = |doing| move |source| RunError::System { doing, source };
    let mut term = signal(SignalKind::terminate()).map_err(system("wait for SIGTERM"))?;
    let mut int = signal(SignalKind::interrupt()).map_err(system("wait for SIGINT"))?;
    let hang_up = signal(SignalKind::hangup()).map_err(system("wait for SIGHUP"))?;
    let begun = Begun::new(&options)?;
    let inherited = begun.claim.as_ref().map(Claim::will);
    let routes = routes(&options, inherited.and_then(|will| will.routes.as_ref()))?;
    let proxy = Arc::new(Proxy::new(routes, options.rules));
    proxy.splits().keep_beside(&options.control);
    let front = front(&options, Arc::clone(&proxy))?;
    let listener = Arc::new(begun.listener);
    let listens = listener.local_addr().map_err(system("ask where it listens"))?;
    let control = Arc::new(Control {
        proxy: Arc::clone(&proxy),
        trust: options.trust.clone(),
        listen: listens.to_string(),
        memory: Arc::new(Semaphore::new(options.mirror_bytes_max)),
        memory_bytes_max: options.mirror_bytes_max,
        front: Arc::clone(&front),
        routes_file: options.routes_file.clone(),
    });
    control.take_up().await;
    let mirrors = inherited.map(|will| will.mirrors.clone()).unwrap_or_default();
    for (name, mirror) in mirrors {
        let resumed = control.resume(&name, mirror);
        resumed.map_err(|error| RunError::Mirror { name, why: error.message })?;
    }
    // Without a claim nobody is served before there is a control socket.
    let bound = match begun.claim {
        None => Ok(bind(&options.control)?),
        Some(claim) => Err(claim),
    };
    let (end, ended) = oneshot::channel();
    let ending = async {
        // Whoever would say so is gone.
        let _ = ended.await;
    };
    let listening = Arc::downgrade(&listener);
    let serving = tokio::spawn(gateway::serve(listener, Arc::clone(&front), ending));
    let socket = match bound {
        Ok(socket) => socket,
        Err(claim) => claim.serving().map_err(claimed(&options.control))?,
    };
    let estate = Estate::new(listening, socket);
    let controlled = tokio::spawn(control::serve(Arc::clone(&estate), Arc::clone(&control)));
    let reloading = tokio::spawn(keep_reloading(hang_up, Arc::clone(&control)));
    told(listens);
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
        () = estate.gone() => {}
    }
    tracing::info!("going down: what is under way is finished");
    // Nobody else ends it.
    let _ = end.send(());
    let _ = serving.await;
    proxy.captures().stop_all().await;
    control.leave().await;
    controlled.abort();
    // The socket's file goes with its task, unless it is a successor's.
    let _ = controlled.await;
    reloading.abort();
    if let Some(log) = &front.log {
        log.flush(LOG_TIME);
    }
    Ok(())
}

/// Those that are asked for, or those of the gateway that is replaced.
fn routes(options: &Options, inherited: Option<&Inherited>) -> Result<Routes, RunError> {
    let asked = options.routes.clone();
    let setup = asked.or_else(|| inherited.map(|inherited| inherited.setup.clone()));
    let setup = setup.ok_or(RunError::NoRoutes)?;
    Ok(match inherited {
        Some(inherited) => Routes::after(inherited, setup, &options.trust)?,
        None => Routes::new(setup, &options.trust)?,
    })
}

/// How long a log that cannot be written is waited for.
const LOG_TIME: Duration = Duration::from_secs(5);

fn front(options: &Options, proxy: Arc<Proxy>) -> Result<Arc<Front>, RunError> {
    let mut front = Front::new(proxy, options.limits);
    if !options.certificates.is_empty() {
        let tls = Arc::new(Tls::load(options.certificates.clone())?);
        tokio::spawn(keep_looking(Arc::clone(&tls)));
        front = front.with_tls(tls);
    }
    if options.proxy_protocol {
        front = front.with_proxy_protocol();
    }
    if let Some(wanted) = options.access_log.clone() {
        front = front.with_log(Arc::new(AccessLog::open(wanted)?));
    }
    Ok(Arc::new(front))
}

/// Where clients come to, and who has to be told when they are served.
struct Begun {
    listener: TcpListener,
    claim: Option<Claim>,
}

impl Begun {
    fn new(options: &Options) -> Result<Self, RunError> {
        let at = address(&options.listen)?;
        let refused = || {
            let at = at.to_string();
            move |source| RunError::Listen { at, source }
        };
        let asked = || Claim::ask(&options.control).map_err(claimed(&options.control));
        let Some(claim) = options.replace.then(asked).transpose()?.flatten() else {
            return Ok(Self { listener: listen(at).map_err(refused())?, claim: None });
        };
        let is = claim.at().map_err(refused())?;
        if !is_same(at, is) {
            return Err(RunError::Elsewhere { is, asked: options.listen.clone() });
        }
        let listener = claim.listener().and_then(|listener| {
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        });
        Ok(Self { listener: listener.map_err(refused())?, claim: Some(claim) })
    }
}

/// All addresses are `[::]`, or `0.0.0.0` where the kernel has no IPv6.
fn is_same(asked: SocketAddr, is: SocketAddr) -> bool {
    let all = asked.ip().is_unspecified() && is.ip().is_unspecified();
    asked.port() == is.port() && (asked.ip() == is.ip() || all && asked.is_ipv6())
}

fn claimed(at: &Path) -> impl FnOnce(ClaimError) -> RunError {
    let at = at.display().to_string();
    move |source| RunError::Claim { at, source }
}

fn bind(at: &Path) -> Result<Socket, RunError> {
    let refused = |source| RunError::Control { at: at.display().to_string(), source };
    Socket::bind(at).map_err(refused)
}

async fn keep_reloading(mut hang_up: Signal, control: Arc<Control>) {
    while hang_up.recv().await.is_some() {
        if let Err(error) = control.reload().await {
            tracing::warn!(why = error.message, "not everything was read again");
        }
    }
}

/// `:8080` is every address, of both kinds where the kernel has both.
fn address(listen: &str) -> Result<SocketAddr, RunError> {
    let refused = || RunError::Address { listen: listen.chars().take(80).collect() };
    if let Some(port) = listen.strip_prefix(':') {
        let port: u16 = port.parse().map_err(|_| refused())?;
        return Ok(SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port)));
    }
    let mut found = listen.to_socket_addrs().map_err(|_| refused())?;
    found.next().ok_or_else(refused)
}

fn listen(at: SocketAddr) -> io::Result<TcpListener> {
    let bind = |at: SocketAddr| {
        let socket = if at.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(at)?;
        socket.listen(BACKLOG)
    };
    match bind(at) {
        // A kernel without IPv6.
        Err(_) if at.ip() == std::net::Ipv6Addr::UNSPECIFIED => {
            bind(SocketAddr::from((std::net::Ipv4Addr::UNSPECIFIED, at.port())))
        }
        bound => bound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_what_people_type() {
        #[track_caller]
        fn check(listen: &str, at: Option<&str>) {
            let read = address(listen).ok().map(|at| at.to_string());
            assert_eq!(read.as_deref(), at, "{listen}");
        }
        check(":8080", Some("[::]:8080"));
        check("127.0.0.1:0", Some("127.0.0.1:0"));
        check("[::1]:80", Some("[::1]:80"));
        for bad in ["", "8080", ":", ":x", "127.0.0.1", ":70000"] {
            check(bad, None);
        }
    }
}
