//! Requests that are kept in files.

mod exchange;

pub use exchange::{Answered, Asked, Exchange, Headers, Kept};
