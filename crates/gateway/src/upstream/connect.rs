//! New connections to a target.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::names::Names;
use super::{Protocol, Target, Trust, TrustError};
use crate::listen::proxy_header::{Ends, Version, write};
use crate::stream::Stream;

/// All addresses of a target together have this long.
pub(super) const CONNECT_TIME: Duration = Duration::from_secs(5);
/// So many of them are tried.
const ADDRESSES_MAX: usize = 4;

/// What makes connections to one target.
pub(super) struct Connector {
    names: Names,
    protocol: Protocol,
    tls: Option<Tls>,
}

/// How TLS is spoken with it.
struct Tls {
    name: ServerName<'static>,
    either: TlsConnector,
    /// For what only HTTP/1.1 can do: change to another protocol.
    http1: TlsConnector,
}

/// A connection, and whether HTTP/2 is spoken on it.
pub(super) struct Connected {
    pub(super) stream: Stream,
    pub(super) is_http2: bool,
}

impl Connector {
    /// To `target`. Within a runtime: its name is looked up from now on.
    pub(super) fn new(target: &Target, trust: &Trust) -> Result<Self, TrustError> {
        let tls = match target.protocol() {
            Protocol::Http | Protocol::H2c => None,
            Protocol::Https => {
                let either = trust.config()?;
                let mut http1 = either.clone();
                http1.alpn_protocols = vec![b"http/1.1".to_vec()];
                Some(Tls {
                    name: trust.server_name(target.host())?,
                    either: TlsConnector::from(Arc::new(either)),
                    http1: TlsConnector::from(Arc::new(http1)),
                })
            }
        };
        Ok(Self { names: Names::of(target), protocol: target.protocol(), tls })
    }

    /// Connects, at the first of its addresses that answers; for HTTP/1.1 if only that will do.
    /// Whose connection it is is said first, where that is asked for.
    pub(super) async fn connect(
        &self,
        http1: bool,
        whose: Option<(Version, Option<Ends>)>,
    ) -> io::Result<Connected> {
        if http1 && self.protocol == Protocol::H2c {
            let why = "it speaks HTTP/2 only, in which no protocol is changed";
            return Err(io::Error::new(io::ErrorKind::Unsupported, why));
        }
        let connected = timeout(CONNECT_TIME, self.connect_patiently(http1, whose)).await;
        connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn connect_patiently(
        &self,
        http1: bool,
        whose: Option<(Version, Option<Ends>)>,
    ) -> io::Result<Connected> {
        let mut stream = self.reach().await?;
        // A server that answers in two pieces must not wait for the first's acknowledgement.
        stream.set_nodelay(true)?;
        if let Some((version, ends)) = whose {
            // The gateway's own, such as a health check, is between these two.
            let (source, destination) = (stream.local_addr()?, stream.peer_addr()?);
            let ends = ends.unwrap_or(Ends { source, destination });
            stream.write_all(&write(ends, version)).await?;
        }
        let Some(tls) = &self.tls else {
            let is_http2 = self.protocol == Protocol::H2c;
            return Ok(Connected { stream: Stream::Plain(stream), is_http2 });
        };
        let connector = if http1 { &tls.http1 } else { &tls.either };
        let stream = connector.connect(tls.name.clone(), stream).await?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok(Connected { stream: Stream::Tls(Box::new(stream)), is_http2 })
    }

    async fn reach(&self) -> io::Result<TcpStream> {
        let addresses = self.names.addresses().await.take(ADDRESSES_MAX);
        let share = CONNECT_TIME / u32::try_from(addresses.len().max(1)).unwrap_or(1);
        let mut why = io::Error::new(io::ErrorKind::NotFound, "its name is not found");
        for address in addresses {
            match reach(address, share).await {
                Ok(stream) => return Ok(stream),
                Err(error) => why = error,
            }
        }
        Err(why)
    }
}

async fn reach(address: SocketAddr, time: Duration) -> io::Result<TcpStream> {
    let connected = timeout(time, TcpStream::connect(address)).await;
    connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
