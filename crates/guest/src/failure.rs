//! Why setting something up failed, in a form that travels from where it did.

use std::io;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// A failed step of set-up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What was being done, as a fragment after "failed to".
    pub doing: String,
    /// The kernel's answer.
    pub errno: i32,
}

impl Failure {
    /// This error at this step.
    pub fn new(doing: impl Into<String>, error: &io::Error) -> Self {
        let errno = error.raw_os_error().unwrap_or(Errno::IO.raw_os_error());
        Self { doing: doing.into(), errno }
    }

    /// The kernel's answer.
    pub fn error(&self) -> io::Error {
        io::Error::from_raw_os_error(self.errno)
    }
}

/// Turns a kernel error into a [`Failure`] that says what was being done.
pub trait Doing<T> {
    /// What that was.
    ///
    /// # Errors
    /// The same, so told.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(what(), &error.into()))
    }
}
