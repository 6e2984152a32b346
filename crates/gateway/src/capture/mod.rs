//! Requests that are kept in files.

mod error;
mod exchange;
pub mod file;
mod record;

pub use error::{ReadError, WriteError};
pub use exchange::{Answered, Asked, Exchange, Headers, Kept};
