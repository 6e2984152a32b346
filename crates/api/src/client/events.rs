//! Following what the daemon tells, line by line.

use std::marker::PhantomData;
use std::path::Path;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;

use super::ClientError;
use super::http::{self, Call};
use crate::build::BuildEvent;

/// The longest line taken: one test's result with all its findings.
const LINE_BYTES_MAX: usize = 16 << 20;

/// Events, a build's if nothing else is said, in order, ending where the daemon ends the stream.
#[derive(Debug)]
pub struct Events<T = BuildEvent> {
    // Before the runtime that drives it.
    body: Incoming,
    runtime: Runtime,
    pending: Vec<u8>,
    failed: bool,
    of: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Events<T> {
    pub(super) fn open(socket: &Path, target: &str) -> Result<Self, ClientError> {
        let runtime = http::runtime()?;
        let body = runtime.block_on(async {
            let response = http::send(socket, Call::get(target.to_owned()).into_request()).await?;
            let status = response.status();
            if status.is_success() {
                Ok(response.into_body())
            } else {
                Err(http::refused(status.as_u16(), &http::read_all(response).await?))
            }
        })?;
        Ok(Self { body, runtime, pending: Vec::new(), failed: false, of: PhantomData })
    }

    /// A line that is complete, without its end.
    fn take_line(&mut self) -> Option<Vec<u8>> {
        let end = self.pending.iter().position(|&byte| byte == b'\n')?;
        let mut line: Vec<u8> = self.pending.drain(..=end).collect();
        line.pop();
        Some(line)
    }

    fn advance(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            if let Some(line) = self.take_line() {
                if line.is_empty() {
                    continue;
                }
                return serde_json::from_slice(&line).map(Some).map_err(ClientError::Answer);
            }
            if self.pending.len() > LINE_BYTES_MAX {
                return Err(ClientError::TooLarge { limit: LINE_BYTES_MAX });
            }
            match self.runtime.block_on(self.body.frame()) {
                None if self.pending.is_empty() => return Ok(None),
                None => return Err(ClientError::Cut),
                Some(Err(error)) => return Err(ClientError::Http(error)),
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.pending.extend_from_slice(data);
                    }
                }
            }
        }
    }
}

impl<T: DeserializeOwned> Iterator for Events<T> {
    type Item = Result<T, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let event = self.advance();
        self.failed = event.is_err();
        event.transpose()
    }
}
