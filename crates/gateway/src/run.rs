//! The program: a gateway with its socket, until it is told to end.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpSocket;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use umbra_api::socket::{BindError, Socket};

use crate::control::{self, Control, StartMirror};
use crate::gateway::{self, Limits};
use crate::proxy::{Proxy, Rules};
use crate::routes::{Routes, RoutesError, RoutesSetup};
use crate::upstream::Trust;

/// Clients that wait to be accepted; the kernel may hold fewer.
const BACKLOG: u32 = 4096;

/// What a gateway is to be.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where clients come to: `ADDRESS:PORT`, or `:PORT` for all addresses.
    pub listen: String,
    /// Where requests go.
    pub routes: RoutesSetup,
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
    /// Mirrors to begin with, by name.
    pub mirrors: Vec<(String, StartMirror)>,
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
    let system = |doing| move |source| RunError::System { doing, source };
    let runtime = builder.build().map_err(system("start threads"))?;
    runtime.block_on(serve(options, told))
}

async fn serve(options: Options, told: impl FnOnce(SocketAddr)) -> Result<(), RunError> {
    let system = |doing| move |source| RunError::System { doing, source };
    let mut term = signal(SignalKind::terminate()).map_err(system("wait for SIGTERM"))?;
    let mut int = signal(SignalKind::interrupt()).map_err(system("wait for SIGINT"))?;
    let at = address(&options.listen)?;
    let refused = |at: String| move |source| RunError::Listen { at, source };
    let listener = listen(at).map_err(refused(at.to_string()))?;
    let listens = listener.local_addr().map_err(refused(at.to_string()))?;
    let routes = Routes::new(options.routes, &options.trust, None)?;
    let proxy = Arc::new(Proxy::new(routes, options.rules));
    let control = Arc::new(Control {
        proxy: Arc::clone(&proxy),
        trust: options.trust,
        listen: listens.to_string(),
        memory: Arc::new(Semaphore::new(options.mirror_bytes_max)),
        memory_bytes_max: options.mirror_bytes_max,
    });
    for (name, mirror) in options.mirrors {
        control
            .start(&name, mirror)
            .map_err(|error| RunError::Mirror { name, why: error.message })?;
    }
    let socket = Socket::bind(&options.control).map_err(|source| RunError::Control {
        at: options.control.display().to_string(),
        source,
    })?;
    let controlled = tokio::spawn(control::serve(socket, control));
    told(listens);
    let ending = async {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        tracing::info!("going down: what is under way is finished");
    };
    gateway::serve(listener, proxy, options.limits, ending).await;
    controlled.abort();
    // The socket's file goes with its task.
    let _ = controlled.await;
    Ok(())
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

fn listen(at: SocketAddr) -> io::Result<tokio::net::TcpListener> {
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
