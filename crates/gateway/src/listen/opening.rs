//! What comes before HTTP: a PROXY header, TLS, and the first bytes, which say which HTTP it is.
//!
//! No protocol is spoken yet whose own limits would end a connection that says nothing: one is
//! kept here, for all of it together.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::counts::Closed;
use super::front::Front;
use super::proxy_header::{self, Ends, Parsed};
use super::stream::{Ahead, Link};
use super::tls::{H2, Tls};
use crate::headers::Client;

/// What an HTTP/2 connection begins with (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// As much as a first request has, most often.
const FIRST_BYTES: usize = 512;

/// A connection of which it is known what it is.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) link: Ahead<Link>,
    pub(crate) client: Client,
    pub(crate) is_http2: bool,
}

/// Why there is none; nothing, if the client left by itself before it said anything.
pub(crate) type NotOpened = Option<Closed>;

/// Reads what a connection from `peer` begins with, until `end`. `may_come` says whether whoever
/// it is from may have one.
pub(crate) async fn open(
    front: &Front,
    socket: TcpStream,
    peer: SocketAddr,
    end: Instant,
    may_come: impl FnOnce(SocketAddr) -> bool,
) -> Result<Opened, NotOpened> {
    // Whoever is gone already is found out about below.
    let _ = socket.set_nodelay(true);
    let own = socket.local_addr().ok();
    let mut stream = Ahead { bytes: Bytes::new(), stream: socket };
    let ends = match front.proxy_protocol {
        true => in_time(end, Closed::ProxyHeader, header(&mut stream)).await?,
        false => None,
    };
    let (source, destination) = match ends {
        Some(Ends { source, destination }) => (source, Some(destination)),
        None => (peer, own),
    };
    if !may_come(source) {
        return Err(Some(Closed::PerClient));
    }
    let client = Client::new(source);
    let client = match destination {
        Some(destination) => client.came_to(destination),
        None => client,
    };
    match &front.tls {
        Some(tls) => {
            let link = in_time(end, Closed::Handshake, handshake(tls, stream)).await?;
            front.counts.tls();
            let is_http2 = link.get_ref().1.alpn_protocol() == Some(H2);
            let link = Ahead { bytes: Bytes::new(), stream: Link::Tls(Box::new(link)) };
            Ok(Opened { link, client: client.over_tls(), is_http2 })
        }
        None => {
            let (bytes, is_http2) = in_time(end, Closed::Opening, preface(&mut stream)).await?;
            Ok(Opened { link: Ahead { bytes, stream: Link::Plain(stream) }, client, is_http2 })
        }
    }
}

async fn in_time<T>(
    end: Instant,
    why: Closed,
    step: impl Future<Output = Result<T, NotOpened>>,
) -> Result<T, NotOpened> {
    timeout_at(end, step).await.unwrap_or(Err(Some(why)))
}

/// The header; what was read behind it comes next.
async fn header(stream: &mut Ahead<TcpStream>) -> Result<Option<Ends>, NotOpened> {
    let mut bytes = BytesMut::with_capacity(FIRST_BYTES);
    loop {
        more(&mut stream.stream, &mut bytes, Closed::ProxyHeader).await?;
        match proxy_header::parse(&bytes) {
            Ok(Parsed::Incomplete) => {}
            Ok(Parsed::Whole { length, ends }) => {
                stream.bytes = bytes.split_off(length).freeze();
                return Ok(ends);
            }
            Err(error) => {
                tracing::debug!(%error, "a connection was closed");
                return Err(Some(Closed::ProxyHeader));
            }
        }
    }
}

async fn handshake(
    tls: &Tls,
    stream: Ahead<TcpStream>,
) -> Result<tokio_rustls::server::TlsStream<Ahead<TcpStream>>, NotOpened> {
    tls.acceptor().accept(stream).await.map_err(|error| {
        tracing::debug!(%error, "no TLS was agreed on");
        Some(Closed::Handshake)
    })
}

/// The first bytes, and whether they are those of HTTP/2.
async fn preface(stream: &mut Ahead<TcpStream>) -> Result<(Bytes, bool), NotOpened> {
    let mut bytes = BytesMut::with_capacity(FIRST_BYTES);
    loop {
        more(stream, &mut bytes, Closed::Opening).await?;
        let common = bytes.len().min(PREFACE.len());
        let is_http2 = bytes[..common] == PREFACE[..common];
        if !is_http2 || bytes.len() >= PREFACE.len() {
            return Ok((bytes.freeze(), is_http2));
        }
    }
}

/// At least one byte more.
async fn more(
    stream: &mut (impl AsyncRead + Unpin),
    bytes: &mut BytesMut,
    why: Closed,
) -> Result<(), NotOpened> {
    match stream.read_buf(bytes).await {
        Ok(0) | Err(_) => Err((!bytes.is_empty()).then_some(why)),
        Ok(_) => Ok(()),
    }
}
