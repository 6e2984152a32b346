//! The successor's part: it asks for the sockets, and says when it serves.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use umbra_api::error::WireError;
use umbra_api::socket::{AdoptError, Socket};
use umbra_state::escape::line;

use super::{GATEWAY_TIME, PATH, PROTOCOL, SERVING, WILL_BYTES_MAX, Will, YOURS, rights};

/// An answer's head is no longer.
const HEAD_BYTES_MAX: usize = 8 << 10;
/// What is said instead of it is no longer.
const BODY_BYTES_MAX: u64 = 64 << 10;

/// What a gateway gives its successor. Dropped before [`Claim::serving`], it is the gateway's.
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    stream: UnixStream,
    listener: TcpListener,
    control: UnixListener,
    will: Will,
}

/// Why nothing was handed over.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// The gateway cannot be spoken to.
    #[error("speak with the gateway")]
    System(#[from] io::Error),
    /// It does not want to.
    #[error("be given the sockets of the gateway: it says {said:?}")]
    Refused {
        /// What it says.
        said: String,
    },
    /// What it says is none of what was asked for.
    #[error("be given the sockets of the gateway: what it answers makes no sense")]
    Senseless,
    /// The control socket's file is another.
    #[error("take over the control socket")]
    Adopt(#[from] AdoptError),
}

impl Claim {
    /// Asks the gateway at this control socket; there may be none.
    ///
    /// # Errors
    /// See [`ClaimError`].
    pub fn ask(path: &Path) -> Result<Option<Self>, ClaimError> {
        use io::ErrorKind::{ConnectionRefused, NotFound};
        let mut stream = match UnixStream::connect(path) {
            Ok(stream) => stream,
            Err(error) if matches!(error.kind(), NotFound | ConnectionRefused) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        stream.set_read_timeout(Some(GATEWAY_TIME))?;
        stream.set_write_timeout(Some(GATEWAY_TIME))?;
        let asks = format!(
            "POST {PATH} HTTP/1.1\r\nHost: gateway\r\nContent-Length: 0\r\n\
             Connection: upgrade\r\nUpgrade: {PROTOCOL}\r\n\r\n"
        );
        stream.write_all(asks.as_bytes())?;
        let head = head(&mut stream)?;
        if !head.starts_with("HTTP/1.1 101 ") {
            return Err(refused(&head, stream));
        }
        let (text, descriptors) = will(&stream)?;
        let will = serde_json::from_slice(&text).map_err(|_| ClaimError::Senseless)?;
        let [listener, control] =
            <[OwnedFd; 2]>::try_from(descriptors).map_err(|_| ClaimError::Senseless)?;
        for socket in [&listener, &control] {
            if !rustix::net::sockopt::socket_acceptconn(socket).map_err(io::Error::from)? {
                return Err(ClaimError::Senseless);
            }
        }
        let (listener, control) = (TcpListener::from(listener), UnixListener::from(control));
        Ok(Some(Self { path: path.to_owned(), stream, listener, control, will }))
    }

    /// Where clients come to.
    ///
    /// # Errors
    /// What was given is no socket of clients.
    pub fn at(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The socket clients come to.
    ///
    /// # Errors
    /// There are no more descriptors.
    pub fn listener(&self) -> io::Result<TcpListener> {
        self.listener.try_clone()
    }

    /// What to go on with.
    pub fn will(&self) -> &Will {
        &self.will
    }

    /// Tells the gateway that its successor serves, and takes the control socket from it. Must be
    /// called within a runtime.
    ///
    /// # Errors
    /// The control socket cannot be taken. The gateway is gone all the same.
    pub fn serving(mut self) -> Result<Socket, ClaimError> {
        let mut said = [0; YOURS.len()];
        let told = self.stream.write_all(SERVING.as_bytes());
        let told = told.and_then(|()| self.stream.read_exact(&mut said));
        if told.is_err() || said != YOURS.as_bytes() {
            // It ended meanwhile, and left what it had.
            tracing::warn!("the gateway ended before it said that it does");
        }
        Ok(Socket::adopt(self.control, &self.path, self.will.inode)?)
    }
}

/// Byte by byte: descriptors come with the first byte after it.
fn head(stream: &mut UnixStream) -> Result<String, ClaimError> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == HEAD_BYTES_MAX {
            return Err(ClaimError::Senseless);
        }
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    String::from_utf8(head).map_err(|_| ClaimError::Senseless)
}

fn refused(head: &str, stream: UnixStream) -> ClaimError {
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    let mut body = Vec::new();
    // What cannot be read is not shown.
    let _ = stream.take(length.unwrap_or(0).min(BODY_BYTES_MAX)).read_to_end(&mut body);
    let said = match serde_json::from_slice::<WireError>(&body) {
        Ok(error) => error.message,
        Err(_) => head.lines().next().unwrap_or_default().to_owned(),
    };
    ClaimError::Refused { said: line(said.as_bytes(), 200) }
}

fn will(stream: &UnixStream) -> Result<(Vec<u8>, Vec<OwnedFd>), ClaimError> {
    let mut text = Vec::new();
    let mut descriptors = Vec::new();
    let mut piece = [0; 4096];
    while text.last() != Some(&b'\n') {
        let (read, more) = rights::receive(stream, &mut piece)?;
        if read == 0 || text.len() + read > WILL_BYTES_MAX {
            return Err(ClaimError::Senseless);
        }
        text.extend(&piece[..read]);
        descriptors.extend(more);
    }
    Ok((text, descriptors))
}
