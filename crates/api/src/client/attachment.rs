//! The client's side of an attached terminal.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;

use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::{StatusCode, upgrade};
use hyper_util::rt::TokioIo;

use super::ClientError;
use super::http::{self, Call};
use crate::attach::{Decoder, Frame, PROTOCOL};
use crate::shadow::AttachRequest;

/// A command on a terminal somewhere else. Reading and writing are independent, so that
/// each can have its thread.
#[derive(Debug)]
pub struct Attachment {
    reader: AttachmentReader,
    writer: AttachmentWriter,
}

/// Receives what the terminal prints and how its command ends.
#[derive(Debug)]
pub struct AttachmentReader {
    stream: UnixStream,
    decoder: Decoder,
}

/// Sends what is typed and the window's size.
#[derive(Debug)]
pub struct AttachmentWriter {
    stream: UnixStream,
}

impl Attachment {
    pub(super) fn open(socket: &Path, request: &AttachRequest) -> Result<Self, ClientError> {
        let call = Call::post("/v1/attach".to_owned(), request)?;
        let runtime = http::runtime()?;
        let (stream, early) = runtime.block_on(upgraded(socket, call))?;
        let stream = stream.into_std().map_err(ClientError::Io)?;
        stream.set_nonblocking(false).map_err(ClientError::Io)?;
        let mut decoder = Decoder::default();
        decoder.push(&early);
        let writer = AttachmentWriter { stream: stream.try_clone().map_err(ClientError::Io)? };
        Ok(Self { reader: AttachmentReader { stream, decoder }, writer })
    }

    /// Both directions.
    pub fn split(self) -> (AttachmentReader, AttachmentWriter) {
        (self.reader, self.writer)
    }
}

async fn upgraded(
    socket: &Path,
    call: Call,
) -> Result<(tokio::net::UnixStream, Vec<u8>), ClientError> {
    let mut request = call.into_request();
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    request.headers_mut().insert(UPGRADE, HeaderValue::from_static(PROTOCOL));
    let mut response = http::send(socket, request).await?;
    let status = response.status();
    if status != StatusCode::SWITCHING_PROTOCOLS {
        if status.is_success() {
            return Err(ClientError::NotUpgraded { status: status.as_u16() });
        }
        return Err(http::refused(status.as_u16(), &http::read_all(response).await?));
    }
    let upgraded = upgrade::on(&mut response).await.map_err(ClientError::Http)?;
    let parts = upgraded
        .downcast::<TokioIo<tokio::net::UnixStream>>()
        .map_err(|_| ClientError::NotUpgraded { status: status.as_u16() })?;
    Ok((parts.io.into_inner(), parts.read_buf.to_vec()))
}

impl AttachmentReader {
    /// The next frame; `None` where the daemon hung up.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, ClientError> {
        let mut buffer = [0u8; 8192];
        loop {
            if let Some(frame) = self.decoder.next_frame().map_err(ClientError::Frame)? {
                return Ok(Some(frame));
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(None),
                Ok(count) => self.decoder.push(&buffer[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ClientError::Io(error)),
            }
        }
    }
}

impl AttachmentWriter {
    /// Sends one frame.
    pub fn send(&mut self, frame: &Frame) -> Result<(), ClientError> {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        self.stream.write_all(&bytes).map_err(ClientError::Io)
    }

    /// Another writer to the same terminal; each frame of either arrives whole as long as
    /// they do not write at the same time.
    pub fn try_clone(&self) -> Result<Self, ClientError> {
        self.stream.try_clone().map(|stream| Self { stream }).map_err(ClientError::Io)
    }

    /// Hangs up.
    pub fn close(&self) {
        // Already closed is as good.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}
