//! A sink in memory, for tests of whatever delivers.

use std::io;
use std::sync::{Mutex, PoisonError};

use super::{Document, Sink, SinkError};

/// Keeps what is delivered, and fails when it is told to.
#[derive(Debug, Default)]
pub struct Memory {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    documents: Vec<Document>,
    broken: bool,
}

impl Memory {
    /// Whether deliveries fail from now on.
    pub fn set_broken(&self, broken: bool) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).broken = broken;
    }

    /// What was delivered since this was last asked.
    pub fn take(&self) -> Vec<Document> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut kept.documents)
    }
}

impl Sink for Memory {
    fn deliver(&self, document: &Document) -> Result<(), SinkError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.broken {
            let source = io::Error::from(io::ErrorKind::ConnectionRefused);
            return Err(SinkError::Unreachable { to: "memory".to_owned(), source });
        }
        kept.documents.push(document.clone());
        Ok(())
    }
}
